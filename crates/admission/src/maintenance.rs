//! Maintenance windows: when a topology Cluster's version may be edited by hand.

use instar_api::{Maintenance, Rule};
use instar_capi::Cluster;
use instar_gates::{MaintenanceWindows, WindowState};
use jiff::Timestamp;

use crate::{
    Finding,
    cluster_state::ClusterState,
    edit::{Edit, finding, object_ref},
    verdict::policies_of,
};

/// Judges the version that an edit comes to, once it is resolved. Of a created Cluster there is nothing to judge, and of
/// a classic one the controller waits.
#[must_use]
pub fn judge(edit: Edit<'_, Cluster>, resolved: &str, state: &dyn ClusterState) -> Vec<Finding> {
    let Some(old) = edit.old else {
        return Vec::new();
    };
    let before = old.spec.topology.as_ref();
    if before.is_none_or(|topology| topology.version == resolved) {
        return Vec::new();
    }
    let namespace = old.metadata.namespace.as_deref().unwrap_or_default();
    // By what it was: an edit can't choose its policy.
    let policies = policies_of(namespace, old.metadata.labels.as_ref(), state);
    let name = old.metadata.name.as_deref().unwrap_or_default();
    let maintenance = policies.iter().map(|policy| &policy.maintenance);
    let closed = closed(maintenance, name, resolved, state.now());
    let of = |(what, remediation)| {
        let object = object_ref(edit.kind, &edit.new.metadata);
        finding(
            Rule::MaintenanceWindow,
            object,
            "spec.topology.version",
            what,
            remediation,
        )
    };
    closed.map(of).into_iter().collect()
}

/// What is closed, and what to do.
fn closed<'a>(
    policies: impl Iterator<Item = &'a Maintenance>,
    cluster: &str,
    version: &str,
    now: Timestamp,
) -> Option<(String, String)> {
    let windows = match MaintenanceWindows::read(policies) {
        Ok(windows) => windows,
        Err(error) => return Some((error.to_string(), "correct the UpgradePolicy".to_owned())),
    };
    match windows.at(now) {
        WindowState::Open { .. } => None,
        WindowState::Closed { by, opens } => {
            let until = opens.map_or_else(String::new, |opens| format!(", until {opens}"));
            Some((
                format!("{by}{until}"),
                format!(
                    "create a ClusterUpgrade of {cluster} with the target {version}, which edits the version when upgrades may go on"
                ),
            ))
        }
    }
}
