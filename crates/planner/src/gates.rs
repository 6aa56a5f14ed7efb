//! What holds the next swap.

mod addons;
mod back;

use instar_api::GatePoint;
use instar_domain::KubeVersion;

use crate::{
    addon::{AddonProblem, AskedPoint},
    addons_back::BackUntil,
    approval::{self, AfterEdit},
    canary::{self, Leaving},
    decision::Waiting,
    operation::Operation,
    preflight,
    snapshot::Snapshot,
    upgrade_spec::{Gate, GateState},
    verification,
};

pub use addons::release_counts;
pub(crate) use addons::{begin, has_addons};
pub(crate) use back::restoring;

/// What holds a step of the control plane to a release.
pub(crate) fn before_control_plane(snapshot: &Snapshot, to: &KubeVersion, release: Option<&str>) -> Vec<Waiting> {
    before_step(snapshot, to, release, after_step(snapshot))
}

/// The same where the control plane has taken no step yet, so that nothing comes after one.
pub(crate) fn before_first_step(snapshot: &Snapshot, to: &KubeVersion, release: Option<&str>) -> Vec<Waiting> {
    before_step(snapshot, to, release, Vec::new())
}

fn before_step(snapshot: &Snapshot, to: &KubeVersion, release: Option<&str>, mut held: Vec<Waiting>) -> Vec<Waiting> {
    let approval = approval::of_control_plane(snapshot, to);
    held.extend(closed(snapshot, &Gate::CONTROL_PLANE).chain(approval));
    or_addons(
        held,
        snapshot,
        [AskedPoint::new(GatePoint::BeforeControlPlane, to, release)],
    )
}

/// What holds all pools that are to go to a version. [`before_pool`] is asked of each beside it.
pub(crate) fn before_workers(snapshot: &Snapshot, to: &KubeVersion, release: Option<&str>) -> Vec<Waiting> {
    let mut held = after_step(snapshot);
    held.extend(closed(snapshot, &Gate::WORKERS));
    // Each pool says so.
    if held.is_empty() && approval::of_workers(snapshot, to).is_some() {
        return held;
    }
    or_addons(held, snapshot, [AskedPoint::new(GatePoint::BeforeWorkers, to, release)])
}

/// What holds the next swap on the way back: the time, and the add-ons that go back before it. The checks ask whether an
/// upgrade may begin, and approvals, canaries and gates are for what is new.
pub(crate) fn before_way_back(snapshot: &Snapshot, until: &BackUntil<'_>) -> Vec<Waiting> {
    let held: Vec<Waiting> = closed(snapshot, &Gate::WORKERS).collect();
    if held.is_empty() {
        restoring(snapshot, until)
    } else {
        held
    }
}

/// What comes after a step of the control plane ends it, whatever else is closed by now.
fn after_step(snapshot: &Snapshot) -> Vec<Waiting> {
    addons::held(snapshot, addons::after_control_plane(snapshot))
}

/// What comes before something is asked for, and set, when nothing else holds that.
fn or_addons(held: Vec<Waiting>, snapshot: &Snapshot, points: impl IntoIterator<Item = AskedPoint>) -> Vec<Waiting> {
    if held.is_empty() {
        addons::held(snapshot, points)
    } else {
        held
    }
}

/// What holds the end of an upgrade, once all machines are there. A Cluster without workers has come to this point from
/// its control plane.
pub(crate) fn before_completion(snapshot: &Snapshot, at: &KubeVersion, release: Option<&str>) -> Vec<Waiting> {
    let points = addons::after_control_plane(snapshot).into_iter();
    let points = points.chain([AskedPoint::new(GatePoint::AfterWorkers, at, release)]);
    match snapshot.upgrade_spec.operation {
        Operation::Upgrade | Operation::Refresh | Operation::Restart => {}
        Operation::Rollback(_) => return verification::nodes(snapshot),
        // What isn't well may be why.
        Operation::Abort => return Vec::new(),
    }
    // Nodes may become Ready only by what is set here, such as a network plugin.
    let mut held = addons::held(snapshot, points);
    held.extend(verification::nodes(snapshot));
    held
}

