//! What can't be taken back, and why.

use instar_api::MinorRollback;
use instar_capi::Lifecycle;
use instar_catalog::etcd::Etcd;
use instar_domain::{KubeVersion, skew};

use super::addons;
use crate::{
    classic::{
        restore, returning_in_place,
        route::{Reach, Route, control_plane_route, control_plane_steps, pool_route, taker},
        view::ClassicView,
    },
    decision::Waiting,
    etcd::{of_control_plane, of_state},
    operation::{Rollback, RollbackScope},
    pool_id::PoolId,
    snapshot::{JoinRule, Machine, MachineDeployment, MachinePool, Object},
    swap_history::{PoolState, SwapEntry, SwapHistory},
    upgrade_spec::PoolOverride,
    way_back::{NoWayBack, WorkersAlone},
};

/// All that stands in the way before the first swap: all of an upgrade is taken back, or nothing.
pub(super) fn all(view: &ClassicView<'_>, rollback: &Rollback) -> Vec<Waiting> {
    let of_control_plane = control_plane_route(view, view.control_plane, rollback);
    let mut refused: Vec<Waiting> = match (rollback.scope, of_control_plane) {
        (RollbackScope::Workers, _) => Vec::new(),
        (RollbackScope::All, Route::Changed) => {
            let pool = PoolId::ControlPlane;
            vec![NoWayBack::Changed { pool }.into()]
        }
        (RollbackScope::All, Route::Untouched | Route::There | Route::BackTo(_)) => {
            of_control_plane_steps(view, rollback)
        }
    };
    for pool in view.pools.iter().copied().filter(|pool| !is_held(view, pool)) {
        match pool_route(view, pool, rollback, Reach::AtTheEnd) {
            Route::Untouched | Route::There => {}
            Route::BackTo(before) => refused.extend(of_pool(view, rollback, pool, before)),
            Route::Changed => {
                let pool = PoolId::Workers(pool.object.name.clone());
                refused.push(NoWayBack::Changed { pool }.into());
            }
        }
    }
    for pool in &view.machine_pools {
        let before = returning_in_place::returning(view, pool, rollback);
        let too_far = before.filter(|before| is_too_far_behind(view, rollback, before));
        refused.extend(too_far.map(|before| {
            Waiting::from(NoWayBack::TooFarBehind {
                pool: returning_in_place::id(pool),
                before: before.version.clone(),
                control_plane: view.control_plane.version.clone(),
            })
        }));
    }
    if is_of_restart(view, rollback) {
        let upgrade = rollback.of.name.clone();
        refused.push(NoWayBack::Restarted { upgrade }.into());
    }
    if !is_known(view, rollback) {
        let upgrade = rollback.of.name.clone();
        refused.push(NoWayBack::NothingChanged { upgrade }.into());
    }
    refused
}

/// Whether all that is to be taken back are restarts.
fn is_of_restart(view: &ClassicView<'_>, rollback: &Rollback) -> bool {
    let pools = view.pools.iter().map(|pool| &pool.object);
    let objects = pools.chain([&view.control_plane.object]);
    let entries = objects.flat_map(|object| object.swap_history.iter().flat_map(SwapHistory::entries));
    let mut of_it = entries.filter(|entry| entry.upgrade == rollback.of).peekable();
    of_it.peek().is_some() && of_it.all(SwapEntry::is_restart)
}

/// What stands in the way of the control plane's next step.
pub(super) fn of_next_step(view: &ClassicView<'_>, before: &PoolState) -> Vec<Waiting> {
    let step = of_step(view, &present_step(view, before), before, WorkersAlone::Stay);
    let mut refused: Vec<_> = step.into_iter().collect();
    refused.extend(newer_workers(view, before, |_| true, |_| true));
    refused
}

