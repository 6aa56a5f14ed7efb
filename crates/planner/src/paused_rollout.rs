//! Pools that stand in the middle of their rollout while the maintenance windows are closed, where a policy asks for that.
//!
//! They are paused by the annotation and not by `spec.paused`. With that field Cluster API goes on scaling the
//! MachineSets of a MachineDeployment, the old ones too. With the annotation its controller leaves them as they are: a
//! machine that is being created comes up, one that is being deleted goes, and no other one follows.

use instar_api::OnClose;
use instar_capi::{Lifecycle, labels::PAUSED};
use serde_json::{Value, json};

use crate::{
    decision::{Action, Decision, Hold, HoldPool, RolloutPausedBy, Stage, Waiting},
    observed::Observed,
    operation::Operation,
    pause::PauseMark,
    pool_id::PoolId,
    snapshot::{MachineDeployment, Rollout, Snapshot},
    upgrade_spec::{Gate, GateState},
};

/// Which machines of a pool are still to be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToReplace {
    /// None.
    Nothing,
    /// Some, for this upgrade.
    ForUpgrade,
    /// Some, for something else.
    ForOther,
    /// Some that a way back is to keep: the pool goes back yet, or stays as it is.
    Keeps,
}

/// A decision, in place of which a pool is stopped or let go on, if one has to be.
pub(crate) fn first(
    snapshot: &Snapshot,
    mut decision: Decision,
    pools: &[(&MachineDeployment, ToReplace)],
) -> Decision {
    // What ends leaves no mark.
    let closed = closed(snapshot).filter(|_| decision.progress.stage != Stage::Complete);
    let stands = |(pool, to_replace): &&(&MachineDeployment, ToReplace)| {
        let stands = match to_replace {
            ToReplace::Nothing => false,
            ToReplace::ForUpgrade | ToReplace::ForOther => closed.is_some(),
            ToReplace::Keeps => decision.progress.stage != Stage::Complete,
        };
        stands && pool.object.lifecycle != Lifecycle::Deleting
    };
    let marked = || pools.iter().filter(|(pool, _)| pool.rollout_paused.is_some());
    let resumed = marked().find(|entry| !stands(entry));
    let stopped = pools.iter().filter(stands).find(|(pool, to_replace)| {
        pool.rollout_paused.is_none() && *to_replace == ToReplace::ForUpgrade && may_be_stopped(pool)
    });
    let change = match (resumed, stopped) {
        (Some(_), _) if goes_back_first(snapshot, &decision) => None,
        (Some((pool, _)), _) => Some(resume(pool)),
        (None, Some((pool, _))) => Some(pause(snapshot, pool)),
        (None, None) => None,
    };
    // What a way back keeps, no window lets go.
    let by_windows = marked().filter(|_| closed.is_some()).filter(stands);
    let by_windows = by_windows.filter_map(|(pool, _)| waits(pool, RolloutPausedBy::Windows));
    let mut standing: Vec<Waiting> = by_windows.collect();
    if !standing.is_empty() {
        standing.extend(closed.clone().filter(|closed| !decision.waiting.contains(closed)));
    }
    let kept = marked().filter(|(_, to_replace)| *to_replace == ToReplace::Keeps);
    let kept = kept.filter(stands).filter(|_| closed.is_none());
    let kept: Vec<Waiting> = kept
        .filter_map(|(pool, _)| waits(pool, RolloutPausedBy::Rollback))
        .collect();
    decision.waiting.splice(0..0, standing);
    decision.waiting.extend(kept);
    // The decision is made again once that was read.
    if let Some(change) = change.filter(|_| decision.unread.is_empty()) {
        decision.action = change;
    }
    decision
}

/// Takes a mark off a pool of a Cluster for which no upgrade goes on. It would stay as it is, also where it is deleted.
pub(crate) fn leftover(snapshot: &Snapshot) -> Option<Action> {
    let pools = snapshot.pools.iter().filter_map(Observed::read);
    let marked = pools.filter(|pool| pool.rollout_paused.is_some());
    marked.min_by(|a, b| a.object.name.cmp(&b.object.name)).map(resume)
}

/// That the windows are closed, where rollouts stop for it. What is taken back turns around at once.
fn closed(snapshot: &Snapshot) -> Option<Waiting> {
    match (snapshot.on_close, &snapshot.upgrade_spec.operation) {
        (OnClose::FinishMachine, Operation::Upgrade | Operation::Refresh | Operation::Abort | Operation::Restart) => {}
        (OnClose::FinishPool, _) | (OnClose::FinishMachine, Operation::Rollback(_)) => return None,
    }
    match snapshot.gates.get(&Gate::Window) {
        Some(GateState::Closed { reason, until }) => Some(Waiting::GateClosed {
            gate: Gate::Window,
            reason: reason.clone(),
            until: *until,
        }),
        Some(GateState::Open { .. }) | None => None,
    }
}

/// Of a pool whose user deletes its machines one by one, the old MachineSet would create them again.
fn may_be_stopped(pool: &MachineDeployment) -> bool {
    pool.object.lifecycle == Lifecycle::Active && pool.rollout == Rollout::Rolling
}

/// Whether a way back writes something else before it lets a pool go on.
fn goes_back_first(snapshot: &Snapshot, decision: &Decision) -> bool {
    snapshot.upgrade_spec.operation.rollback().is_some()
        && decision.progress.stage != Stage::Complete
        && decision.action != Action::Nothing
}

fn waits(pool: &MachineDeployment, by: RolloutPausedBy) -> Option<Waiting> {
    let mark = pool.rollout_paused.as_ref()?;
    Some(Waiting::RolloutPaused {
        pool: PoolId::Workers(pool.object.name.clone()),
        version: pool.version.clone(),
        since: mark.paused,
        by,
    })
}

fn pause(snapshot: &Snapshot, pool: &MachineDeployment) -> Action {
    let mark = PauseMark::new(&snapshot.upgrade_spec.id(), snapshot.now);
    patched(pool, Hold::PauseRollout, &json!(mark.to_annotation()))
}

fn resume(pool: &MachineDeployment) -> Action {
    patched(pool, Hold::ResumeRollout, &Value::Null)
}

fn patched(pool: &MachineDeployment, change: Hold, mark: &Value) -> Action {
    let patch = json!({ "metadata": {
        "resourceVersion": pool.object.resource_version,
        "annotations": { PAUSED: mark },
    }});
    Action::HoldPool(HoldPool::of(pool, change, patch))
}
