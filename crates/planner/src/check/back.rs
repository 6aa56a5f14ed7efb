//! The invariants of the way back, by a reading of their own.

use instar_api::{GatePoint, MinorRollback};
use instar_catalog::etcd::Etcd;
use instar_domain::KubeVersion;

use super::{Violation, control_plane, machine_pool, read, what_was, workers};
use crate::{
    addon::AddonState,
    addons_back::addons_to_restore,
    decision::{Action, Decision, Stage, Swap},
    etcd::{of_control_plane, of_state},
    operation::{Rollback, RollbackScope},
    pool_id::PoolId,
    settled::{control_plane_rolls, rolled_out},
    snapshot::{ControlPlane, Snapshot},
    value_before::ValueBefore,
};

/// Whether a swap takes back what is under way: it needn't wait for a window, since what has begun doesn't either.
pub(super) fn turns_around(snapshot: &Snapshot, swap: &Swap) -> bool {
    let machines = read(&snapshot.machines).filter(|machine| machine.pool.as_ref() == Some(&swap.pool));
    let machines: Vec<_> = machines.collect();
    let is_rolling = match &swap.pool {
        PoolId::ControlPlane => {
            control_plane(snapshot).is_some_and(|control_plane| control_plane_rolls(control_plane, &machines))
        }
        PoolId::Workers(name) => read(&snapshot.pools)
            .filter(|pool| pool.object.name == *name)
            .any(|pool| !rolled_out(pool, read(&snapshot.machine_sets), &machines)),
        PoolId::MachinePool(_) => false,
    };
    is_rolling && snapshot.upgrade_spec.operation.rollback().is_some()
}

/// Whether an add-on that goes back first isn't known to be back: one that was set after all else and hasn't begun, or that
/// is looked at and not ready.
pub(super) fn passes_addons(snapshot: &Snapshot, decision: &Decision, rollback: &Rollback) -> bool {
    let (upgrade_spec, addons) = (&snapshot.upgrade_spec, &snapshot.addons);
    let (history, target) = (&upgrade_spec.gate_history, upgrade_spec.target.as_str());
    let hasnt_begun = || {
        let set = addons.taken_back.iter().flatten();
        let mut to_restore = set.filter(|set| !upgrade_spec.keep_addons.contains(&set.id.name));
        to_restore.any(|set| match set.before {
            ValueBefore::Value(_) | ValueBefore::Absent => history.begun(target, &set.id).is_none(),
            ValueBefore::NoObject | ValueBefore::TooLarge | ValueBefore::NotKept => false,
        })
    };
    let next_to_begin = || {
        let mut left = addons_to_restore(snapshot).into_iter();
        left.find(|set| history.begun(target, &set.id).is_none())
    };
    let is_last = |when: GatePoint| {
        let next = addons_to_restore(snapshot).into_iter().next();
        next.is_some_and(|set| set.id.when == when && history.begun(target, &set.id).is_none())
    };
    let is_closed = || {
        let mut found = addons.found.values().flatten();
        found.any(|gate| gate.state != AddonState::Open)
    };
    match &decision.action {
        // What has begun with one goes on.
        Action::SwapWorkers(swap) if matches!(swap.pool, PoolId::MachinePool(_)) => false,
        Action::PatchMachinePool(patch) if machine_pool::begins(snapshot, patch) => {
            !machine_pool::turns_around(snapshot, patch) && (is_closed() || is_last(GatePoint::AfterWorkers))
        }
        Action::SwapControlPlane(swap) | Action::SwapWorkers(swap) => {
            !turns_around(snapshot, swap) && (is_closed() || is_last(GatePoint::AfterWorkers))
        }
        Action::PinPath(_)
        | Action::MintTemplate(_)
        | Action::RecordConvergence(_)
        | Action::PatchMachinePool(_)
        | Action::DeleteTemplate(_)
        | Action::EditVersion(_)
        | Action::CompletePins(_)
        | Action::HoldPool(_)
        | Action::SetConcurrency(_)
        | Action::BeginGates(_)
        | Action::AnswerHook(_)
        | Action::RestoreVersionCheck(_)
        | Action::FollowRelease(_)
        | Action::DeleteMachine(_)
        | Action::Nothing => {
            let is_left = || match rollback.scope {
                RollbackScope::All => hasnt_begun(),
                // What was set before something else of the control plane stays with it.
                RollbackScope::Workers => next_to_begin().is_some_and(|set| match set.id.when {
                    GatePoint::AfterWorkers | GatePoint::BeforeWorkers => true,
                    GatePoint::AfterControlPlane | GatePoint::BeforeControlPlane => false,
                }),
            };
            decision.progress.stage == Stage::Complete && (is_closed() || is_left())
        }
    }
}

/// A step of the control plane back: no worker is newer than where it goes, its etcd can read what is there, and it skips
/// no minor.
pub(super) fn check_step(snapshot: &Snapshot, swap: &Swap, rollback: &Rollback, broken: &mut Vec<Violation>) {
    let Some(control_plane) = control_plane(snapshot) else {
        return;
    };
    let (present, next) = (&control_plane.version, &swap.version);
    match rollback.scope {
        RollbackScope::All => {}
        RollbackScope::Workers => broken.push(Violation::NotWhatWas),
    }
    if workers(snapshot).any(|worker| worker.minor() > next.minor()) {
        broken.push(Violation::WorkersAhead);
    }
    if present.minor().major != next.minor().major || next.minor().minor + 1 < present.minor().minor {
        broken.push(Violation::SkippedMinor);
    }
    let machines = read(&snapshot.machines).filter(|machine| machine.pool == Some(PoolId::ControlPlane));
    let machines: Vec<_> = machines.collect();
    if machines
        .iter()
        .any(|machine| machine.version != *present && machine.version != *next)
    {
        broken.push(Violation::ControlPlaneMoving);
    }
    let has_run = machines.is_empty()
        || present == next
        || machines.iter().all(|machine| machine.version == *present)
        || machines
            .iter()
            .any(|machine| machine.version == *present && machine.node.is_joined());
    if has_run && !shares_etcd(control_plane, swap, rollback) {
        broken.push(Violation::EtcdLowered);
    }
    if has_run && is_minor_down(present, next) && snapshot.minor_rollback == MinorRollback::Refuse {
        broken.push(Violation::Lowered);
    }
}

fn is_minor_down(present: &KubeVersion, next: &KubeVersion) -> bool {
    next.minor() < present.minor()
}

/// Whether each etcd that the control plane may have had there can read the data of the present one.
fn shares_etcd(control_plane: &ControlPlane, swap: &Swap, rollback: &Rollback) -> bool {
    let present = of_control_plane(control_plane);
    match present {
        Etcd::Elsewhere => true,
        Etcd::Tag(_) | Etcd::Kubeadm(_) | Etcd::Unknown => what_was::found(&control_plane.object, rollback)
            .filter(|state| state.version == swap.version)
            .all(|state| of_state(control_plane, state).shares_minor_with(&present)),
    }
}
