//! Whether an upgrade, or a step of it, has failed, and what becomes of it.
//!
//! Times are those of the objects: the swap history says when a step began, the Machines since when their Nodes are Ready or
//! when they were made. A status may be lost, and these aren't. But they don't say how long a drain, a pause or an outage
//! has taken that is over: so something becomes of a failure only when it has stood in every pass for a while.

mod measured;
mod progress;
mod response;

use std::collections::BTreeSet;

use instar_api::GatePoint;
use jiff::Timestamp;

use self::{
    measured::deadline,
    progress::{Pool, Step},
};
use crate::{
    addon::{AddonId, AddonProblem},
    canary, classic,
    decision::{Action, Decision, Hold, MachinePoolChange, Stage, Waiting},
    failure::{Failed, Failure, FailureResponse, StandingFailure},
    observed::Observed,
    operation::Operation,
    pool_id::PoolId,
    snapshot::{ClusterKind, Machine, MachineDeployment, NodeReadiness, Object, Snapshot},
    swap_history::SwapEntry,
    topology,
    upgrade_spec::Gate,
};

/// Decides for a classic Cluster. The snapshot may be old: what is written carries the compare that refuses it then.
#[must_use]
pub fn plan(snapshot: &Snapshot) -> Decision {
    told(snapshot, classic::plan(snapshot))
}

/// The same for a topology Cluster.
#[must_use]
pub fn follow(snapshot: &Snapshot) -> Decision {
    told(snapshot, topology::follow(snapshot))
}

/// What [`plan`] decides, for who looks at the write, at the stage and at what is waited for: its progress names no pools and
/// no templates, and these take as long as the decision.
#[must_use]
pub fn next_write(snapshot: &Snapshot) -> Decision {
    told(snapshot, classic::next_write(snapshot))
}

/// Says that it has failed, and lets no other pool begin.
fn told(snapshot: &Snapshot, mut decision: Decision) -> Decision {
    let Some(failure) = failure(snapshot, &decision) else {
        return decision;
    };
    if begins_another(snapshot, &decision.action, &failure) {
        decision.action = Action::Nothing;
    }
    let response = response::to(snapshot, &decision, &failure);
    let failed = Failed { failure, response };
    // What people see first.
    decision.waiting.insert(0, Waiting::Failed(Box::new(failed)));
    decision
}

/// Why the upgrade, or the step that is under way, has failed.
#[must_use]
pub fn failure(snapshot: &Snapshot, decision: &Decision) -> Option<Failure> {
    match decision.progress.stage {
        Stage::Complete => return None,
        Stage::Held | Stage::ControlPlane | Stage::Workers | Stage::Verifying => {}
    }
    let stalled = || under_way(snapshot, decision).find_map(|step| step.stalled(snapshot));
    of_addon(snapshot, decision)
        .or_else(stalled)
        .or_else(|| of_canary(snapshot, decision))
        .or_else(|| of_verification(snapshot, decision))
}

/// What a pass leaves to the next one in [`crate::FailureRule::stood`].
#[must_use]
pub fn standing(snapshot: &Snapshot, decision: &Decision) -> Option<StandingFailure> {
    decision
        .failed()
        .map(|failed| response::stands(snapshot, &failed.failure))
}

/// When a step that is under way will have failed, or something becomes of that, where nothing changes until then.
#[must_use]
pub fn deadline_of_step(snapshot: &Snapshot, decision: &Decision) -> Option<Timestamp> {
    let steps = under_way(snapshot, decision).filter_map(|step| step.deadline(snapshot));
    let unready = unready_nodes(snapshot).filter_map(|node| node.counts_from.checked_add(deadline(snapshot)).ok());
    let confirmed = decision.failed().and_then(|failed| match failed.response {
        FailureResponse::Confirm { until } => Some(until),
        FailureResponse::Hold
        | FailureResponse::NotTakenBack { .. }
        | FailureResponse::End { .. }
        | FailureResponse::TakeBack { .. } => None,
    });
    let all = steps.chain(unready).chain(confirmed);
    all.filter(|time| *time > snapshot.now).min()
}

