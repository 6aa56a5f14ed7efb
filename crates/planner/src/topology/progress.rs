//! Where a topology cluster is, and what Cluster API waits for.

use instar_capi::{Lifecycle, is_held_before_start, is_held_by_hook};
use instar_domain::KubeVersion;

use super::{hooks, messages::useful_end, release_change, release_name, stuck, view::TopologyView};
use crate::{
    classic::stopped,
    cluster_api::{deletions, machines_there, makes_none, not_ready_though_there, said, says},
    decision::{MachineProgress, MachineState, PoolProgress, Stage, Waiting},
    pool_id::PoolId,
    settled::{self, converged, is_only_unready},
    snapshot::{ConditionStatus, Machine, MachineDeployment, MachinePhase, Node},
};

/// What the upgrade is at, and what it waits for.
pub(super) fn stage(view: &TopologyView<'_>, waiting: &mut Vec<Waiting>) -> Stage {
    let blocked = blocked(view);
    let is_blocked = blocked.is_some();
    waiting.extend(blocked.filter(|blocked| match blocked {
        Waiting::HookBlocking { message } => !hooks::is_held_by_us_alone(view, message),
        _ => true,
    }));
    let control_plane = control_plane(view);
    let workers = workers(view);
    let release = release_change::waiting(view);
    let is_at_release = !release.iter().any(release_change::is_of_control_plane);
    let is_there = view.control_plane.version == view.topology.version && is_at_release;
    let arrived = is_there && (control_plane.is_empty() || view.workers_have_begun());
    let done = is_there && control_plane.is_empty() && workers.is_empty() && release.is_empty();
    waiting.extend(control_plane);
    waiting.extend(workers);
    waiting.extend(release);
    if !is_blocked && (!done || !view.is_reconciled()) {
        waiting.extend(said_of_the_topology(view));
    }
    match (is_blocked, arrived, done && view.is_reconciled()) {
        (true, _, _) => Stage::Held,
        (false, false, _) => Stage::ControlPlane,
        (false, true, false) => Stage::Workers,
        (false, true, true) => Stage::Complete,
    }
}

/// Why Cluster API doesn't go on before a user acts.
fn blocked(view: &TopologyView<'_>) -> Option<Waiting> {
    let condition = view.topology.reconciled()?;
    let message = condition.message.clone();
    match (condition.status, condition.reason.as_str()) {
        (ConditionStatus::True, _) => None,
        (_, "ReconcileFailed" | "ClusterClassNotReconciled") => Some(Waiting::TopologyNotReconciled {
            message: useful_end(&message),
        }),
        (_, "MachineDeploymentsUpgradeDeferred" | "MachinePoolsUpgradeDeferred") => {
            Some(Waiting::UpgradeDeferred { message })
        }
        (_, _) if is_held_before_start(&message) => Some(Waiting::StartBlocked { message }),
        (_, _) if is_held_by_hook(&message) => Some(Waiting::HookBlocking { message }),
        (_, _) => None,
    }
}

fn said_of_the_topology(view: &TopologyView<'_>) -> Option<Waiting> {
    let condition = view.topology.reconciled()?;
    let is_news = condition.status != ConditionStatus::True && !condition.message.is_empty();
    is_news.then(|| says("Cluster", &view.snapshot.cluster.name, condition))
}

fn control_plane(view: &TopologyView<'_>) -> Vec<Waiting> {
    let control_plane = view.control_plane;
    let is_there = control_plane.version == view.topology.version;
    let is_settled = view.control_plane_settled();
    if is_there && is_settled {
        return Vec::new();
    }
    let counts = control_plane.replicas;
    let machines: Vec<_> = view.machines_of(&PoolId::ControlPlane).collect();
    let rolling = |version: &KubeVersion, there| Waiting::ControlPlaneRollingOut {
        version: version.clone(),
        lowest: control_plane.observed.iter().min().cloned(),
        there,
        desired: counts.map_or(0, |counts| counts.desired),
    };
    let there = machines_there(control_plane, &machines);
    let mut waiting = vec![if is_settled {
        rolling(&view.topology.version, 0)
    } else if is_only_unready(control_plane, &machines, there) {
        Waiting::ControlPlaneNotReady {
            version: control_plane.version.clone(),
        }
    } else {
        rolling(&control_plane.version, there)
    }];
    waiting.splice(0..0, stuck::waiting(view));
    waiting.extend(unready(view, &PoolId::ControlPlane, &control_plane.version));
    waiting.extend(deletions(machines.iter().copied()));
    waiting.extend(said(&control_plane.object));
    if !is_settled {
        waiting.extend(not_ready_though_there(control_plane, &machines));
    }
    waiting
}

