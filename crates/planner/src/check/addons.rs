//! Whether an add-on or a gate that doesn't let through would be passed.

use instar_api::{ApprovedPart, GATE_HISTORY_ANNOTATION, GatePoint};
use instar_domain::KubeVersion;

use super::{
    Violation, control_plane, hooks, landing, machine_pool,
    patch::{Also, annotation, compares, touches_only},
    topology,
};
use crate::{
    addon::{AddonGate, AddonId, AddonState, AskedPoint, GateHistory},
    decision::{Action, BeginGates, Decision, Stage},
    operation::Operation,
    pool_id::PoolId,
    snapshot::Snapshot,
};

/// Of the points that an action, or the end of the upgrade, passes: something is closed there, or a policy has gates
/// there and none was looked at.
pub(super) fn are_passed(snapshot: &Snapshot, decision: &Decision) -> bool {
    let (passed, at): (&[GatePoint], Option<&KubeVersion>) = match &decision.action {
        Action::SwapControlPlane(swap) => {
            let release = swap.release.as_deref();
            let is_restart = swap.rollout_after.is_some();
            return release.map_or(!is_restart, |release| of_control_plane(snapshot, release))
                || is_closed(snapshot, GatePoint::BeforeControlPlane, Some(&swap.version));
        }
        Action::EditVersion(edit) if landing::lands(snapshot, edit) => (&[], None),
        Action::EditVersion(_) => (&[GatePoint::BeforeControlPlane], None),
        Action::SwapWorkers(swap) => match swap.pool {
            // One that is pinned goes elsewhere than the others, for which they were asked.
            PoolId::ControlPlane | PoolId::Workers(_) => (&[GatePoint::BeforeWorkers], None),
            // What has begun with one goes on.
            PoolId::MachinePool(_) => (&[], None),
        },
        Action::PatchMachinePool(patch)
            if machine_pool::begins(snapshot, patch) && !machine_pool::turns_around(snapshot, patch) =>
        {
            (&[GatePoint::BeforeWorkers], None)
        }
        Action::HoldPool(hold) => match topology::begins(snapshot, hold) {
            Some(version) => (&[GatePoint::BeforeWorkers], Some(version)),
            None => (&[], None),
        },
        Action::AnswerHook(answer) => match hooks::begun(answer) {
            Some((ApprovedPart::ControlPlane, step)) => (&[GatePoint::BeforeControlPlane], Some(step)),
            Some((ApprovedPart::Workers, step)) => (&[GatePoint::BeforeWorkers], Some(step)),
            None => (&[], None),
        },
        Action::FollowRelease(follow) if !follow.pools.is_empty() => {
            (&[GatePoint::BeforeWorkers], Some(&follow.version))
        }
        Action::PatchMachinePool(_)
        | Action::FollowRelease(_)
        | Action::DeleteMachine(_)
        | Action::MintTemplate(_)
        | Action::PinPath(_)
        | Action::RecordConvergence(_)
        | Action::DeleteTemplate(_)
        | Action::CompletePins(_)
        | Action::SetConcurrency(_)
        | Action::BeginGates(_)
        | Action::RestoreVersionCheck(_)
        | Action::Nothing => (&[], None),
    };
    let mut passed = passed.iter().copied();
    passed.any(|when| is_closed(snapshot, when, at))
        || (decision.progress.stage == Stage::Complete
            && snapshot.upgrade_spec.operation != Operation::Abort
            && is_found_closed(snapshot, GatePoint::AfterWorkers, None))
}

fn is_closed(snapshot: &Snapshot, when: GatePoint, at: Option<&KubeVersion>) -> bool {
    let is_found = found(snapshot, when, at).next().is_some();
    is_found_closed(snapshot, when, at) || (snapshot.addons.of_policies.contains(&when) && !is_found)
}

fn found<'s>(
    snapshot: &'s Snapshot,
    when: GatePoint,
    at: Option<&KubeVersion>,
) -> impl Iterator<Item = &'s Vec<AddonGate>> {
    let points = snapshot.addons.found.iter();
    let points = points.filter(move |(point, _)| point.when == when && at.is_none_or(|at| point.version == *at));
    points.map(|(_, gates)| gates)
}

fn is_found_closed(snapshot: &Snapshot, when: GatePoint, at: Option<&KubeVersion>) -> bool {
    found(snapshot, when, at)
        .flatten()
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
    let last = history.and_then(|history| history.arrived_at(&snapshot.upgrade_spec.id()));
    let at = last.and_then(|state| state.release.as_deref());
    lacks(to, GatePoint::BeforeControlPlane)
        || at.is_some_and(|at| lacks(at, GatePoint::AfterControlPlane))
        || (at.is_some() && is_found_closed(snapshot, GatePoint::AfterControlPlane, None))
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
            .all(|id| after.begun(target, id) == Some(snapshot.now) && keeps_before(snapshot, id, &after))
            && !begin.gates.is_empty()
    });
    if !is_written {
        broken.push(Violation::Incomplete);
    }
    let is_due = |id: &AddonId| {
        let mut found = snapshot.addons.found.values().flatten();
        found.any(|gate| gate.id == *id && matches!(gate.state, AddonState::Due(_)))
    };
    if !begin.gates.iter().all(is_due) {
        broken.push(Violation::GateClosed);
    }
    if !touches_only(&begin.patch, &[GATE_HISTORY_ANNOTATION], Also::Nothing) {
        broken.push(Violation::NotOurs);
    }
}

/// Whether what was there before something is set is written down with it.
fn keeps_before(snapshot: &Snapshot, id: &AddonId, after: &GateHistory) -> bool {
    let found = snapshot.addons.found.values().flatten();
    let mut of_gate = found.filter(|gate| gate.id == *id);
    of_gate.all(|gate| match &gate.state {
        AddonState::Due(Some(_)) => after.before(id).is_some(),
        AddonState::Due(None) | AddonState::Open | AddonState::Closed { .. } => true,
    })
}
