//! Machines and what makes them: MachineDeployments, MachineSets, MachinePools, Machines.

mod conditions;
mod marks;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use serde::{Deserialize, Deserializer, Serialize};

use crate::ClassMetadata;

pub use conditions::{MachineConditions, NodeReadyCondition};

/// A condition.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Machine-readable reason.
    pub reason: String,
    /// Human-readable message.
    pub message: String,
    /// The generation that it describes.
    pub observed_generation: i64,
}

impl Condition {
    /// Of a control plane and of a pool: all of its machines are ready. The message names those that aren't.
    pub const MACHINES_READY: &str = "MachinesReady";

    /// Of a control plane and of a MachineDeployment: machines that aren't as its spec says are replaced.
    pub const ROLLING_OUT: &str = "RollingOut";

    /// Of a control plane, a MachineDeployment and a MachineSet: machines are missing. The message says what blocks them.
    pub const SCALING_UP: &str = "ScalingUp";

    /// Of a topology Cluster: whether all of it is as its topology says, and what Cluster API waits for.
    pub const TOPOLOGY_RECONCILED: &str = "TopologyReconciled";
}

/// The conditions that are read; there are many, and all others are dropped.
const RELEVANT: [&str; 14] = [
    "Available",
    "ControlPlaneAvailable",
    "ControlPlaneComponentsHealthy",
    "ControlPlaneInitialized",
    "EtcdClusterHealthy",
    "InfrastructureReady",
    Condition::MACHINES_READY,
    "Paused",
    "RemoteConnectionProbe",
    Condition::ROLLING_OUT,
    "ScalingDown",
    Condition::SCALING_UP,
    Condition::TOPOLOGY_RECONCILED,
    "WorkersAvailable",
];

/// Reads conditions and drops those that nothing reads, for `deserialize_with`. Where the only reason why machines would be
/// replaced is the mark of a distribution in their kubelets' version, nothing is rolling out, whatever `RollingOut` says:
/// Cluster API compares texts there (<https://github.com/kubernetes-sigs/cluster-api/issues/14086>).
///
/// # Errors
/// Where they are no conditions.
pub fn relevant_conditions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Condition>, D::Error> {
    let mut conditions: Vec<Condition> = Vec::deserialize(deserializer)?;
    conditions.retain(|condition| RELEVANT.contains(&condition.kind.as_str()));
    for condition in &mut conditions {
        if condition.kind == Condition::ROLLING_OUT && condition.status == "True" && marks::are_all(&condition.message)
        {
            "False".clone_into(&mut condition.status);
        }
    }
    Ok(conditions)
}

/// A reference within a namespace: of the contract v1beta2, or as v1beta1 has it, with an `apiVersion`.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(rename_all = "camelCase", from = "WrittenReference")]
pub struct Reference {
    /// The API group.
    pub api_group: String,
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WrittenReference {
    api_group: String,
    api_version: String,
    kind: String,
    name: String,
}

impl From<WrittenReference> for Reference {
    fn from(written: WrittenReference) -> Self {
        let api_group = match written.api_version.split_once('/') {
            Some((group, _)) if written.api_group.is_empty() => group.to_owned(),
            Some(_) | None => written.api_group,
        };
        Self {
            api_group,
            kind: written.kind,
            name: written.name,
        }
    }
}

/// How many machines run a version.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct VersionCount {
    /// The version.
    pub version: String,
    /// How many.
    pub replicas: Option<u32>,
}

/// A `MachineDeployment`'s spec.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[kube(
    group = "cluster.x-k8s.io",
    version = "v1beta2",
    kind = "MachineDeployment",
    plural = "machinedeployments",
    namespaced,
    schema = "disabled",
    status = "MachineDeploymentStatus"
)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineDeploymentSpec {
    /// The Cluster.
    pub cluster_name: String,
    /// Whether it pauses.
    pub paused: bool,
    /// How many machines there should be; the API server sets one where a user doesn't.
    pub replicas: Option<u32>,
    /// How machines are replaced.
    pub rollout: MachineRollout,
    /// The machines.
    pub template: MachineTemplate,
}

