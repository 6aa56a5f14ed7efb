//! Whether an add-on or a gate that doesn't let through would be passed.

use instar_api::{ApprovedPart, GATE_HISTORY_ANNOTATION, GatePoint};

use super::{
    Violation, control_plane, hooks, machine_pool,
    patch::{Also, annotation, compares, touches_only},
    topology,
};
use crate::{
    addon::{AddonId, AddonState, AskedPoint, GateHistory},
    decision::{Action, BeginGates, Decision, Stage},
    pool_id::PoolId,
    snapshot::Snapshot,
};

/// Of the points that an action, or the end of the upgrade, passes: something is closed there, or a policy has gates
/// there and none was looked at.
pub(super) fn are_passed(snapshot: &Snapshot, decision: &Decision) -> bool {
    let passed: &[GatePoint] = match &decision.action {
        Action::SwapControlPlane(swap) => {
            return of_control_plane(snapshot, &swap.release) || is_closed(snapshot, GatePoint::BeforeControlPlane);
        }
        Action::EditVersion(_) => &[GatePoint::BeforeControlPlane],
        Action::SwapWorkers(swap) => match swap.pool {
            PoolId::ControlPlane | PoolId::Workers(_) => &[GatePoint::BeforeWorkers],
            // What has begun with one goes on.
            PoolId::MachinePool(_) => &[],
        },
        Action::PatchMachinePool(patch) if machine_pool::begins(snapshot, patch) => &[GatePoint::BeforeWorkers],
        Action::HoldPool(hold) if topology::begins(snapshot, hold).is_some() => &[GatePoint::BeforeWorkers],
        Action::AnswerHook(answer) => match hooks::begun(answer) {
            Some((ApprovedPart::ControlPlane, _)) => &[GatePoint::BeforeControlPlane],
            Some((ApprovedPart::Workers, _)) => &[GatePoint::BeforeWorkers],
            None => &[],
        },
        Action::PatchMachinePool(_)
        | Action::MintTemplate(_)
        | Action::PinPath(_)
        | Action::RecordConvergence(_)
        | Action::DeleteTemplate(_)
        | Action::CompletePins(_)
        | Action::HoldPool(_)
        | Action::SetConcurrency(_)
        | Action::BeginGates(_)
        | Action::Nothing => &[],
    };
    let mut passed = passed.iter().copied();
    passed.any(|when| is_closed(snapshot, when))
        || (decision.progress.stage == Stage::Complete && is_found_closed(snapshot, GatePoint::AfterWorkers))
}

fn is_closed(snapshot: &Snapshot, when: GatePoint) -> bool {
    let is_found = snapshot.addons.found.keys().any(|point| point.when == when);
    is_found_closed(snapshot, when) || (snapshot.addons.of_policies.contains(&when) && !is_found)
}

fn is_found_closed(snapshot: &Snapshot, when: GatePoint) -> bool {
    let found = snapshot.addons.found.iter().filter(|(point, _)| point.when == when);
    found
        .flat_map(|(_, gates)| gates)
        .any(|gate| gate.state != AddonState::Open)
}

/// Whether the add-ons of the release to which the control plane would go, or of the one at which it has come, aren't
/// known to let through.
fn of_control_plane(snapshot: &Snapshot, to: &str) -> bool {
    let is_looked_at = |release: &str, when: GatePoint| {
        let mut points = snapshot.addons.found.keys();
        points.any(
            |AskedPoint {
                 when: at, release: of, ..
             }| *at == when && of.as_deref() == Some(release),
        )
    };
    let lacks = |release: &str, when: GatePoint| {
        let row = snapshot.catalog.named_anywhere(release);
        row.is_some_and(|row| row.addon_points().contains(&when)) && !is_looked_at(release, when)
    };
    let history = control_plane(snapshot).and_then(|control_plane| control_plane.object.swap_history.as_ref());
    let last = history.and_then(|history| history.last_of(&snapshot.upgrade_spec.id()));
    let at = last.and_then(|swap| swap.after.release.as_deref());
    lacks(to, GatePoint::BeforeControlPlane)
        || at.is_some_and(|at| lacks(at, GatePoint::AfterControlPlane))
        || (at.is_some() && is_found_closed(snapshot, GatePoint::AfterControlPlane))
}

/// The turn of what begins has come, and of what has begun before the time stays.
pub(super) fn check_begin(snapshot: &Snapshot, begin: &BeginGates, broken: &mut Vec<Violation>) {
    let upgrade_spec = &snapshot.upgrade_spec;
    if begin.name != upgrade_spec.upgrade {
        broken.push(Violation::UnknownObject);
    }
    if !compares(&begin.patch, &begin.resource_version, &upgrade_spec.resource_version) {
        broken.push(Violation::NoCompare);
    }
    let target = upgrade_spec.target.as_str();
    let after = annotation(&begin.patch, GATE_HISTORY_ANNOTATION).map(GateHistory::from_annotation);
    let is_written = after.is_some_and(|after| {
        begin
            .gates
            .iter()
            .all(|id| after.begun(target, id) == Some(snapshot.now))
            && !begin.gates.is_empty()
    });
    if !is_written {
        broken.push(Violation::Incomplete);
    }
    let is_due = |id: &AddonId| {
        let mut found = snapshot.addons.found.values().flatten();
        found.any(|gate| gate.id == *id && gate.state == AddonState::Due)
    };
    if !begin.gates.iter().all(is_due) {
        broken.push(Violation::GateClosed);
    }
    if !touches_only(&begin.patch, &[GATE_HISTORY_ANNOTATION], Also::Nothing) {
        broken.push(Violation::NotOurs);
    }
}
