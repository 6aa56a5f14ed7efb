//! What holds the next swap.

use instar_domain::KubeVersion;

use crate::{
    approval::{self, AfterEdit},
    canary::{self, Leaving},
    decision::Waiting,
    preflight,
    snapshot::Snapshot,
    upgrade_spec::{Gate, GateState},
};

/// What holds a step of the control plane.
pub(crate) fn before_control_plane(snapshot: &Snapshot, to: &KubeVersion) -> Vec<Waiting> {
    let approval = approval::of_control_plane(snapshot, to);
    let addons = of_releases(snapshot, to);
    closed(snapshot, &Gate::CONTROL_PLANE)
        .chain(approval)
        .chain(addons)
        .collect()
}

/// What holds all pools. [`before_pool`] is asked of each beside it.
pub(crate) fn before_workers(snapshot: &Snapshot) -> Vec<Waiting> {
    closed(snapshot, &Gate::WORKERS).collect()
}

/// What holds a pool that is to go.
pub(crate) fn before_pool(snapshot: &Snapshot, leaving: &Leaving<'_>) -> Option<Waiting> {
    approval::of_workers(snapshot, leaving.to).or_else(|| canary::before_pool(snapshot, leaving))
}

/// What holds the edit of a topology Cluster's version, after which Cluster API takes all steps.
pub(crate) fn before_edit(snapshot: &Snapshot, to: &KubeVersion, workers: AfterEdit) -> Vec<Waiting> {
    let approvals = approval::of_edit(snapshot, to, workers);
    let addons = of_releases(snapshot, to);
    closed(snapshot, &Gate::CONTROL_PLANE)
        .chain(approvals)
        .chain(addons)
        .collect()
}

/// Add-ons aren't observed yet, and what isn't known is closed: no control plane goes to a version with a release that
/// has some.
fn of_releases(snapshot: &Snapshot, to: &KubeVersion) -> Option<Waiting> {
    let with_addons = snapshot.catalog.rows_of(to).find(|row| !row.addons().is_empty())?;
    Some(Waiting::GateClosed {
        gate: Gate::AddOn,
        reason: format!(
            "release {} has {}, and this version of Instar doesn't observe add-ons yet: create a release without them",
            with_addons.name(),
            with_addons.addons().join(", ")
        ),
        until: None,
    })
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

/// Whether an upgrade stands still until a user acts: a check or a lacking approval holds it, and nothing moves.
pub(crate) fn stands_still(waiting: &[Waiting]) -> bool {
    let is_held = |waiting: &Waiting| {
        matches!(
            waiting,
            Waiting::PreflightFailed { .. } | Waiting::PreflightUnknown { .. } | Waiting::ApprovalMissing { .. }
        )
    };
    let moves = |waiting: &Waiting| {
        matches!(
            waiting,
            Waiting::ControlPlaneRollingOut { .. }
                | Waiting::PoolRollingOut { .. }
                | Waiting::MachinePoolRollingOut { .. }
        )
    };
    waiting.iter().any(is_held) && !waiting.iter().any(moves)
}