fn workers(view: &TopologyView<'_>) -> Vec<Waiting> {
    let wanted = &view.topology.version;
    let mut waiting = Vec::new();
    for pool in &view.pools {
        if pool.version == *wanted && view.pool_settled(pool) {
            continue;
        }
        let id = PoolId::Workers(pool.object.name.clone());
        if let Some(held) = held_pool(view, pool) {
            waiting.push(held);
            continue;
        }
        waiting.push(Waiting::PoolRollingOut {
            version: wanted.clone(),
            converged: view
                .machines_of(&id)
                .filter(|machine| converged(machine, wanted))
                .count(),
            machines: view
                .machines_of(&id)
                .count()
                .max(usize::try_from(pool.replicas).unwrap_or_default()),
            pool: id.clone(),
        });
        waiting.extend(stopped(&pool.object));
        if pool.version == *wanted {
            waiting.extend(unready(view, &id, wanted));
        }
        waiting.extend(deletions(view.machines_of(&id)));
        waiting.extend(said(&pool.object));
        waiting.extend(makes_none(pool, view.machine_sets.iter().copied()));
    }
    for pool in &view.machine_pools {
        if pool.version != *wanted || !TopologyView::machine_pool_settled(pool) {
            waiting.push(Waiting::MachinePoolRollingOut {
                name: pool.object.name.clone(),
                version: wanted.clone(),
            });
        }
    }
    waiting
}

/// The pools that are held.
pub(super) fn held(view: &TopologyView<'_>) -> impl Iterator<Item = Waiting> {
    view.pools.iter().filter_map(|pool| held_pool(view, pool))
}

fn held_pool(view: &TopologyView<'_>, pool: &MachineDeployment) -> Option<Waiting> {
    let mark = pool.held.as_ref().filter(|_| pool.is_held())?;
    Some(Waiting::PoolHeld {
        pool: PoolId::Workers(pool.object.name.clone()),
        version: view.topology.version.clone(),
        since: mark.paused,
    })
}

/// The new machines that aren't there yet.
fn unready<'a>(view: &TopologyView<'a>, pool: &'a PoolId, version: &'a KubeVersion) -> impl Iterator<Item = Waiting> {
    let new = view.machines_of(pool).filter(|machine| machine.version == *version);
    settled::unready(new, version)
}

/// The releases that the control plane has still to go through: what it is at, and what Cluster API
/// plans; before there is a plan, what is pinned.
pub(super) fn path(view: &TopologyView<'_>) -> Vec<String> {
    let (topology, present) = (view.topology, &view.control_plane.version);
    let is_on_its_way = *present > *view.lowest() && !view.control_plane_settled();
    let at = is_on_its_way.then_some(present);
    let plan = &topology.control_plane_plan;
    let left: Vec<&KubeVersion> = if plan.last() == Some(&topology.version) {
        plan.iter().collect()
    } else {
        let pinned = topology.pins.iter().flat_map(|pins| pins.releases.keys());
        pinned
            .filter(|version| *version > present && **version <= topology.version)
            .collect()
    };
    let left = left.into_iter().filter(|version| *version != present);
    at.into_iter()
        .chain(left)
        .map(|version| release_name(view, version))
        .collect()
}

/// The releases up to the control plane's version.
pub(super) fn passed(view: &TopologyView<'_>) -> Vec<String> {
    let pinned = view.topology.pins.iter().flat_map(|pins| pins.releases.keys());
    let present = &view.control_plane.version;
    let passed = pinned.chain([present]).filter(|version| *version <= present);
    passed.map(|version| release_name(view, version)).collect()
}

/// Each pool, the control plane first, then by name.
pub(super) fn pools(view: &TopologyView<'_>) -> Vec<PoolProgress> {
    let pool = |pool: PoolId, version: &KubeVersion| PoolProgress {
        version: version.clone(),
        machines: view
            .machines_of(&pool)
            .map(|machine| machine_progress(view, machine, version))
            .collect(),
        pool,
    };
    let control_plane = pool(PoolId::ControlPlane, &view.control_plane.version);
    let workers = view
        .pools
        .iter()
        .map(|workers| pool(PoolId::Workers(workers.object.name.clone()), &workers.version));
    std::iter::once(control_plane).chain(workers).collect()
}

/// `version` is what its pool's spec says; where the pool ends, the Cluster says.
fn machine_progress(view: &TopologyView<'_>, machine: &Machine, version: &KubeVersion) -> MachineProgress {
    let (node, runs) = match &machine.node {
        Node::Absent => (None, None),
        Node::Joined { name, version } => (Some(name.clone()), version.clone()),
    };
    let is_old = machine.version != *version;
    let state = if machine.phase == MachinePhase::Failed {
        MachineState::Failed
    } else if converged(machine, &view.topology.version) {
        MachineState::Running
    } else if machine.lifecycle == Lifecycle::Deleting || (!is_old && !converged(machine, version)) {
        MachineState::Upgrading
    } else {
        MachineState::Pending
    };
    MachineProgress {
        name: machine.name.clone(),
        node,
        state,
        version: runs,
    }
}