/// What holds a pool that is to go.
pub(crate) fn before_pool(snapshot: &Snapshot, leaving: &Leaving<'_>) -> Option<Waiting> {
    approval::of_workers(snapshot, leaving.to).or_else(|| canary::before_pool(snapshot, leaving))
}

/// What holds the edit of a topology Cluster's version, after which Cluster API takes all steps. Workers that can't be
/// held later wait for their gates here.
pub(crate) fn before_edit(
    snapshot: &Snapshot,
    to: &KubeVersion,
    release: Option<&str>,
    workers: AfterEdit,
) -> Vec<Waiting> {
    let approvals = approval::of_edit(snapshot, to, workers);
    let of_workers = match workers {
        AfterEdit::Follow => Some(GatePoint::BeforeWorkers),
        AfterEdit::Held => None,
    };
    let points = [Some(GatePoint::BeforeControlPlane), of_workers].into_iter().flatten();
    let points = points.map(|when| AskedPoint::new(when, to, release));
    let closed = closed(snapshot, &Gate::CONTROL_PLANE).chain(approvals);
    or_addons(closed.collect(), snapshot, points)
}

/// Whether add-ons or gates may hold the edit of a topology Cluster's version.
pub(crate) fn may_hold_edit(snapshot: &Snapshot, to: &KubeVersion, release: Option<&str>) -> bool {
    let point = AskedPoint::new(GatePoint::BeforeControlPlane, to, release);
    addons::are_listed(snapshot, &point)
}

/// Whether add-ons or gates may hold the workers of a topology Cluster once its control plane is at a version.
pub(crate) fn may_hold_workers(snapshot: &Snapshot, at: &KubeVersion, release: Option<&str>) -> bool {
    [GatePoint::AfterControlPlane, GatePoint::BeforeWorkers]
        .into_iter()
        .any(|when| addons::are_listed(snapshot, &AskedPoint::new(when, at, release)))
}

/// Those of the gates that don't let through, and the checks that hold an upgrade that hasn't begun.
fn closed(snapshot: &Snapshot, gates: &[Gate]) -> impl Iterator<Item = Waiting> {
    let closed = gates.iter().filter_map(|gate| match snapshot.gates.get(gate) {
        None | Some(GateState::Open { .. }) => None,
        Some(GateState::Closed { reason, until }) => Some(Waiting::GateClosed {
            gate: *gate,
            reason: reason.clone(),
            until: *until,
        }),
    });
    preflight::held(snapshot).chain(closed)
}

/// Whether it is an add-on or a gate that is waited for.
pub(crate) const fn is_of_addon(waiting: &Waiting) -> bool {
    matches!(waiting, Waiting::AddonClosed(_) | Waiting::AddonsUnseen(_))
}

/// Whether an upgrade stands still until a user acts: a check or a lacking approval holds it, and nothing moves.
pub(crate) fn stands_still(waiting: &[Waiting]) -> bool {
    let is_held = |waiting: &Waiting| match waiting {
        Waiting::PreflightFailed { .. } | Waiting::PreflightUnknown { .. } | Waiting::ApprovalMissing { .. } => true,
        Waiting::AddonClosed(closed) => match closed.problem {
            AddonProblem::NotReady | AddonProblem::Settling => false,
            AddonProblem::Failed | AddonProblem::Unknown | AddonProblem::TimedOut | AddonProblem::Expired => true,
        },
        _ => false,
    };
    let moves = |waiting: &Waiting| {
        matches!(
            waiting,
            Waiting::ControlPlaneRollingOut { .. }
                | Waiting::ControlPlaneNotReady { .. }
                | Waiting::PoolRollingOut { .. }
                | Waiting::MachinePoolRollingOut { .. }
        )
    };
    waiting.iter().any(is_held) && !waiting.iter().any(moves)
}
