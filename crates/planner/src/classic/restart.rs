//! New machines of what is there: first of the control plane, then of one pool after the other.
//!
//! A pool is written once, and Cluster API replaces what was made before the time that is written (`restart_pool.rs`).

use instar_capi::Lifecycle;
use instar_catalog::Resolved;
use instar_domain::{
    BuildOrder,
    skew::{self, SkewViolation},
};

use super::{
    Next,
    arrival::rolling_out as pool_rolls,
    control_plane::{Outlook, ends_by_itself, rolling_out},
    ending,
    progress::Ends,
    restart_pool::{Restart, Standing, has_old_set, is_asked_for},
    view::ClassicView,
    workers::{self, Heading, WorkerRollout},
};
use crate::{
    decision::{Action, Decision, Stage, Waiting},
    gates,
    pool_id::PoolId,
    restart::{NoRestart, is_before, time},
    settled::converged,
    snapshot::{Flavor, JoinRule, Machine, MachineDeployment},
    swap::{self, Course, Destination, Origin},
    upgrade_spec::Target,
};

pub(super) fn plan(view: &ClassicView<'_>) -> Decision {
    let snapshot = view.snapshot;
    let mut waiting = refused(view);
    let after = time(&snapshot.upgrade_spec);
    let moved = after.and_then(|after| NoRestart::of_moved(snapshot, after));
    waiting.extend(moved.map(Waiting::from));
    let Some(after) = after.filter(|_| waiting.is_empty()) else {
        if waiting.is_empty() {
            let upgrade = snapshot.upgrade_spec.upgrade.clone();
            waiting.push(NoRestart::NotStarted { upgrade }.into());
        }
        return super::decide(view, &Ends::HERE, Vec::new(), Stage::Held, Action::Nothing, waiting);
    };
    let control_plane = view.control_plane;
    let template = control_plane.infrastructure.as_ref();
    let restart = Restart {
        after,
        release: view.release_of(&control_plane.object, &control_plane.version, template),
    };
    let (stage, action) = restart.next(view, &mut waiting);
    let stage = if gates::stands_still(&waiting) {
        Stage::Held
    } else {
        stage
    };
    let action = gates::begin(snapshot, action, &waiting);
    waiting.extend(machine_pools(view));
    waiting.extend(super::without_version(snapshot));
    let ends = Ends {
        control_plane: !view
            .machines_of(&PoolId::ControlPlane)
            .iter()
            .any(|machine| is_before(machine, after)),
        workers: Some(Heading::Restart(&restart)),
    };
    super::decide(view, &ends, Vec::new(), stage, action, waiting)
}

/// Whether Cluster API replaces machines of a pool for the restart that is asked for.
pub(super) fn is_under_way(view: &ClassicView<'_>, pool: &MachineDeployment) -> bool {
    let after = time(&view.snapshot.upgrade_spec).filter(|_| view.swapped(&pool.object).is_some());
    after.is_some_and(|after| {
        let stands = |machine: &&Machine| machine.lifecycle != Lifecycle::Deleting && is_before(machine, after);
        let machines = view.machines_of(&PoolId::Workers(pool.object.name.clone()));
        pool.rollout_after >= Some(after) && (has_old_set(view, pool, after) || machines.iter().any(stands))
    })
}

/// Why nothing of the Cluster is restarted: all that is asked for is, or nothing.
fn refused(view: &ClassicView<'_>) -> Vec<Waiting> {
    let (snapshot, control_plane) = (view.snapshot, view.control_plane);
    let object = &control_plane.object;
    match control_plane.flavor {
        Flavor::Kubeadm { .. } => {}
        Flavor::Other => {
            let refused = NoRestart::ControlPlane {
                namespace: snapshot.cluster.namespace.clone(),
                kind: object.kind.clone(),
                name: object.name.clone(),
            };
            return vec![refused.into()];
        }
    }
    let (target, present) = (&snapshot.upgrade_spec.target, &control_plane.version);
    if !runs(view, target) {
        let refused = NoRestart::OtherVersion {
            target: target.as_str().to_owned(),
            present: present.clone(),
        };
        return vec![refused.into()];
    }
    let pools = view.pools.iter().filter(|pool| is_asked_for(view, pool));
    let no_machine = |pool: &&&MachineDeployment| {
        let is_other = match pool.joins {
            JoinRule::SameMinor => pool.version.minor() != present.minor(),
            JoinRule::AnyMinor => false,
        };
        let is_ahead = pool.version.compare(present) == BuildOrder::Greater && !pool.version.is_same_upstream(present);
        let skew = skew::kubelet(&pool.version, present);
        let is_behind = matches!(
            skew,
            Err(SkewViolation::TooFarBehind { .. } | SkewViolation::OtherMajor { .. })
        );
        pool.object.lifecycle != Lifecycle::Deleting && (is_other || is_ahead || is_behind)
    };
    let refused = pools.filter(no_machine).map(|pool| {
        NoRestart::OtherMinor {
            pool: PoolId::Workers(pool.object.name.clone()),
            version: pool.version.clone(),
            control_plane: present.clone(),
        }
        .into()
    });
    refused.collect()
}