/// How machines are replaced.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct MachineRollout {
    /// The strategy.
    pub strategy: RolloutStrategy,
    /// The MachineSets from before this time are replaced, once it has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Time>,
}

/// The strategy.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct RolloutStrategy {
    /// `RollingUpdate` or `OnDelete`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A `MachineDeployment`'s status.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineDeploymentStatus {
    /// The generation that this describes.
    pub observed_generation: i64,
    /// Every version, and how many machines run it.
    pub versions: Vec<VersionCount>,
    /// What is said of it.
    #[serde(deserialize_with = "relevant_conditions")]
    pub conditions: Vec<Condition>,
}

/// A `MachineSet`'s spec.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[kube(
    group = "cluster.x-k8s.io",
    version = "v1beta2",
    kind = "MachineSet",
    plural = "machinesets",
    namespaced,
    schema = "disabled",
    status = "MachineSetStatus"
)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineSetSpec {
    /// The Cluster.
    pub cluster_name: String,
    /// How many machines.
    pub replicas: Option<u32>,
    /// The machines.
    pub template: MachineTemplate,
}

/// A `MachineSet`'s status.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct MachineSetStatus {
    /// Every version, and how many machines run it.
    pub versions: Vec<VersionCount>,
    /// What is said of it.
    #[serde(deserialize_with = "relevant_conditions")]
    pub conditions: Vec<Condition>,
}

impl MachineSetStatus {
    /// Why no machine of it is made, in Cluster API's words; absent where they are made, or none is missing.
    #[must_use]
    pub fn blocked(&self) -> Option<&str> {
        let mut conditions = self.conditions.iter();
        let condition =
            conditions.find(|condition| condition.kind == Condition::SCALING_UP && condition.status == "True")?;
        condition
            .message
            .contains(" is blocked because")
            .then_some(&*condition.message)
    }
}

/// A `MachinePool`'s spec.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[kube(
    group = "cluster.x-k8s.io",
    version = "v1beta2",
    kind = "MachinePool",
    plural = "machinepools",
    namespaced,
    schema = "disabled",
    status = "MachinePoolStatus"
)]
#[serde(rename_all = "camelCase", default)]
pub struct MachinePoolSpec {
    /// The Cluster.
    pub cluster_name: String,
    /// How many machines.
    pub replicas: Option<u32>,
    /// The machines.
    pub template: MachineTemplate,
}

/// A `MachinePool`'s status.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct MachinePoolStatus {
    /// The generation that this describes.
    pub observed_generation: i64,
    /// How many machines there are.
    pub replicas: Option<u32>,
    /// How many are ready.
    pub ready_replicas: Option<u32>,
    /// How many are as the spec says.
    pub up_to_date_replicas: Option<u32>,
    /// What is said of it.
    #[serde(deserialize_with = "relevant_conditions")]
    pub conditions: Vec<Condition>,
    /// Every version, and how many nodes run it.
    pub versions: Vec<VersionCount>,
}

/// What the machines of a set are made of.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct MachineTemplate {
    /// Their labels.
    pub metadata: ClassMetadata,
    /// Their spec.
    pub spec: MachineSpec,
}

/// A `Machine`'s spec.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[kube(
    group = "cluster.x-k8s.io",
    version = "v1beta2",
    kind = "Machine",
    plural = "machines",
    namespaced,
    schema = "disabled",
    status = "MachineStatus"
)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineSpec {
    /// The Cluster.
    pub cluster_name: String,
    /// The version.
    pub version: String,
    /// The template, or in a Machine the infrastructure.
    pub infrastructure_ref: Reference,
    /// How it is bootstrapped.
    pub bootstrap: Bootstrap,
    /// How it is deleted.
    #[serde(skip_serializing_if = "MachineDeletion::is_default")]
    pub deletion: MachineDeletion,
}

