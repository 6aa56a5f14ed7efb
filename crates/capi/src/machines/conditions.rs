//! The conditions of a Machine. There are many Machines, and each has a dozen conditions: four are kept.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

use super::{Condition, Machine, marks};

/// The conditions of a Machine that are read.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(from = "Vec<WrittenCondition>")]
pub struct MachineConditions {
    /// How far its deletion has come, while that goes on.
    pub deleting: Option<Condition>,
    /// Whether its node is ready.
    pub node_ready: Option<NodeReadyCondition>,
    /// Whether it is what its owner's spec says: `True`, `False` or `Unknown`; empty where nothing says so. `True` where
    /// Cluster API's only reason against it is its kubelet's mark of a distribution.
    pub up_to_date: String,
    /// Why its infrastructure isn't ready, in its provider's words; empty where it is, or where nothing says so.
    pub infrastructure: String,
}

/// Whether the node of a Machine is ready. Cluster API writes it in each reconcile of the Machine, whatever it knows, and
/// takes status and time from the node's own condition.
/// Source: `setNodeHealthyAndReadyConditions` of cluster-api's `machine_controller_status.go`.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeReadyCondition {
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Human-readable message.
    pub message: String,
    /// Since when it has this status.
    pub last_transition_time: Option<Time>,
}

/// A condition as it is written.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WrittenCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    reason: String,
    message: String,
    observed_generation: i64,
    last_transition_time: Option<Time>,
}

impl From<Vec<WrittenCondition>> for MachineConditions {
    fn from(written: Vec<WrittenCondition>) -> Self {
        let mut read = Self::default();
        for condition in written {
            match (condition.kind.as_str(), condition.status.as_str()) {
                (Machine::DELETING, "True") => {
                    read.deleting = Some(Condition {
                        kind: condition.kind,
                        status: condition.status,
                        reason: condition.reason,
                        message: condition.message,
                        observed_generation: condition.observed_generation,
                    });
                }
                (Machine::NODE_READY, _) => {
                    read.node_ready = Some(NodeReadyCondition {
                        status: condition.status,
                        message: condition.message,
                        last_transition_time: condition.last_transition_time,
                    });
                }
                (Machine::UP_TO_DATE, "False") if marks::are_all(&condition.message) => {
                    "True".clone_into(&mut read.up_to_date);
                }
                (Machine::UP_TO_DATE, _) => read.up_to_date = condition.status,
                (Machine::INFRASTRUCTURE_READY, "False") => read.infrastructure = condition.message,
                (_, _) => {}
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mark_of_the_kubelet_makes_no_machine_outdated() {
        for (kubelet, expected) in [("v1.34.3+k0s", "True"), ("v1.33.5+k0s", "False")] {
            let message = format!("* Node.status.nodeInfo.kubeletVersion {kubelet}, v1.34.3 required");
            let read: MachineConditions = serde_json::from_value(json!([
                { "type": "UpToDate", "status": "False", "reason": "Updating", "message": message },
            ]))
            .unwrap();
            assert_eq!(read.up_to_date, expected, "{kubelet}");
        }
    }

    #[test]
    fn four_are_kept() {
        let time = "2026-11-20T12:00:00Z";
        let read: MachineConditions = serde_json::from_value(json!([
            { "type": "Ready", "status": "False", "message": "x", "lastTransitionTime": time },
            { "type": "NodeHealthy", "status": "True", "lastTransitionTime": time },
            { "type": "NodeReady", "status": "True", "reason": "NodeReady", "lastTransitionTime": time },
            { "type": "UpToDate", "status": "False", "reason": "NotUpToDate", "lastTransitionTime": time },
            { "type": "Deleting", "status": "False", "reason": "NotDeleting", "lastTransitionTime": time },
            { "type": "InfrastructureReady", "status": "False", "message": "no VM" },
        ]))
        .unwrap();
        assert_eq!(
            (read.deleting, &*read.up_to_date, &*read.infrastructure),
            (None, "False", "no VM")
        );
        let node_ready = read.node_ready.unwrap();
        assert_eq!((&*node_ready.status, &*node_ready.message), ("True", ""));
        assert_eq!(node_ready.last_transition_time.unwrap().0, time.parse().unwrap());
        let nothing: MachineConditions = serde_json::from_value(json!([])).unwrap();
        assert_eq!(nothing, MachineConditions::default());
    }
}