/// The control plane and the pools that a decision waits for, as they go to what their specs say.
fn under_way<'a>(snapshot: &'a Snapshot, decision: &Decision) -> impl Iterator<Item = Step<'a>> {
    let rolling: BTreeSet<PoolId> = decision
        .waiting
        .iter()
        .filter_map(|waiting| match waiting {
            Waiting::ControlPlaneRollingOut { .. } | Waiting::ControlPlaneNotReady { .. } => Some(PoolId::ControlPlane),
            Waiting::PoolRollingOut { pool, .. } => Some(pool.clone()),
            _ => None,
        })
        .collect();
    let control_plane = snapshot.control_plane.iter().filter_map(Observed::read);
    let mut pools: Vec<&MachineDeployment> = snapshot.pools.iter().filter_map(Observed::read).collect();
    pools.sort_by(|a, b| a.object.name.cmp(&b.object.name));
    control_plane
        .map(Pool::control_plane)
        .chain(pools.into_iter().filter_map(Pool::workers))
        .filter(move |pool| rolling.contains(&pool.id))
        .map(|pool| Step::of(snapshot, pool))
}

/// An add-on or a gate that ends the upgrade. One that has let something through before is only late again: a new Node, for
/// example, that its DaemonSet isn't on yet.
fn of_addon(snapshot: &Snapshot, decision: &Decision) -> Option<Failure> {
    decision.waiting.iter().find_map(|waiting| {
        let Waiting::AddonClosed(closed) = waiting else {
            return None;
        };
        let ends = closed.problem == AddonProblem::Expired && !has_let_through(snapshot, &closed.id);
        ends.then(|| Failure::AddonFailed {
            id: closed.id.clone(),
            message: closed.message.clone(),
        })
    })
}

/// Whether something was swapped since the turn of an add-on came.
fn has_let_through(snapshot: &Snapshot, id: &AddonId) -> bool {
    match id.when {
        // Nothing comes after it.
        GatePoint::AfterWorkers => return false,
        GatePoint::BeforeControlPlane | GatePoint::AfterControlPlane | GatePoint::BeforeWorkers => {}
    }
    let upgrade_spec = &snapshot.upgrade_spec;
    let Some(begun) = upgrade_spec.gate_history.begun(upgrade_spec.target.as_str(), id) else {
        return false;
    };
    swapped(snapshot).any(|(_, swap)| swap.since >= begun)
}

/// What this upgrade has swapped, with the last swap of each.
fn swapped(snapshot: &Snapshot) -> impl Iterator<Item = (PoolId, &SwapEntry)> {
    let upgrade = snapshot.upgrade_spec.id();
    let control_plane = snapshot.control_plane.iter().filter_map(Observed::read);
    let pools = snapshot.pools.iter().filter_map(Observed::read);
    let machine_pools = snapshot.machine_pools.iter().filter_map(Observed::read);
    control_plane
        .map(|control_plane| (PoolId::ControlPlane, &control_plane.object))
        .chain(pools.map(|pool| (PoolId::Workers(pool.object.name.clone()), &pool.object)))
        .chain(machine_pools.map(|pool| (PoolId::MachinePool(pool.object.name.clone()), &pool.object)))
        .filter_map(move |(id, object)| Some((id, object.swap_history.as_ref()?.last_of(&upgrade)?)))
}

/// A Node that isn't Ready in a pool that went first, while it holds the others.
fn of_canary(snapshot: &Snapshot, decision: &Decision) -> Option<Failure> {
    let is_held = |waiting: &Waiting| matches!(waiting, Waiting::GateClosed { gate: Gate::Canary, .. });
    let rule = snapshot.canary.filter(|_| decision.waiting.iter().any(is_held))?;
    let pools = match &snapshot.cluster.kind {
        ClusterKind::Classic(_) => canary::canaries(snapshot, rule),
        // No others have a swap history.
        ClusterKind::Topology(_) => snapshot.pools.iter().filter_map(Observed::read).collect(),
    };
    let has_arrived = |object: &Object| {
        let swap = object.swap_history.as_ref()?.last_of(&snapshot.upgrade_spec.id())?;
        swap.converged
    };
    let arrived = pools.into_iter().filter(|pool| has_arrived(&pool.object).is_some());
    let arrived: BTreeSet<&str> = arrived.map(|pool| pool.object.name.as_str()).collect();
    failed_nodes(snapshot).find_map(|UnreadyNode { machine, since, .. }| {
        let Some(PoolId::Workers(pool)) = &machine.pool else {
            return None;
        };
        arrived.contains(pool.as_str()).then(|| Failure::CanaryFailed {
            pool: pool.clone(),
            machine: machine.name.clone(),
            since,
            deadline: deadline(snapshot),
        })
    })
}

