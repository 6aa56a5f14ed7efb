//! The invariants of the mark by which a pool stands in the middle of its rollout.

use instar_api::OnClose;
use instar_capi::{Lifecycle, ManagedBy, labels::PAUSED};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    Violation, is_live,
    patch::{Also, annotation, compares, touches_only},
    read, rollback, topology,
};
use crate::{
    decision::{Decision, Hold, HoldPool, Stage},
    pause::PauseMark,
    pool_id::PoolId,
    snapshot::{MachineDeployment, Snapshot},
    upgrade_spec::{Gate, GateState},
};

/// Whether the Cluster and the upgrade let a patch through. A mark of ours goes also of what is being deleted: Cluster API
/// deletes nothing that is paused.
pub(super) fn may_be_written(snapshot: &Snapshot, hold: &HoldPool) -> bool {
    let lifecycle = snapshot.cluster.lifecycle;
    match hold.change {
        Hold::Hold | Hold::Release => lifecycle == Lifecycle::Active,
        Hold::PauseRollout => is_live(snapshot),
        Hold::ResumeRollout => lifecycle != Lifecycle::Paused,
    }
}

pub(super) fn check(snapshot: &Snapshot, decision: &Decision, hold: &HoldPool, broken: &mut Vec<Violation>) {
    let Some(pool) = topology::pool(snapshot, hold) else {
        broken.push(Violation::UnknownObject);
        return;
    };
    let object = &pool.object;
    if !compares(&hold.patch, &hold.resource_version, &object.resource_version) {
        broken.push(Violation::NoCompare);
    }
    if !touches_only(&hold.patch, &[PAUSED], Also::Nothing) {
        broken.push(Violation::NotOurs);
    }
    let is_stopped = pool.rollout_paused.is_some();
    match hold.change {
        Hold::PauseRollout => {
            let owner = match snapshot.cluster.topology() {
                Some(_) => ManagedBy::Topology,
                None => ManagedBy::User,
            };
            let mark = annotation(&hold.patch, PAUSED).and_then(PauseMark::from_annotation);
            if !mark.is_some_and(|mark| mark.is_of(&snapshot.upgrade_spec.id())) {
                broken.push(Violation::Incomplete);
            }
            if object.lifecycle != Lifecycle::Active || object.managed_by != owner || is_stopped {
                broken.push(Violation::Untouchable);
            }
            if !stops(snapshot) || decision.progress.stage == Stage::Complete || !has_old(snapshot, pool) {
                broken.push(Violation::StopsOpen);
            }
        }
        Hold::ResumeRollout => {
            let annotations = hold.patch.pointer("/metadata/annotations");
            if annotations.and_then(|all| all.get(PAUSED)) != Some(&Value::Null) {
                broken.push(Violation::Incomplete);
            }
            if !is_stopped {
                broken.push(Violation::NotOurs);
            }
            let goes_on = object.lifecycle != Lifecycle::Deleting && decision.progress.stage != Stage::Complete;
            if goes_on && stops(snapshot) && has_old(snapshot, pool) {
                broken.push(Violation::GateClosed);
            }
        }
        Hold::Hold | Hold::Release => broken.push(Violation::Incomplete),
    }
}

/// Whether the windows are closed and rollouts stop for that.
fn stops(snapshot: &Snapshot) -> bool {
    let window = snapshot.gates.get(&Gate::Window);
    snapshot.on_close == OnClose::FinishMachine
        && rollback(snapshot).is_none()
        && matches!(window, Some(GateState::Closed { .. }))
}

/// Whether a machine of before is there, or is still to be made.
fn has_old(snapshot: &Snapshot, pool: &MachineDeployment) -> bool {
    let id = PoolId::Workers(pool.object.name.clone());
    let template = &pool.infrastructure.name;
    let mut machines = read(&snapshot.machines).filter(|machine| machine.pool.as_ref() == Some(&id));
    let mut sets = read(&snapshot.machine_sets).filter(|set| set.pool.as_ref() == Some(&pool.object.name));
    machines.any(|machine| {
        let is_same = machine.template.as_ref().is_none_or(|from| from == template);
        machine.lifecycle != Lifecycle::Deleting
            && (machine.version != pool.version || !is_same || is_expired(pool, machine.rollout_time))
    }) || sets.any(|set| {
        let is_same = set.infrastructure == pool.infrastructure && set.bootstrap == pool.bootstrap;
        set.replicas > 0 && (set.version != pool.version || !is_same || is_expired(pool, set.created))
    })
}

/// Whether Cluster API replaces what was made at a time, since it was before `spec.rollout.after`.
fn is_expired(pool: &MachineDeployment, made: Option<Timestamp>) -> bool {
    matches!((made, pool.rollout_after), (Some(made), Some(after)) if made < after)
}
