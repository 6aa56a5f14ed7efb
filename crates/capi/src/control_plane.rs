//! `KubeadmControlPlane`: which etcd it says to run.

use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The part of a KubeadmControlPlane's spec that Instar reads.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "controlplane.cluster.x-k8s.io",
    version = "v1beta2",
    kind = "KubeadmControlPlane",
    plural = "kubeadmcontrolplanes",
    namespaced,
    schema = "disabled",
    derive = "PartialEq",
    doc = "A KubeadmControlPlane, as far as Instar reads it."
)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeadmControlPlaneSpec {
    /// The Kubernetes version that it should run.
    pub version: String,
    /// What kubeadm is told.
    pub kubeadm_config_spec: KubeadmConfigSpec,
}

/// What kubeadm is told.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeadmConfigSpec {
    /// Of the cluster as a whole.
    pub cluster_configuration: ClusterConfiguration,
}

/// What kubeadm is told of the cluster as a whole.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct ClusterConfiguration {
    /// Its etcd.
    pub etcd: Etcd,
}

/// The etcd: stacked, or external.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct Etcd {
    /// A stacked one.
    pub local: LocalEtcd,
    /// An external one, which no Kubernetes version moves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<Value>,
}

/// A stacked etcd.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalEtcd {
    /// The tag; where it is absent, kubeadm chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_tag: Option<String>,
}