fn of_control_plane_steps(view: &ClassicView<'_>, rollback: &Rollback) -> Vec<Waiting> {
    let (mut refused, steps) = (Vec::new(), control_plane_steps(view, rollback));
    let workers = workers_alone(view, rollback);
    let mut from = None;
    for before in &steps {
        let step = from.map_or_else(|| present_step(view, before), |from| Step::of_state(view, from));
        refused.extend(of_step(view, &step, before, workers));
        refused.extend(restore::control_plane(view, before).err());
        from = Some(*before);
    }
    if let Some(last) = steps.last() {
        let stays = |pool: &MachineDeployment| {
            is_held(view, pool) || !matches!(pool_route(view, pool, rollback, Reach::AtTheEnd), Route::BackTo(_))
        };
        let pool_stays = |pool: &MachinePool| returning_in_place::returning(view, pool, rollback).is_none();
        refused.extend(newer_workers(view, last, stays, pool_stays));
    }
    refused
}

/// Whether the workers could go back without the control plane.
fn workers_alone(view: &ClassicView<'_>, rollback: &Rollback) -> WorkersAlone {
    let workers = Rollback {
        scope: RollbackScope::Workers,
        ..rollback.clone()
    };
    if all(view, &workers).is_empty() {
        WorkersAlone::CanGoBack
    } else {
        WorkersAlone::Stay
    }
}

/// What a step of the control plane leaves.
struct Step<'a> {
    version: &'a KubeVersion,
    etcd: Etcd,
    /// Whether an API server or an etcd of it may have run.
    has_run: bool,
}

impl<'a> Step<'a> {
    fn of_state(view: &ClassicView<'_>, state: &'a PoolState) -> Self {
        Self {
            version: &state.version,
            etcd: of_state(view.control_plane, state),
            has_run: true,
        }
    }
}

/// What the control plane is at. Of a version that is new to it, nothing has run before a machine of it has a node;
/// without Machines that isn't known.
fn present_step<'a>(view: &ClassicView<'a>, before: &PoolState) -> Step<'a> {
    let control_plane = view.control_plane;
    let machines = view.machines_of(&PoolId::ControlPlane);
    Step {
        version: &control_plane.version,
        etcd: of_control_plane(control_plane),
        has_run: machines.is_empty()
            || before.version == control_plane.version
            // Where no older one is left, the newer ones have taken over, and what they were isn't known any more.
            || machines.iter().all(|machine| machine.version == control_plane.version)
            || machines
                .iter()
                .any(|machine| machine.version == control_plane.version && machine.node.is_joined()),
    }
}

fn of_step(view: &ClassicView<'_>, from: &Step<'_>, before: &PoolState, workers: WorkersAlone) -> Option<Waiting> {
    if !from.has_run {
        return None;
    }
    let etcd = of_state(view.control_plane, before);
    if !etcd.shares_minor_with(&from.etcd) {
        return Some(
            NoWayBack::EtcdMinor {
                before: etcd.to_string(),
                present: from.etcd.to_string(),
                workers,
            }
            .into(),
        );
    }
    let goes_down = before.version.minor() < from.version.minor();
    (goes_down && view.snapshot.minor_rollback == MinorRollback::Refuse).then(|| {
        NoWayBack::ControlPlaneMinor {
            present: from.version.clone(),
            before: before.version.clone(),
            workers,
        }
        .into()
    })
}

/// Workers that would be newer than the control plane.
fn newer_workers<'a>(
    view: &'a ClassicView<'_>,
    before: &'a PoolState,
    pools: impl Fn(&MachineDeployment) -> bool + 'a,
    machine_pools: impl Fn(&MachinePool) -> bool + 'a,
) -> impl Iterator<Item = Waiting> + 'a {
    let newer = view.newest_workers(pools, machine_pools).into_iter();
    let newer = newer.filter(|(_, _, version)| version.minor() > before.version.minor());
    newer.map(|(kind, name, version)| {
        NoWayBack::NewerWorkers {
            kind: kind.as_str().to_owned(),
            name: name.to_owned(),
            version: version.clone(),
            before: before.version.clone(),
        }
        .into()
    })
}

