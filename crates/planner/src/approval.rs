//! The approvals that a step lacks.

use instar_api::{ApprovalPoint, ApprovedPart};
use instar_domain::KubeVersion;

use crate::{decision::Waiting, observed::Observed, snapshot::Snapshot};

/// What becomes of the workers of a topology Cluster once its version is edited.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterEdit {
    /// Cluster API takes them along.
    Follow,
    /// Each pool is held until its own gates open.
    Held,
}

/// The approval that a step of the control plane lacks.
pub(crate) fn of_control_plane(snapshot: &Snapshot, to: &KubeVersion) -> Option<Waiting> {
    let required = &snapshot.approvals.required;
    let given = &snapshot.approvals.given;
    // Another target needs an approval of its own, also in the middle.
    let is_approved = given.iter().any(|(part, _)| *part == ApprovedPart::ControlPlane);
    let is_required = required.contains(&ApprovalPoint::EachStep)
        || (required.contains(&ApprovalPoint::ControlPlane) && (is_first_step(snapshot) || !is_approved));
    (is_required && snapshot.approvals.lack(ApprovedPart::ControlPlane, to))
        .then(|| waiting(snapshot, ApprovedPart::ControlPlane, to))
}

/// The approval that workers lack which are to go to a version.
pub(crate) fn of_workers(snapshot: &Snapshot, to: &KubeVersion) -> Option<Waiting> {
    let is_required = snapshot.approvals.required.contains(&ApprovalPoint::Workers);
    (is_required && snapshot.approvals.lack(ApprovedPart::Workers, to))
        .then(|| waiting(snapshot, ApprovedPart::Workers, to))
}

/// The approvals that the edit of a topology Cluster's version lacks: Cluster API takes all steps after it.
pub(crate) fn of_edit(snapshot: &Snapshot, to: &KubeVersion, workers: AfterEdit) -> impl Iterator<Item = Waiting> {
    let approvals = &snapshot.approvals;
    let of_control_plane = [ApprovalPoint::ControlPlane, ApprovalPoint::EachStep];
    let parts = [
        (
            ApprovedPart::ControlPlane,
            of_control_plane.iter().any(|point| approvals.required.contains(point)),
        ),
        (
            ApprovedPart::Workers,
            workers == AfterEdit::Follow && approvals.required.contains(&ApprovalPoint::Workers),
        ),
    ];
    parts
        .into_iter()
        .filter(move |(part, is_required)| *is_required && approvals.lack(*part, to))
        .map(move |(part, _)| waiting(snapshot, part, to))
}

/// Whether the control plane was not swapped for this upgrade yet.
fn is_first_step(snapshot: &Snapshot) -> bool {
    let control_plane = snapshot.control_plane.as_ref().and_then(Observed::read);
    let history = control_plane.and_then(|control_plane| control_plane.object.swap_history.as_ref());
    history.is_none_or(|history| history.last_of(&snapshot.upgrade_spec.id()).is_none())
}

fn waiting(snapshot: &Snapshot, part: ApprovedPart, to: &KubeVersion) -> Waiting {
    Waiting::ApprovalMissing {
        part,
        version: to.clone(),
        target: snapshot.upgrade_spec.target.as_str().into(),
    }
}
