//! An upgrade that is aborted: it ends where the control plane stands. Between two steps the Cluster's version goes down to
//! that one, which Cluster API takes only with its own check switched off, and only a hold makes safe: were the control
//! plane newer than the Cluster, the reconcile of the whole topology would stop. Admission switches the check off for this
//! one edit, and holds it against the same conditions.

use instar_api::{ApprovedPart, HookAnswer, SWAP_HISTORY_ANNOTATION};
use instar_capi::{Lifecycle, is_held_before_step, labels::UNSAFE_VERSION};
use instar_domain::{BuildOrder, KubeVersion};
use serde_json::json;

use super::{goal::Goal, view::TopologyView};
use crate::{
    decision::{Action, EditVersion, RestoreVersionCheck},
    snapshot::{ConditionStatus, Snapshot, VersionSetBy},
};

/// What the Cluster's version has to do with an upgrade.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing: the upgrade has edited nothing, or another client has edited it since.
    Elsewhere,
    /// It is what the upgrade asks for.
    Asked,
    /// It is where the upgrade has ended.
    Landed,
    /// It is what the upgrade asks for once more: another client has set it after the upgrade had ended there.
    SetAgain(KubeVersion),
}

impl Place {
    pub(super) fn find(view: &TopologyView<'_>) -> Self {
        let landed = landed(view);
        match (landed, Goal::find(view)) {
            (Some(landed), _) if *landed == view.topology.version => Self::Landed,
            (Some(landed), Goal::There) => Self::SetAgain(landed.clone()),
            (None, Goal::There) => Self::Asked,
            (Some(_) | None, Goal::Write(_) | Goal::Held(_)) => Self::Elsewhere,
        }
    }
}

/// Where this upgrade has ended, as the Cluster says.
fn landed<'a>(view: &TopologyView<'a>) -> Option<&'a KubeVersion> {
    let upgrade_spec = &view.snapshot.upgrade_spec;
    let set_by = view.topology.version_set_by.as_ref()?;
    let is_ours = set_by.upgrade == upgrade_spec.upgrade && set_by.target == upgrade_spec.target.as_str();
    set_by.landed.as_ref().filter(|_| is_ours)
}

/// Whether the control plane has steps to take.
pub(super) fn has_steps_to_take(view: &TopologyView<'_>) -> bool {
    view.control_plane.version.compare(&view.topology.version) == BuildOrder::Less
}

/// Why the upgrade can't end between two steps.
pub(super) fn hindrance(view: &TopologyView<'_>) -> Option<String> {
    if !view.is_kubeadms() {
        return Some(
            "its control plane isn't kubeadm's, and admission doesn't see where another one stands".to_owned(),
        );
    }
    let why = view.topology.hooks.why_not()?;
    Some(format!("Cluster API doesn't ask before its steps ({why})"))
}

/// The edit by which an upgrade ends where the control plane stands, once Cluster API waits there.
pub(super) fn edit(view: &TopologyView<'_>) -> Option<EditVersion> {
    let stands = &view.control_plane.version;
    let is_newer = |version: &KubeVersion| version != stands && version.compare(stands) != BuildOrder::Less;
    if !view.control_plane_settled() || !is_held(view) || view.workers().any(is_newer) {
        return None;
    }
    let resource_version = view.topology.resource_version.clone();
    let upgrade_spec = &view.snapshot.upgrade_spec;
    let set_by = VersionSetBy {
        upgrade: upgrade_spec.upgrade.clone(),
        target: upgrade_spec.target.as_str().to_owned(),
        landed: Some(stands.clone()),
    };
    Some(EditVersion {
        name: view.snapshot.cluster.name.clone(),
        patch: json!({
            "metadata": {
                "resourceVersion": resource_version,
                "annotations": { SWAP_HISTORY_ANNOTATION: set_by.to_annotation() },
            },
            "spec": { "topology": { "version": stands.to_string() } },
        }),
        resource_version,
        target: stands.to_string(),
    })
}

/// Whether Cluster API says, of the Cluster as it is, that it has got the answer which holds the next step.
fn is_held(view: &TopologyView<'_>) -> bool {
    let answer = view
        .topology
        .hook_answer
        .as_deref()
        .and_then(HookAnswer::from_annotation);
    let Some(answer) = answer.filter(|answer| {
        answer.part == ApprovedPart::ControlPlane
            && answer.target == view.topology.version
            && answer.step.compare(&view.control_plane.version) == BuildOrder::Greater
    }) else {
        return false;
    };
    let message = answer.verdict.hold_message();
    view.topology
        .reconciled()
        .zip(message)
        .is_some_and(|(condition, message)| {
            condition.status != ConditionStatus::True
                && condition.observed_generation == view.snapshot.cluster.generation
                && is_held_before_step(&condition.message, &message)
        })
}

/// Switches Cluster API's check of version edits on again, which admission has switched off for a landing.
pub(super) fn restore_check(snapshot: &Snapshot) -> Option<Action> {
    let topology = snapshot.cluster.topology()?;
    if topology.landing_mark.is_none() || snapshot.cluster.lifecycle != Lifecycle::Active {
        return None;
    }
    let resource_version = topology.resource_version.clone();
    Some(Action::RestoreVersionCheck(RestoreVersionCheck {
        name: snapshot.cluster.name.clone(),
        patch: json!({ "metadata": {
            "resourceVersion": resource_version,
            "annotations": { UNSAFE_VERSION: null },
        }}),
        resource_version,
    }))
}