/// A Node that isn't Ready and holds the end. What isn't known of one is no failure.
fn of_verification(snapshot: &Snapshot, decision: &Decision) -> Option<Failure> {
    match decision.progress.stage {
        Stage::Verifying => {}
        Stage::Held | Stage::ControlPlane | Stage::Workers | Stage::Complete => return None,
    }
    let holds = |machine: &Machine| {
        let mut waiting = decision.waiting.iter();
        waiting.any(|waiting| matches!(waiting, Waiting::NodeNotReady(node) if node.machine == machine.name))
    };
    let mut failed = failed_nodes(snapshot).filter(|node| holds(node.machine));
    failed
        .next()
        .map(|UnreadyNode { machine, since, .. }| Failure::VerificationFailed {
            machine: machine.name.clone(),
            since,
            deadline: deadline(snapshot),
        })
}

/// A Node that isn't Ready.
struct UnreadyNode<'a> {
    machine: &'a Machine,
    since: Timestamp,
    /// Since when that is this upgrade's failure: what was so before may be anything's.
    counts_from: Timestamp,
}

/// The Nodes that aren't Ready where this upgrade has swapped something, by the names of their machines.
fn unready_nodes(snapshot: &Snapshot) -> impl Iterator<Item = UnreadyNode<'_>> {
    let swapped: Vec<(PoolId, &SwapEntry)> = swapped(snapshot).collect();
    let arrived = swapped.iter().filter_map(|(_, swap)| swap.converged).max();
    let is_touched = |machine: &Machine| match &snapshot.cluster.kind {
        ClusterKind::Classic(_) => swapped.iter().any(|(pool, _)| machine.pool.as_ref() == Some(pool)),
        // All of it goes with the Cluster, and few swaps are written down.
        ClusterKind::Topology(_) => true,
    };
    let machines = snapshot.machines.iter().filter_map(Observed::read);
    let unready = machines.filter_map(|machine| match &machine.node_readiness {
        NodeReadiness::NotReady { since, .. } => Some((machine, (*since)?)),
        NodeReadiness::Ready { .. } | NodeReadiness::Unknown { .. } => None,
    });
    let mut unready: Vec<_> = unready
        .filter(|(machine, _)| is_touched(machine))
        .map(|(machine, since)| UnreadyNode {
            machine,
            since,
            counts_from: arrived.map_or(since, |arrived| arrived.max(since)),
        })
        .collect();
    unready.sort_by(|a, b| a.machine.name.cmp(&b.machine.name));
    unready.into_iter()
}

/// Those for longer than the deadline.
fn failed_nodes(snapshot: &Snapshot) -> impl Iterator<Item = UnreadyNode<'_>> {
    unready_nodes(snapshot).filter(|node| snapshot.now.duration_since(node.counts_from) >= deadline(snapshot))
}

/// Whether an upgrade whose pool is stalled would begin another one. A pool that is stalled may go elsewhere: that mends it;
/// and the way back stops for nothing.
fn begins_another(snapshot: &Snapshot, action: &Action, failure: &Failure) -> bool {
    match snapshot.upgrade_spec.operation {
        Operation::Upgrade | Operation::Refresh | Operation::Abort | Operation::Restart => {}
        Operation::Rollback(_) => return false,
    }
    let Failure::StalledStep { pool: stalled, .. } = failure else {
        return false;
    };
    let is_another = |pool: &PoolId| pool != stalled && *pool != PoolId::ControlPlane;
    match action {
        Action::SwapWorkers(swap) => is_another(&swap.pool),
        Action::MintTemplate(mint) => is_another(&mint.pool),
        Action::PatchMachinePool(patch) => match patch.change {
            MachinePoolChange::Pause => is_another(&patch.pool),
            MachinePoolChange::SetValues { .. }
            | MachinePoolChange::RestoreValues { .. }
            | MachinePoolChange::GiveUp
            | MachinePoolChange::Resume => false,
        },
        Action::HoldPool(hold) => match hold.change {
            // Where nothing moves any more, the holds are only taken off.
            Hold::Release => is_another(&hold.pool) && topology::is_moving(snapshot),
            Hold::Hold | Hold::PauseRollout | Hold::ResumeRollout => false,
        },
        Action::FollowRelease(follow) => follow.pools.iter().any(is_another),
        Action::SwapControlPlane(_)
        | Action::DeleteTemplate(_)
        | Action::PinPath(_)
        | Action::RecordConvergence(_)
        | Action::EditVersion(_)
        | Action::CompletePins(_)
        | Action::SetConcurrency(_)
        | Action::BeginGates(_)
        | Action::AnswerHook(_)
        | Action::RestoreVersionCheck(_)
        | Action::DeleteMachine(_)
        | Action::Nothing => false,
    }
}