/// Whether a target is what the control plane's spec says.
fn runs(view: &ClassicView<'_>, target: &Target) -> bool {
    let (present, catalog) = (&view.control_plane.version, &view.snapshot.catalog);
    match target {
        Target::Release(name) => catalog.named_anywhere(name).is_some_and(|row| row.version() == present),
        // A version runs also where the catalog has no row of it.
        Target::Text(text) if *text == present.to_string() => true,
        Target::Text(text) => match catalog.resolve(text, Some(present), None, view.today) {
            Ok(Resolved::Unchanged) => true,
            Ok(Resolved::Release(row)) => row.version() == present,
            Err(_) => false,
        },
    }
}

/// The MachinePools, which a restart leaves to their user. It is said at the end too.
fn machine_pools(view: &ClassicView<'_>) -> impl Iterator<Item = Waiting> {
    let pools = view.machine_pools.iter();
    pools.map(|pool| {
        let name = pool.object.name.clone();
        NoRestart::MachinePool { name }.into()
    })
}

impl Restart {
    fn next(&self, view: &ClassicView<'_>, waiting: &mut Vec<Waiting>) -> (Stage, Action) {
        match self.control_plane(view, waiting) {
            Next::Write(action) => return (Stage::ControlPlane, *action),
            Next::Wait => return (Stage::ControlPlane, Action::Nothing),
            Next::Done => {}
        }
        let rollout = WorkerRollout {
            pools: view.pools.clone(),
            machine_pools: Vec::new(),
            heading: Heading::Restart(self),
        };
        match workers::next(view, &rollout, waiting) {
            Next::Write(action) => (Stage::Workers, *action),
            Next::Wait => (Stage::Workers, Action::Nothing),
            Next::Done => {
                let version = &view.control_plane.version;
                let held = gates::before_completion(view.snapshot, version, self.release.as_deref());
                if held.is_empty() {
                    ending(view, waiting)
                } else {
                    waiting.extend(held);
                    (Stage::Verifying, Action::Nothing)
                }
            }
        }
    }

    fn control_plane(&self, view: &ClassicView<'_>, waiting: &mut Vec<Waiting>) -> Next {
        let control_plane = view.control_plane;
        let (object, present) = (&control_plane.object, control_plane.rollout_after);
        let machines = view.machines_of(&PoolId::ControlPlane);
        let has_old = machines.iter().any(|machine| is_before(machine, self.after));
        let mut rolling = rolling_out(view, &Outlook::LAST);
        let standing = match self.standing(view, &PoolId::ControlPlane, object, present, has_old) {
            Ok(standing) => standing,
            Err(reason) => {
                waiting.push(reason);
                return Next::Wait;
            }
        };
        match standing {
            // What was counted may be of before.
            Standing::Rolls if rolling.is_empty() => rolling.push(self.control_plane_rolls(view, &machines)),
            Standing::Rolls | Standing::Due | Standing::New => {}
        }
        if !rolling.is_empty() {
            waiting.extend(rolling);
            return Next::Wait;
        }
        match standing {
            Standing::Rolls => return Next::Wait,
            Standing::New => {
                let (version, template) = (&control_plane.version, control_plane.infrastructure.as_ref());
                let write = super::convergence(view, PoolId::ControlPlane, object, version, template);
                return write.map_or(Next::Done, |write| Next::Write(Box::new(write)));
            }
            Standing::Due => {}
        }
        let before = waiting.len();
        let pools = view.pools.iter().filter(|pool| ends_by_itself(view, pool));
        for pool in pools.filter(|pool| !view.rolled_out(pool)) {
            waiting.extend(pool_rolls(view, pool));
        }
        if waiting.len() == before {
            let version = &control_plane.version;
            waiting.extend(gates::before_control_plane(
                view.snapshot,
                version,
                self.release.as_deref(),
            ));
        }
        if waiting.len() > before {
            return Next::Wait;
        }
        let destination = Destination {
            upgrade: view.snapshot.upgrade_spec.id(),
            now: view.snapshot.now,
            to: Course::Restart(&control_plane.version, self.after),
            template: control_plane.infrastructure.clone(),
            bootstrap: None,
            origin: Origin {
                release: self.release.clone(),
                has_converged: false,
            },
        };
        let swap = swap::restart_control_plane(control_plane, destination);
        Next::Write(Box::new(Action::SwapControlPlane(swap)))
    }

    fn control_plane_rolls(&self, view: &ClassicView<'_>, machines: &[&Machine]) -> Waiting {
        let control_plane = view.control_plane;
        let version = &control_plane.version;
        let new = machines
            .iter()
            .filter(|machine| !is_before(machine, self.after) && converged(machine, version));
        Waiting::ControlPlaneRollingOut {
            version: version.clone(),
            lowest: control_plane.observed.iter().min().cloned(),
            there: u32::try_from(new.count()).unwrap_or(u32::MAX),
            desired: control_plane.replicas.map_or(0, |counts| counts.desired),
        }
    }
}