/// How a machine is deleted.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineDeletion {
    /// How long the drain of its node may take; 0 and absent: as long as it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_drain_timeout_seconds: Option<i64>,
}

impl MachineDeletion {
    pub(crate) const fn is_default(&self) -> bool {
        self.node_drain_timeout_seconds.is_none()
    }
}

/// How a machine is bootstrapped.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Bootstrap {
    /// The template of the configuration.
    pub config_ref: Option<Reference>,
}

/// A `Machine`'s status.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineStatus {
    /// What its controller says.
    pub phase: String,
    /// Its node.
    pub node_ref: Option<NodeReference>,
    /// What the node says of itself.
    pub node_info: NodeInfo,
    /// What is said of its deletion, its infrastructure and its node.
    pub conditions: MachineConditions,
}

impl Machine {
    /// The condition that says how far its deletion has come.
    pub const DELETING: &str = "Deleting";

    /// The condition that says whether its node is ready.
    pub const NODE_READY: &str = "NodeReady";

    /// Whether its infrastructure is ready, with its provider's words if it isn't.
    pub const INFRASTRUCTURE_READY: &str = "InfrastructureReady";

    /// Whether it is what its owner's spec says; the owner's controller writes it.
    pub const UP_TO_DATE: &str = "UpToDate";
}

impl MachineStatus {
    /// What its deletion waits for, in Cluster API's words. That it has begun or is done is left out: nothing waits
    /// then.
    #[must_use]
    pub fn deletion_waits_for(&self) -> Option<&str> {
        let deleting = self.conditions.deleting.as_ref()?;
        let waits = !["Deleting", "DeletionCompleted"].contains(&&*deleting.reason) && !deleting.message.is_empty();
        waits.then_some(&deleting.message)
    }
}

/// A node, by its name.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct NodeReference {
    /// The name.
    pub name: String,
}

/// What a node says of itself.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeInfo {
    /// The kubelet's version.
    pub kubelet_version: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_machine_it_is_read_what_its_deletion_waits_for() {
        let status = |kind: &str, status: &str, reason: &str| {
            let condition = json!({"type": kind, "status": status, "reason": reason, "message": "Waiting"});
            serde_json::from_value::<MachineStatus>(json!({"conditions": [condition]})).unwrap()
        };
        for (kind, holds, reason, waits_for) in [
            ("Deleting", "True", "HealthStatusPreDrainHook", Some("Waiting")),
            ("Deleting", "True", "Deleting", None),
            ("Deleting", "True", "DeletionCompleted", None),
            ("Deleting", "False", "NotDeleting", None),
            ("Ready", "True", "Ready", None),
        ] {
            let read = status(kind, holds, reason);
            assert_eq!(read.deletion_waits_for(), waits_for, "{kind} {reason}");
            assert_eq!(
                read.conditions.deleting.is_some(),
                kind == "Deleting" && holds == "True"
            );
        }
    }

    #[test]
    fn conditions_that_nothing_reads_are_dropped() {
        let status = json!({"conditions": [
            {"type": "CertificatesAvailable", "status": "True", "message": "a \"quoted\" one", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "RollingOut", "status": "False", "reason": "NotRollingOut", "message": "an \"ä\"", "observedGeneration": 3},
        ]});
        let kept = [Condition {
            kind: "RollingOut".to_owned(),
            status: "False".to_owned(),
            reason: "NotRollingOut".to_owned(),
            message: "an \"ä\"".to_owned(),
            observed_generation: 3,
        }];
        let of_text: MachineDeploymentStatus = serde_json::from_str(&status.to_string()).unwrap();
        assert_eq!(of_text.conditions, kept);
        let of_value: MachineDeploymentStatus = serde_json::from_value(status).unwrap();
        assert_eq!(of_value.conditions, kept);
    }
}
