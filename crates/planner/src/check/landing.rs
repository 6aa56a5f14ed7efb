//! The invariants of an edit that takes a topology Cluster's version down: the control plane is there already, and a hold
//! keeps it there.

use instar_api::{ApprovedPart, HookAnswer, HookVerdict, SWAP_HISTORY_ANNOTATION};
use instar_capi::labels::UNSAFE_VERSION;
use instar_domain::{BuildOrder, KubeVersion};
use serde_json::Value;

use super::{
    Violation, control_plane,
    patch::{Also, annotation, touches_only},
    topology::compared,
    workers,
};
use crate::{
    decision::{EditVersion, RestoreVersionCheck},
    operation::Operation,
    snapshot::{Snapshot, Topology, VersionSetBy},
};

/// Whether an edit ends an upgrade that is aborted.
pub(super) fn lands(snapshot: &Snapshot, edit: &EditVersion) -> bool {
    let is_lower = |topology: &Topology| {
        let target: Option<KubeVersion> = edit.target.parse().ok();
        target.is_some_and(|target| target.compare(&topology.version) == BuildOrder::Less)
    };
    snapshot.upgrade_spec.operation == Operation::Abort && snapshot.cluster.topology().is_some_and(is_lower)
}

pub(super) fn check(snapshot: &Snapshot, edit: &EditVersion, broken: &mut Vec<Violation>) {
    let Some(topology) = compared(snapshot, &edit.name, &edit.resource_version, &edit.patch, broken) else {
        return;
    };
    let text = edit.patch.pointer("/spec/topology/version").and_then(Value::as_str);
    let set_by = annotation(&edit.patch, SWAP_HISTORY_ANNOTATION).and_then(VersionSetBy::from_annotation);
    let landed = set_by.and_then(|set_by| set_by.landed);
    if text != Some(edit.target.as_str()) || landed.as_ref() != edit.target.parse().ok().as_ref() {
        broken.push(Violation::Incomplete);
    }
    if !touches_only(&edit.patch, &[SWAP_HISTORY_ANNOTATION], Also::Version) {
        broken.push(Violation::NotOurs);
    }
    let (Some(to), Some(control_plane)) = (landed, control_plane(snapshot)) else {
        broken.push(Violation::UnknownObject);
        return;
    };
    if control_plane.version != to || control_plane.observed.iter().any(|observed| *observed != to) {
        broken.push(Violation::ControlPlaneMoving);
    }
    if workers(snapshot).any(|worker| *worker != to && worker.compare(&to) != BuildOrder::Less) {
        broken.push(Violation::WorkersAhead);
    }
    if !is_held(snapshot, topology, &to) {
        broken.push(Violation::Lowered);
    }
}

/// Whether Cluster API says, of this very edit, that it has got the present answer, and that is a hold of what comes next.
fn is_held(snapshot: &Snapshot, topology: &Topology, stands: &KubeVersion) -> bool {
    let Some(answer) = topology.hook_answer.as_deref().and_then(HookAnswer::from_annotation) else {
        return false;
    };
    let is_next =
        answer.part == ApprovedPart::ControlPlane && answer.target == topology.version && answer.step > *stands;
    let HookVerdict::Hold { .. } = &answer.verdict else {
        return false;
    };
    let message = answer.verdict.hold_message().unwrap_or_default();
    let mut conditions = topology.conditions.iter();
    let said = conditions.find(|condition| condition.kind == "TopologyReconciled");
    let is_said = said.is_some_and(|condition| {
        condition.observed_generation == snapshot.cluster.generation
            && condition
                .message
                .contains(&format!("BeforeControlPlaneUpgrade: {message}"))
    });
    is_next && is_said
}

pub(super) fn check_restored(snapshot: &Snapshot, restore: &RestoreVersionCheck, broken: &mut Vec<Violation>) {
    let RestoreVersionCheck {
        name,
        resource_version,
        patch,
    } = restore;
    let Some(topology) = compared(snapshot, name, resource_version, patch, broken) else {
        return;
    };
    let written = patch
        .pointer("/metadata/annotations")
        .and_then(|all| all.get(UNSAFE_VERSION));
    if written != Some(&Value::Null) {
        broken.push(Violation::Incomplete);
    }
    // What a user has set is the user's.
    if topology.landing_mark.is_none() || !touches_only(patch, &[UNSAFE_VERSION], Also::Nothing) {
        broken.push(Violation::NotOurs);
    }
}
