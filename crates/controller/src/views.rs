//! Cluster API's objects at v1beta2, as far as an upgrade reads them. They are never written back.

use instar_capi::relevant_conditions;
pub(crate) use instar_capi::{
    Condition, Machine, MachineDeployment, MachinePool, MachineSet, MachineSpec, Reference, VersionCount,
};
use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A Cluster's spec.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "cluster.x-k8s.io",
    version = "v1beta2",
    kind = "Cluster",
    plural = "clusters",
    namespaced,
    schema = "disabled",
    status = "ClusterStatus"
)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterSpec {
    /// Whether its controllers pause.
    pub paused: bool,
    /// Present where the topology controller mints and swaps.
    pub topology: Option<Topology>,
    /// Its control plane.
    pub control_plane_ref: Option<Reference>,
}

/// What a class is to make of it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct Topology {
    /// The version.
    pub version: String,
}

/// A Cluster's status.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterStatus {
    /// What is said of it.
    #[serde(deserialize_with = "relevant_conditions")]
    pub conditions: Vec<Condition>,
    /// Its control plane.
    pub control_plane: Planned,
    /// Its workers.
    pub workers: Planned,
}

/// What the topology controller plans.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Planned {
    /// The versions to come.
    pub upgrade_plan: Vec<PlannedVersion>,
}

/// A version to come.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct PlannedVersion {
    /// The version.
    pub version: String,
}

/// A `KubeadmControlPlane`'s spec.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "controlplane.cluster.x-k8s.io",
    version = "v1beta2",
    kind = "KubeadmControlPlane",
    plural = "kubeadmcontrolplanes",
    namespaced,
    schema = "disabled",
    status = "KubeadmControlPlaneStatus"
)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeadmControlPlaneSpec {
    /// The version.
    pub version: String,
    /// How many machines.
    pub replicas: Option<u32>,
    /// What its machines are made of.
    pub machine_template: ControlPlaneMachines,
    /// The configuration of kubeadm.
    pub kubeadm_config_spec: KubeadmConfig,
}

/// What a control plane's machines are made of.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct ControlPlaneMachines {
    /// The wrapper of the contract v1beta2.
    pub spec: ControlPlaneMachineSpec,
}

/// The same, one level below.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct ControlPlaneMachineSpec {
    /// The template of the machines.
    pub infrastructure_ref: Option<Reference>,
}

/// The configuration of kubeadm.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeadmConfig {
    /// Of the cluster as a whole: images, etcd.
    pub cluster_configuration: Value,
}

/// A `KubeadmControlPlane`'s status.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeadmControlPlaneStatus {
    /// The edit that this tells of.
    pub observed_generation: i64,
    /// The lowest version.
    pub version: Option<String>,
    /// Every version, and how many machines run it.
    pub versions: Vec<VersionCount>,
    /// How many machines there are.
    pub replicas: Option<u32>,
    /// How many of them are ready.
    pub ready_replicas: Option<u32>,
    /// How many of them are as the spec says.
    pub up_to_date_replicas: Option<u32>,
    /// What is said of it.
    #[serde(deserialize_with = "relevant_conditions")]
    pub conditions: Vec<Condition>,
}
