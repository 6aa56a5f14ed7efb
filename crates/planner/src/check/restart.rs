//! The invariants of a restart: it changes `spec.rollout.after` alone, only forward, and once per pool and upgrade.

use instar_api::SWAP_HISTORY_ANNOTATION;
use jiff::Timestamp;

use super::{
    Violation, check_skew,
    patch::{Also, annotation, compares, touches_only},
    read,
};
use crate::{
    decision::{Action, Decision, Stage, Swap},
    operation::Operation,
    pool_id::PoolId,
    snapshot::{ControlPlane, Flavor, JoinRule, MachineDeployment, Object, Snapshot},
    swap_history::{SwapEntry, SwapHistory},
};

/// Whether a swap belongs to a restart, or would be one.
pub(super) fn is_of_one(snapshot: &Snapshot, swap: &Swap) -> bool {
    swap.rollout_after.is_some() || snapshot.upgrade_spec.operation == Operation::Restart
}

/// Whether a restart would go on or end though nothing says what it has replaced: its Cluster was created after it was asked
/// for.
pub(super) fn is_unknown(snapshot: &Snapshot, decision: &Decision) -> bool {
    let upgrade_spec = &snapshot.upgrade_spec;
    let asked = upgrade_spec.started.map(Timestamp::as_second);
    let created = snapshot.cluster.created.map(Timestamp::as_second);
    let is_younger = created.is_some() && asked.is_some() && created > asked;
    let swaps = matches!(decision.action, Action::SwapControlPlane(_) | Action::SwapWorkers(_));
    let goes_on = swaps || decision.progress.stage == Stage::Complete;
    upgrade_spec.operation == Operation::Restart && is_younger && goes_on
}

pub(super) fn check_control_plane(
    snapshot: &Snapshot,
    control_plane: &ControlPlane,
    swap: &Swap,
    broken: &mut Vec<Violation>,
) {
    check_object(
        snapshot,
        &control_plane.object,
        control_plane.rollout_after,
        swap,
        broken,
    );
    if matches!(control_plane.flavor, Flavor::Other) {
        broken.push(Violation::Untouchable);
    }
    if swap.version != control_plane.version || swap.template != control_plane.infrastructure {
        broken.push(Violation::Incomplete);
    }
    let mut machines = read(&snapshot.machines).filter(|machine| machine.pool == Some(PoolId::ControlPlane));
    if control_plane.object.observed_generation < control_plane.object.generation
        || machines.any(|machine| machine.version != control_plane.version)
    {
        broken.push(Violation::ControlPlaneMoving);
    }
}

pub(super) fn check_workers(snapshot: &Snapshot, pool: &MachineDeployment, swap: &Swap, broken: &mut Vec<Violation>) {
    check_object(snapshot, &pool.object, pool.rollout_after, swap, broken);
    if swap.version != pool.version || swap.template.as_ref() != Some(&pool.infrastructure) {
        broken.push(Violation::Incomplete);
    }
    if snapshot.upgrade_spec.pools.contains_key(&pool.object.name) {
        broken.push(Violation::Untouchable);
    }
    check_skew(snapshot, &swap.version, broken);
    let mut of_control_plane = read(&snapshot.machines).filter(|machine| machine.pool == Some(PoolId::ControlPlane));
    let is_old = |time: Option<Timestamp>| time.is_none() || time < swap.rollout_after;
    if of_control_plane.any(|machine| is_old(machine.rollout_time)) {
        broken.push(Violation::ControlPlaneMoving);
    }
    let minor = super::control_plane(snapshot).map(|control_plane| control_plane.version.minor());
    match pool.joins {
        JoinRule::SameMinor if minor != Some(pool.version.minor()) => broken.push(Violation::WorkersBehind),
        JoinRule::SameMinor | JoinRule::AnyMinor => {}
    }
}

fn check_object(
    snapshot: &Snapshot,
    object: &Object,
    present: Option<Timestamp>,
    swap: &Swap,
    broken: &mut Vec<Violation>,
) {
    let upgrade_spec = &snapshot.upgrade_spec;
    if !compares(&swap.patch, &swap.resource_version, &object.resource_version) {
        broken.push(Violation::NoCompare);
    }
    if !touches_only(&swap.patch, &[SWAP_HISTORY_ANNOTATION], Also::RolloutAfter) {
        broken.push(Violation::NotOurs);
    }
    // The time is that of the record, in whole seconds, and has come.
    let started = upgrade_spec.started.map(Timestamp::as_second);
    let after = swap.rollout_after;
    let is_of_record = upgrade_spec.operation == Operation::Restart
        && started.is_some()
        && started == after.map(Timestamp::as_second)
        && after.is_some_and(|after| after.subsec_nanosecond() == 0 && after <= snapshot.now);
    let text = swap
        .patch
        .pointer("/spec/rollout/after")
        .and_then(|after| after.as_str());
    let is_written = text.and_then(|text| text.parse().ok()) == after;
    let history = annotation(&swap.patch, SWAP_HISTORY_ANNOTATION).and_then(SwapHistory::from_annotation);
    let entry = history.as_ref().and_then(|history| history.last_of(&upgrade_spec.id()));
    let template = swap.template.as_ref().map(|template| &template.name);
    let is_recorded = entry.is_some_and(|entry| {
        entry.before == entry.after && entry.after.is_at(&swap.version, template) && entry.converged.is_none()
    });
    if !is_of_record || !is_written || !is_recorded {
        broken.push(Violation::Incomplete);
    }
    let before = object.swap_history.as_ref();
    // What was done before it can still be taken back, on each object or on none.
    let keeps = |entry: &SwapEntry| {
        let kept = history.iter().flat_map(SwapHistory::entries);
        kept.filter(|kept| kept.upgrade == entry.upgrade)
            .any(|kept| kept.before == entry.before && kept.after == entry.after)
    };
    let mut swaps = before.iter().flat_map(|before| before.entries());
    if !swaps.all(|entry| entry.before == entry.after || keeps(entry)) {
        broken.push(Violation::HistoryLost);
    }
    if before.is_some_and(|history| history.last_of(&upgrade_spec.id()).is_some()) || present >= after {
        broken.push(Violation::RestartedTwice);
    }
}
