//! Maintenance windows: when machines may be replaced by an edit by hand.

use std::sync::Arc;

use instar_api::{BREAK_GLASS_ANNOTATION, Rule, UpgradePolicySpec, VERSION_ANNOTATION, WindowOverride};
use instar_capi::Cluster;
use instar_gates::{MaintenanceWindows, WindowState};

use crate::{
    Finding,
    cluster_state::{ClusterState, running},
    edit::{Edit, finding, object_ref},
    verdict::{policies_of, selecting_policies},
};

/// Judges the version that an edit of a Cluster comes to, once it is resolved, or `another` release of a version that
/// runs. Of a created Cluster, or one without a control plane, there is nothing to replace; and of one that stays classic
/// the controller waits.
#[must_use]
pub fn judge(edit: Edit<'_, Cluster>, resolved: &str, another: Option<&str>, state: &dyn ClusterState) -> Vec<Finding> {
    let Some(old) = edit.old else {
        return Vec::new();
    };
    let namespace = old.metadata.namespace.as_deref().unwrap_or_default();
    let name = old.metadata.name.as_deref().unwrap_or_default();
    let Some(before) = before(old, namespace, name, state) else {
        return Vec::new();
    };
    let (field, remediation) = match another {
        _ if before != resolved => (
            "spec.topology.version",
            format!(
                "create a ClusterUpgrade of {name} with the target {resolved}, which edits the version when upgrades may go on"
            ),
        ),
        Some(release) => (
            "metadata.annotations[upgrade.cluster.x-k8s.io/releases]",
            format!("name release {release} when upgrades may go on"),
        ),
        None => return Vec::new(),
    };
    // By what it was: an edit can't choose its policy.
    let policies = policies_of(namespace, old.metadata.labels.as_ref(), state);
    let closed = closed(namespace, name, &policies, state).map(|closed| closed.or_else(&remediation));
    let object = || object_ref(edit.kind, &edit.new.metadata);
    closed
        .map(|(what, remediation)| finding(Rule::MaintenanceWindow, object(), field, what, remediation))
        .into_iter()
        .collect()
}

/// The version from which machines would be replaced: what a topology asks for, or what a classic control plane does.
/// None where there is no control plane yet.
pub(crate) fn before(old: &Cluster, namespace: &str, name: &str, state: &dyn ClusterState) -> Option<String> {
    let running = || running(state, namespace, name);
    if let Some(topology) = &old.spec.topology {
        let has_control_plane = old.spec.control_plane_ref.is_some() || running().is_some();
        return has_control_plane.then(|| topology.version.clone());
    }
    let control_plane = state.control_plane(namespace, name);
    let asked = control_plane.map(|control_plane| control_plane.spec.version.clone());
    asked.or_else(|| running().map(|versions| versions.highest.to_string()))
}

/// What is closed for an edit of the version in a control plane or a pool that a user moves, and what to do.
pub(crate) fn by_hand(namespace: &str, cluster: &str, state: &dyn ClusterState) -> Option<(String, String)> {
    let policies = selecting_policies(namespace, Some(cluster), state);
    let closed = closed(namespace, cluster, &policies, state)?;
    let has_topology = state
        .cluster(namespace, cluster)
        .is_some_and(|cluster| cluster.topology.is_some());
    let remediation = if has_topology {
        "edit it when upgrades may go on".to_owned()
    } else {
        format!("annotate Cluster {cluster} with {VERSION_ANNOTATION}, and Instar upgrades it when upgrades may go on")
    };
    Some(closed.or_else(&remediation))
}

/// What is closed.
enum Closed {
    /// Until the windows open.
    Windows(String),
    /// The policies say nothing that can be read: what is wrong, and what to do about it.
    Unknown(String, &'static str),
}

impl Closed {
    /// What is wrong and what to do: `remediation` where time alone opens it.
    fn or_else(self, remediation: &str) -> (String, String) {
        match self {
            Self::Windows(what) => (what, or_break_glass(remediation)),
            Self::Unknown(what, remediation) => (what, or_break_glass(remediation)),
        }
    }
}

fn or_break_glass(remediation: &str) -> String {
    format!(
        "{remediation}; where it repairs what is stuck, set {BREAK_GLASS_ANNOTATION} to \"maintenance-window: why\" in the same edit"
    )
}

/// A policy that can't be decoded may select any Cluster of its namespace, and be closed: the controller waits for it too.
fn closed(
    namespace: &str,
    cluster: &str,
    policies: &[Arc<UpgradePolicySpec>],
    state: &dyn ClusterState,
) -> Option<Closed> {
    if let Some(unreadable) = state.unreadable_policies(namespace).first() {
        return Some(Closed::Unknown(
            format!("UpgradePolicy {unreadable} can't be decoded, so its windows are not known"),
            "correct it, or upgrade Instar if a newer one has written it",
        ));
    }
    let windows = match MaintenanceWindows::read(policies.iter().map(|policy| &policy.maintenance)) {
        Ok(windows) => windows,
        Err(error) => return Some(Closed::Unknown(error.to_string(), "correct the UpgradePolicy")),
    };
    match windows.at(state.now()) {
        WindowState::Open { .. } => None,
        WindowState::Closed { .. } if is_overridden(namespace, cluster, state) => None,
        WindowState::Closed { by, opens } => {
            let until = opens.map_or_else(String::new, |opens| format!(", until {opens}"));
            Some(Closed::Windows(format!("{by}{until}")))
        }
    }
}

/// Whether a user who may has let an upgrade of the Cluster go on: also the edit by which it goes on.
fn is_overridden(namespace: &str, cluster: &str, state: &dyn ClusterState) -> bool {
    let counts = |window: &WindowOverride| window.counts(state.now());
    state
        .upgrades(namespace, cluster)
        .iter()
        .any(|upgrade| upgrade.override_window.as_deref().is_some_and(counts))
}
