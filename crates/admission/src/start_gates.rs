//! Gates before the start: a version that is edited by hand passes those that only a ClusterUpgrade waits for.

use instar_api::{ApprovalPoint, BREAK_GLASS_ANNOTATION, GatePoint, Rule, SWAP_HISTORY_ANNOTATION, UpgradePolicySpec};
use instar_capi::Cluster;

use crate::{
    Finding,
    cluster_state::ClusterState,
    edit::{Edit, finding, object_ref},
    maintenance,
    verdict::policies_of,
};

/// Judges the version that an edit of a topology Cluster comes to, once it is resolved. Whether a gate is open isn't known
/// here: its ClusterUpgrade edits the version when it is.
#[must_use]
pub fn judge(edit: Edit<'_, Cluster>, resolved: &str, state: &dyn ClusterState) -> Option<Finding> {
    let old = edit.old.filter(|old| old.spec.topology.is_some())?;
    let namespace = old.metadata.namespace.as_deref().unwrap_or_default();
    let name = old.metadata.name.as_deref().unwrap_or_default();
    let before = maintenance::before(old, namespace, name, state)?;
    if before == resolved || is_of_an_upgrade(edit) {
        return None;
    }
    // By what it was: an edit can't choose its policy.
    let policies = policies_of(namespace, old.metadata.labels.as_ref(), state);
    let (what, once) = policies.iter().find_map(|policy| wanted(policy))?;
    let remediation = format!(
        "create a ClusterUpgrade of {name} with the target {resolved}, which edits the version once {once}; where it repairs \
         what is stuck, set {BREAK_GLASS_ANNOTATION} to \"{}: why\" in the same edit",
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

/// What a policy asks for before the control plane, and what ends that.
fn wanted(policy: &UpgradePolicySpec) -> Option<(String, &'static str)> {
    let mut points = policy.approval.before.iter();
    if points.any(|point| match point {
        ApprovalPoint::ControlPlane | ApprovalPoint::EachStep => true,
        ApprovalPoint::Workers => false,
    }) {
        let what = "an UpgradePolicy of the Cluster asks for an approval before the control plane";
        return Some((what.to_owned(), "it is approved"));
    }
    let mut gates = policy.gates.iter();
    let gate = gates.find(|gate| gate.when == GatePoint::BeforeControlPlane)?;
    let what = format!(
        "gate \"{}\" of an UpgradePolicy of the Cluster comes before the control plane",
        gate.name
    );
    Some((what, "that lets it through"))
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
