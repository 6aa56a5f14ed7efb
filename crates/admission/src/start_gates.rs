//! Gates before the start: a version that is edited by hand passes those that only a ClusterUpgrade waits for.

use instar_api::{
    ApprovalPoint, BREAK_GLASS_ANNOTATION, Enforcement, GatePoint, Rule, SWAP_HISTORY_ANNOTATION, UpgradePolicySpec,
};
use instar_capi::{Cluster, Topology};

use crate::{
    Finding,
    cluster_state::ClusterState,
    edit::{Edit, finding, object_ref},
    maintenance,
    verdict::policies_of,
};

/// What becomes of the workers once the version is edited.
#[derive(Clone, Copy)]
enum WorkersAfter {
    /// The controller holds each until its own gates open.
    Held,
    /// MachinePools are among them, which nothing holds then.
    Follow,
}

impl WorkersAfter {
    fn of(topology: &Topology) -> Self {
        if topology.workers.machine_pools.is_empty() {
            Self::Held
        } else {
            Self::Follow
        }
    }
}

/// Judges the version that an edit of a topology Cluster comes to, once it is resolved, and that of a topology which a
/// classic Cluster gets. Whether a gate is open isn't known here: a ClusterUpgrade goes on when it is.
#[must_use]
pub fn judge(edit: Edit<'_, Cluster>, resolved: &str, state: &dyn ClusterState) -> Option<Finding> {
    let (old, topology) = edit.old.zip(edit.new.spec.topology.as_ref())?;
    let namespace = old.metadata.namespace.as_deref().unwrap_or_default();
    let name = old.metadata.name.as_deref().unwrap_or_default();
    let before = maintenance::before(old, namespace, name, state)?;
    if before == resolved || is_of_an_upgrade(edit) {
        return None;
    }
    // By what it was: an edit can't choose its policy.
    let policies = policies_of(namespace, old.metadata.labels.as_ref(), state);
    let workers = WorkersAfter::of(topology);
    let (what, once) = policies.iter().find_map(|policy| wanted(policy, workers))?;
    let instead = match &old.spec.topology {
        Some(_) => {
            format!("create a ClusterUpgrade of {name} with the target {resolved}, which edits the version once {once}")
        }
        None => format!(
            "add spec.topology with {before}, which runs, and create a ClusterUpgrade of {name} with the target {resolved}, \
             which goes on once {once}"
        ),
    };
    let remediation = format!(
        "{instead}; where it repairs what is stuck, set {BREAK_GLASS_ANNOTATION} to \"{}: why\" in the same edit",
        Rule::StartGates
    );
    let object = object_ref(edit.kind, &edit.new.metadata);
    Some(finding(
        Rule::StartGates,
        object,
        "spec.topology.version",
        what,
        remediation,
    ))
}

/// What a policy asks for that has to come before the edit, and what ends that.
fn wanted(policy: &UpgradePolicySpec, workers: WorkersAfter) -> Option<(String, &'static str)> {
    let before = &policy.approval.before;
    let is_before_control_plane = before.iter().any(|point| match point {
        ApprovalPoint::ControlPlane | ApprovalPoint::EachStep => true,
        ApprovalPoint::Workers => false,
    });
    let gate_at = |point: GatePoint| policy.gates.iter().find(|gate| gate.when == point);
    if is_before_control_plane {
        let what = "an UpgradePolicy of the Cluster asks for an approval before the control plane";
        return Some((what.to_owned(), "it is approved"));
    }
    if let Some(gate) = gate_at(GatePoint::BeforeControlPlane) {
        let what = format!(
            "gate \"{}\" of an UpgradePolicy of the Cluster comes before the control plane",
            gate.name
        );
        return Some((what, "that lets it through"));
    }
    // Those that no policy names are asked for each ClusterUpgrade, and nobody has asked for more.
    let mut checks = policy.preflight.checks.iter();
    if let Some(check) = checks.find(|check| check.mode == Enforcement::Enforce) {
        let what = format!(
            "an UpgradePolicy of the Cluster has the check {} hold an upgrade that is to begin, which is asked for a \
             ClusterUpgrade alone",
            check.name
        );
        return Some((what, "that lets it through"));
    }
    match workers {
        WorkersAfter::Held => None,
        WorkersAfter::Follow if before.contains(&ApprovalPoint::Workers) => {
            let what = "an UpgradePolicy of the Cluster asks for an approval before the workers, and its MachinePools \
                        can't be held after the edit";
            Some((what.to_owned(), "they are approved"))
        }
        WorkersAfter::Follow => {
            let gate = gate_at(GatePoint::BeforeWorkers)?;
            let what = format!(
                "gate \"{}\" of an UpgradePolicy of the Cluster comes before the workers, and its MachinePools can't be \
                 held after the edit",
                gate.name
            );
            Some((what, "that lets it through"))
        }
    }
}

/// Whether the edit records which ClusterUpgrade makes it, which takes a right of its own (`marks-by-hand`).
fn is_of_an_upgrade(edit: Edit<'_, Cluster>) -> bool {
    let history = |cluster: &Cluster| {
        cluster
            .metadata
            .annotations
            .as_ref()?
            .get(SWAP_HISTORY_ANNOTATION)
            .cloned()
    };
    let written = history(edit.new);
    written.is_some() && written != edit.old.and_then(history)
}
