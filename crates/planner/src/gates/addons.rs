//! At which points an upgrade asks for add-ons and gates, and what they hold there.
//!
//! What they come to is found outside: a decision names the points that it asks for and knows nothing of
//! ([`Waiting::AddonsUnseen`]), and is made again with what was found. A point that isn't known is closed.

use instar_api::{GATE_HISTORY_ANNOTATION, GatePoint};
use serde_json::json;

use crate::{
    addon::{AddonGate, AddonId, AddonProblem, AddonState, AskedPoint, ClosedAddon},
    decision::{Action, BeginGates, Waiting},
    observed::Observed,
    settled::is_topology_moving,
    snapshot::{ClusterKind, Snapshot},
    upgrade_spec::Origin,
    value_before::ValueBefore,
};

/// Whether anything is listed at a point. Of a release that is gone the path of a classic Cluster says whether it had
/// add-ons; elsewhere that isn't known.
pub(crate) fn are_listed(snapshot: &Snapshot, point: &AskedPoint) -> bool {
    snapshot.addons.of_policies.contains(&point.when) || release_counts(snapshot, point)
}

/// Whether the release of a point has add-ons there, or isn't known to have none.
#[must_use]
pub fn release_counts(snapshot: &Snapshot, point: &AskedPoint) -> bool {
    point.release.as_ref().is_some_and(|name| {
        let row = snapshot.catalog.named_anywhere(name);
        row.map_or_else(
            || had_addons(snapshot, name),
            |row| row.addon_points().contains(&point.when),
        )
    })
}

/// Whether a release has add-ons at all, or had some when it was pinned.
pub(crate) fn has_addons(snapshot: &Snapshot, release: &str) -> bool {
    let row = snapshot.catalog.named_anywhere(release);
    row.map_or_else(|| had_addons(snapshot, release), |row| !row.addon_points().is_empty())
}

fn had_addons(snapshot: &Snapshot, release: &str) -> bool {
    let path = snapshot.cluster.classic().and_then(|classic| classic.path.as_ref());
    path.is_none_or(|path| path.addons.iter().any(|name| name == release))
}

/// What holds an upgrade at these points, which come one after the other: what holds at one, lets the next not begin.
pub(crate) fn held(snapshot: &Snapshot, points: impl IntoIterator<Item = AskedPoint>) -> Vec<Waiting> {
    let mut waiting = Vec::new();
    for point in points {
        if !waiting.is_empty() {
            break;
        }
        match snapshot.addons.found.get(&point) {
            Some(found) => waiting.extend(found.iter().filter_map(closed)),
            None if are_listed(snapshot, &point) => waiting.push(Waiting::AddonsUnseen(Box::new(point))),
            None => {}
        }
    }
    waiting
}

pub(super) fn closed(gate: &AddonGate) -> Option<Waiting> {
    let (problem, message, until) = match &gate.state {
        AddonState::Open => return None,
        AddonState::Due(_) => (AddonProblem::NotReady, "its turn has come".to_owned(), None),
        AddonState::Closed {
            problem,
            message,
            until,
        } => (*problem, message.clone(), *until),
    };
    Some(Waiting::AddonClosed(Box::new(ClosedAddon {
        id: gate.id.clone(),
        kind: gate.kind.clone(),
        object: gate.object.clone(),
        problem,
        message,
        until,
    })))
}

/// The point after the step that the control plane has taken for this upgrade; none before its first one.
pub(crate) fn after_control_plane(snapshot: &Snapshot) -> Option<AskedPoint> {
    let control_plane = snapshot.control_plane.as_ref().and_then(Observed::read)?;
    let upgrade_spec = &snapshot.upgrade_spec;
    match &snapshot.cluster.kind {
        ClusterKind::Classic(_) => {
            let history = control_plane.object.swap_history.as_ref()?;
            let after = history.arrived_at(&upgrade_spec.id())?;
            let point = AskedPoint::new(GatePoint::AfterControlPlane, &after.version, after.release.as_deref());
            Some(point)
        }
        ClusterKind::Topology(topology) => {
            let topology = topology.read()?;
            let set_by = topology.version_set_by.as_ref();
            let is_ours = match upgrade_spec.origin {
                Origin::Cluster => true,
                Origin::Upgrade => {
                    set_by.is_some_and(|set_by| set_by.upgrade == upgrade_spec.upgrade) || is_topology_moving(snapshot)
                }
            };
            let version = &control_plane.version;
            is_ours.then(|| AskedPoint::new(GatePoint::AfterControlPlane, version, topology.release_of(version)))
        }
    }
}

/// Writes down that the turn of those has come that a decision waits for, where nothing else is to be written.
pub(crate) fn begin(snapshot: &Snapshot, action: Action, waiting: &[Waiting]) -> Action {
    match action {
        Action::Nothing => {}
        other => return other,
    }
    let due: Vec<_> = waiting.iter().filter_map(|waiting| due(snapshot, waiting)).collect();
    if due.is_empty() {
        return Action::Nothing;
    }
    let upgrade_spec = &snapshot.upgrade_spec;
    let target = upgrade_spec.target.as_str();
    let gates: Vec<AddonId> = due.iter().map(|(id, _)| id.clone()).collect();
    let mut history = upgrade_spec
        .gate_history
        .with(target, gates.iter().cloned(), snapshot.now);
    for (id, before) in due {
        if let Some(before) = before {
            history = history.with_set(id, before);
        }
    }
    let resource_version = upgrade_spec.resource_version.clone();
    Action::BeginGates(BeginGates {
        patch: json!({
            "metadata": {
                "resourceVersion": resource_version,
                "annotations": { GATE_HISTORY_ANNOTATION: history.to_annotation() },
            },
        }),
        name: upgrade_spec.upgrade.clone(),
        resource_version,
        gates,
    })
}

/// One whose turn has come, and what was there before, where something is set.
fn due(snapshot: &Snapshot, waiting: &Waiting) -> Option<(AddonId, Option<ValueBefore>)> {
    let Waiting::AddonClosed(closed) = waiting else {
        return None;
    };
    let mut found = snapshot.addons.found.values().flatten();
    found.find_map(|gate| match &gate.state {
        AddonState::Due(before) if gate.id == closed.id => Some((gate.id.clone(), before.clone())),
        AddonState::Due(_) | AddonState::Open | AddonState::Closed { .. } => None,
    })
}