fn of_pool(view: &ClassicView<'_>, rollback: &Rollback, pool: &MachineDeployment, before: &PoolState) -> Vec<Waiting> {
    let id = PoolId::Workers(pool.object.name.clone());
    let present = &view.control_plane.version;
    let mut refused: Vec<Waiting> = restore::machines(view, pool, before).err().into_iter().collect();
    refused.extend(restore::bootstrap(view, pool, before).err());
    if is_too_far_behind(view, rollback, before) {
        refused.push(
            NoWayBack::TooFarBehind {
                pool: id.clone(),
                before: before.version.clone(),
                control_plane: present.clone(),
            }
            .into(),
        );
    }
    // What hasn't joined is no loss where all the old machines are there still.
    let machines = view.machines_of(&id);
    let (newer, older): (Vec<&Machine>, Vec<&Machine>) = machines
        .iter()
        .copied()
        .partition(|machine| machine.version.minor() > before.version.minor());
    let stay = older.iter().filter(|machine| machine.lifecycle != Lifecycle::Deleting);
    let is_short = u32::try_from(stay.count()).unwrap_or(u32::MAX) < pool.replicas;
    let is_replaced = !newer.is_empty() && (is_short || newer.iter().any(|machine| machine.node.is_joined()));
    // Cluster API makes no machine for workers while the control plane rolls out.
    match rollback.scope {
        RollbackScope::Workers if is_replaced && view.control_plane_rolls() => {
            refused.push(
                NoWayBack::ControlPlaneRolls {
                    pool: id.clone(),
                    control_plane: present.clone(),
                }
                .into(),
            );
        }
        RollbackScope::Workers | RollbackScope::All => {}
    }
    match pool.joins {
        JoinRule::SameMinor if is_replaced && before.version.minor() != present.minor() => {
            refused.push(
                NoWayBack::OlderMachines {
                    pool: id,
                    before: before.version.clone(),
                    control_plane: present.clone(),
                }
                .into(),
            );
        }
        JoinRule::SameMinor | JoinRule::AnyMinor => {}
    }
    refused
}

/// Whether the control plane stays too new for it; else that goes back too, and lets it.
fn is_too_far_behind(view: &ClassicView<'_>, rollback: &Rollback, before: &PoolState) -> bool {
    match rollback.scope {
        RollbackScope::Workers => skew::kubelet(&before.version, &view.control_plane.version).is_err(),
        RollbackScope::All => false,
    }
}

pub(super) fn is_held(view: &ClassicView<'_>, pool: &MachineDeployment) -> bool {
    match view.snapshot.upgrade_spec.pools.get(&pool.object.name) {
        Some(PoolOverride::Hold) => true,
        Some(PoolOverride::Pin(_)) | None => false,
    }
}

/// Whether some object says that the upgrade swapped it, or it has set something for add-ons before its first swap.
fn is_known(view: &ClassicView<'_>, rollback: &Rollback) -> bool {
    let knows = |history: &SwapHistory| history.knows(&rollback.of);
    histories(view).any(knows) || (addons::any_goes_back(view, rollback) && is_last(view, rollback))
}

/// Whether nothing was swapped for another upgrade since this one began, but for what takes it back, and restarts, which
/// change nothing.
fn is_last(view: &ClassicView<'_>, rollback: &Rollback) -> bool {
    let (of, by) = (&rollback.of, taker(view, rollback));
    let is_before = |entry: &SwapEntry| {
        let is_theirs = entry.upgrade == *of || entry.upgrade == by;
        is_theirs || entry.is_restart() || of.started.is_some_and(|started| entry.since < started)
    };
    histories(view).flat_map(SwapHistory::entries).all(is_before)
}

fn histories<'v>(view: &'v ClassicView<'_>) -> impl Iterator<Item = &'v SwapHistory> {
    let pools = view.pools.iter().map(|pool| &pool.object);
    let machine_pools = view.machine_pools.iter().map(|pool| &pool.object);
    let objects = pools.chain(machine_pools).chain([&view.control_plane.object]);
    objects.filter_map(|object: &Object| object.swap_history.as_ref())
}
