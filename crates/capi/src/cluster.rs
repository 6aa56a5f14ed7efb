//! `Cluster`: what its topology asks for.

use std::collections::BTreeMap;

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use crate::{ClassMetadata, Condition, Reference, VersionCount, WorkerKind, relevant_conditions};

/// The part of a Cluster's spec that Instar reads.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[kube(
    group = "cluster.x-k8s.io",
    version = "v1beta2",
    kind = "Cluster",
    plural = "clusters",
    namespaced,
    schema = "disabled",
    status = "ClusterStatus",
    derive = "PartialEq",
    doc = "A Cluster, as far as Instar reads it."
)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterSpec {
    /// Whether its controllers pause.
    pub paused: bool,
    /// Present on a topology cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology: Option<Topology>,
    /// Its control plane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_plane_ref: Option<Reference>,
}

/// A Cluster's status.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterStatus {
    /// What was reached once, and stays.
    pub initialization: ClusterInitialization,
    /// Those conditions that the controller reads.
    #[serde(deserialize_with = "relevant_conditions")]
    pub conditions: Vec<Condition>,
    /// Its control plane.
    pub control_plane: ClusterControlPlaneStatus,
    /// Its pools.
    pub workers: ClusterWorkersStatus,
}

/// What a Cluster has reached once. Cluster API never takes it back.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterInitialization {
    /// Whether its API server has been seen to answer.
    pub control_plane_initialized: bool,
}

impl ClusterStatus {
    /// Whether Cluster API says that the control plane has not been up yet. It sets the condition with each look at a
    /// Cluster, so one without it was not looked at, and nothing is known of it.
    /// Source: `setControlPlaneInitializedCondition` of cluster-api's core/reconcilers/cluster.
    #[must_use]
    pub fn awaits_control_plane(&self) -> bool {
        let initialized = |condition: &&Condition| condition.kind == "ControlPlaneInitialized";
        let said = self.conditions.iter().find(initialized);
        !self.initialization.control_plane_initialized && said.is_some_and(|condition| condition.status != "True")
    }
}

/// What a Cluster says of its control plane, whatever its kind.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterControlPlaneStatus {
    /// Every version, and how many machines run it.
    pub versions: Vec<VersionCount>,
    /// The versions that it goes through, the next one first. Only a topology Cluster has it.
    pub upgrade_plan: Vec<PlannedVersion>,
}

/// What a Cluster says of its pools.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterWorkersStatus {
    /// The versions that they go through, the next one first. Only a topology Cluster has it.
    pub upgrade_plan: Vec<PlannedVersion>,
}

/// A version of an upgrade plan.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct PlannedVersion {
    /// The version.
    pub version: String,
}

/// What a ClusterClass is to make of the Cluster.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Topology {
    /// The class.
    pub class_ref: ClassRef,
    /// The version as it was written: a full one, or a prefix or a release's name before admission
    /// has resolved it.
    pub version: String,
    /// The control plane.
    pub control_plane: ControlPlaneTopology,
    /// The pools.
    pub workers: WorkersTopology,
}

/// A reference to a ClusterClass.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct ClassRef {
    /// Its name.
    pub name: String,
    /// Its namespace, where it isn't the Cluster's.
    pub namespace: Option<String>,
}

impl ClassRef {
    /// The namespace of the class of a Cluster that is in `own`.
    #[must_use]
    pub fn namespace_or<'a>(&'a self, own: &'a str) -> &'a str {
        self.namespace.as_deref().unwrap_or(own)
    }
}

/// The control plane of a topology.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct ControlPlaneTopology {
    /// Labels and annotations of its machines.
    pub metadata: ClassMetadata,
}

/// The pools of a topology.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkersTopology {
    /// The MachineDeployments.
    pub machine_deployments: Vec<PoolTopology>,
    /// The MachinePools.
    pub machine_pools: Vec<PoolTopology>,
}

/// One pool of a topology.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct PoolTopology {
    /// Its name in the topology.
    pub name: String,
    /// The class among those of the ClusterClass.
    pub class: String,
    /// Labels and annotations of its machines.
    pub metadata: ClassMetadata,
}

/// The kinds of pools that a topology has: the two of [`WorkerKind`] that a ClusterClass can describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PoolKind {
    /// `spec.topology.workers.machineDeployments`.
    MachineDeployment,
    /// `spec.topology.workers.machinePools`.
    MachinePool,
}

impl From<PoolKind> for WorkerKind {
    fn from(kind: PoolKind) -> Self {
        match kind {
            PoolKind::MachineDeployment => Self::MachineDeployment,
            PoolKind::MachinePool => Self::MachinePool,
        }
    }
}

impl WorkersTopology {
    /// All pools, MachineDeployments first, in the order in which they are written.
    pub fn pools(&self) -> impl Iterator<Item = (PoolKind, &PoolTopology)> {
        self.machine_deployments
            .iter()
            .map(|pool| (PoolKind::MachineDeployment, pool))
            .chain(self.machine_pools.iter().map(|pool| (PoolKind::MachinePool, pool)))
    }
}

impl ClassMetadata {
    /// These labels with those of `over` on top: how Cluster API merges a class's and a topology's.
    #[must_use]
    pub fn labels_under(&self, over: &Self) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        labels.extend(over.labels.clone());
        labels
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_control_plane_is_awaited_only_where_cluster_api_says_so() {
        let said = |status: &str| json!([{"type": "ControlPlaneInitialized", "status": status}]);
        for (status, awaited) in [
            (json!({}), false),
            (json!({"conditions": said("False")}), true),
            (
                json!({"conditions": said("Unknown"), "initialization": {"infrastructureProvisioned": true}}),
                true,
            ),
            (json!({"conditions": said("True")}), false),
            (
                json!({"conditions": said("False"), "initialization": {"controlPlaneInitialized": true}}),
                false,
            ),
        ] {
            let read: ClusterStatus = serde_json::from_value(status.clone()).unwrap();
            assert_eq!(read.awaits_control_plane(), awaited, "{status}");
        }
    }
}
