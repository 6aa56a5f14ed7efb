//! Control planes: what they run, what they are to run, what their machines are made of.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};

use crate::{
    ClassMetadata, Condition, MachineDeletion, Reference, VersionCount,
    component_settings::{Component, ComponentSetting, JoinConfiguration, settings},
    labels::{SKIP_CORE_DNS, SKIP_KUBE_PROXY},
    relevant_conditions,
};

/// The part of a control plane's spec that Instar reads: a KubeadmControlPlane's, and of another
/// provider's what is in the contract.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[kube(
    group = "controlplane.cluster.x-k8s.io",
    version = "v1beta2",
    kind = "KubeadmControlPlane",
    plural = "kubeadmcontrolplanes",
    namespaced,
    schema = "disabled",
    status = "ControlPlaneStatus",
    derive = "PartialEq",
    doc = "A KubeadmControlPlane, as far as Instar reads it."
)]
#[serde(rename_all = "camelCase", default)]
pub struct ControlPlaneSpec {
    /// The Kubernetes version that it should run.
    pub version: String,
    /// How many machines it should have; where it is absent, Cluster API means one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// What its machines are made of.
    pub machine_template: ControlPlaneMachines,
    /// The configuration of kubeadm.
    pub kubeadm_config_spec: KubeadmConfigSpec,
    /// When its machines are replaced.
    #[serde(skip_serializing_if = "ControlPlaneRollout::is_default")]
    pub rollout: ControlPlaneRollout,
}

/// When a control plane's machines are replaced though nothing of its spec has changed.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct ControlPlaneRollout {
    /// Those from before this time are, once it has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Time>,
}

impl ControlPlaneRollout {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What a control plane's machines are made of.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct ControlPlaneMachines {
    /// Their labels.
    pub metadata: ClassMetadata,
    /// Where the contract v1beta2 has the template.
    pub spec: ControlPlaneMachineSpec,
    /// Where the contract v1beta1 has it.
    pub infrastructure_ref: Option<Reference>,
}

/// The wrapper of the contract v1beta2.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct ControlPlaneMachineSpec {
    /// The template of the machines.
    pub infrastructure_ref: Option<Reference>,
    /// How they are deleted.
    #[serde(skip_serializing_if = "MachineDeletion::is_default")]
    pub deletion: MachineDeletion,
}

impl ControlPlaneMachines {
    /// The template of the machines, where the control plane has any.
    #[must_use]
    pub fn template(&self) -> Option<&Reference> {
        self.spec
            .infrastructure_ref
            .as_ref()
            .or(self.infrastructure_ref.as_ref())
    }
}

/// The part of a control plane's status that Instar reads.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct ControlPlaneStatus {
    /// The generation that it describes.
    pub observed_generation: i64,
    /// The lowest version of its machines.
    pub version: Option<String>,
    /// Every version, and how many machines run it.
    pub versions: Vec<VersionCount>,
    /// How many machines there are.
    pub replicas: Option<u32>,
    /// How many of them are ready.
    pub ready_replicas: Option<u32>,
    /// How many of them are as the spec says.
    pub up_to_date_replicas: Option<u32>,
    /// Those conditions that the controller reads.
    #[serde(deserialize_with = "relevant_conditions")]
    pub conditions: Vec<Condition>,
}

/// What kubeadm installs beside the control plane, and a KubeadmControlPlane updates with it.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KubeadmAddon {
    /// The DaemonSet kube-proxy.
    KubeProxy,
    /// The Deployment coredns.
    CoreDns,
}

impl KubeadmAddon {
    /// Both.
    pub const ALL: [Self; 2] = [Self::KubeProxy, Self::CoreDns];

    /// The annotation of a KubeadmControlPlane that keeps it from updating it.
    #[must_use]
    pub const fn skip_annotation(self) -> &'static str {
        match self {
            Self::KubeProxy => SKIP_KUBE_PROXY,
            Self::CoreDns => SKIP_CORE_DNS,
        }
    }
}

/// How far a control plane's machines are what its spec says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rollout {
    /// All of them are.
    Done,
    /// Some are not.
    UnderWay,
    /// It has not looked at its spec since that was edited, or says nothing.
    Unobserved,
}

impl KubeadmControlPlane {
    /// What the status says of it. The condition comes first: a KubeadmControlPlane writes the generation of its status
    /// only after a reconcile without an error, and an update of CoreDNS may fail for ever.
    /// Source: `setRollingOutCondition` of cluster-api's controlplane/kubeadm/controllers/kubeadmcontrolplane.
    #[must_use]
    pub fn rollout(&self) -> Rollout {
        let (Some(status), Some(generation)) = (&self.status, self.metadata.generation) else {
            return Rollout::Unobserved;
        };
        let mut conditions = status.conditions.iter();
        let rolling_out = conditions.find(|condition| condition.kind == Condition::ROLLING_OUT);
        if let Some(condition) = rolling_out.filter(|condition| condition.observed_generation >= generation) {
            return match condition.status.as_str() {
                "False" => Rollout::Done,
                "True" => Rollout::UnderWay,
                _ => Rollout::Unobserved,
            };
        }
        if status.observed_generation < generation {
            return Rollout::Unobserved;
        }
        match (status.replicas, status.up_to_date_replicas) {
            (Some(replicas), Some(up_to_date)) if up_to_date < replicas => Rollout::UnderWay,
            (Some(_), Some(_)) => Rollout::Done,
            (None, _) | (_, None) => Rollout::Unobserved,
        }
    }
}

/// The configuration of kubeadm.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", from = "WholeConfigSpec")]
pub struct KubeadmConfigSpec {
    /// Of the cluster as a whole.
    pub cluster_configuration: ClusterConfiguration,
    /// What it sets on the components' command lines, wherever it does, and which of kubeadm's gates.
    #[serde(skip_serializing)]
    pub settings: Vec<ComponentSetting>,
}

/// All that is read of the configuration of kubeadm, in its own form.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WholeConfigSpec {
    cluster_configuration: WholeClusterConfiguration,
    join_configuration: JoinConfiguration,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WholeClusterConfiguration {
    etcd: Etcd,
    dns: Dns,
    api_server: Component,
    controller_manager: Component,
    scheduler: Component,
    feature_gates: BTreeMap<String, bool>,
}

impl From<WholeConfigSpec> for KubeadmConfigSpec {
    fn from(spec: WholeConfigSpec) -> Self {
        let WholeClusterConfiguration {
            etcd,
            dns,
            api_server,
            controller_manager,
            scheduler,
            feature_gates,
        } = spec.cluster_configuration;
        let components = [api_server, controller_manager, scheduler];
        Self {
            cluster_configuration: ClusterConfiguration { etcd, dns },
            settings: settings(components, spec.join_configuration, feature_gates),
        }
    }
}

/// The part of kubeadm's configuration that all machines of the control plane share.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct ClusterConfiguration {
    /// Its etcd.
    pub etcd: Etcd,
    /// Its CoreDNS.
    pub dns: Dns,
}

/// The etcd: stacked, or external.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct Etcd {
    /// A stacked one.
    pub local: LocalEtcd,
    /// An external one, which no Kubernetes version moves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalEtcd>,
}

/// That there is an external etcd; how it is reached is read by nothing.
#[derive(Serialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExternalEtcd {}

impl<'de> Deserialize<'de> for ExternalEtcd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self {})
    }
}

/// A stacked etcd.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", from = "WrittenLocalEtcd")]
pub struct LocalEtcd {
    /// The tag; where it is absent, kubeadm chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_tag: Option<String>,
    /// The repository; where it is absent, kubeadm chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_repository: Option<String>,
    /// Whether it says anything else, such as `dataDir`: an empty one is refused by the definition.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub has_more: bool,
}

/// As an object has it, or as [`LocalEtcd`] writes it.
#[expect(clippy::zero_sized_map_values, reason = "serde flattens into maps alone")]
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WrittenLocalEtcd {
    image_tag: Option<String>,
    image_repository: Option<String>,
    has_more: bool,
    #[serde(flatten)]
    more: BTreeMap<String, IgnoredAny>,
}

impl From<WrittenLocalEtcd> for LocalEtcd {
    fn from(written: WrittenLocalEtcd) -> Self {
        Self {
            image_tag: written.image_tag,
            image_repository: written.image_repository,
            has_more: written.has_more || !written.more.is_empty(),
        }
    }
}

/// CoreDNS.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Dns {
    /// The tag; where it is absent, kubeadm chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_tag: Option<String>,
    /// The repository; where it is absent, kubeadm chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_repository: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_stacked_etcd_that_says_more_than_its_image_is_known() {
        for (written, has_more) in [
            (json!({"imageTag": "3.6.5-0", "imageRepository": "r"}), false),
            (json!({"imageTag": "3.6.5-0", "dataDir": "/var/lib/etcd"}), true),
            (json!({"extraArgs": [{"name": "a", "value": "b"}]}), true),
        ] {
            let etcd: LocalEtcd = serde_json::from_value(written).unwrap();
            assert_eq!(etcd.has_more, has_more, "{etcd:?}");
            let again: LocalEtcd = serde_json::from_value(serde_json::to_value(&etcd).unwrap()).unwrap();
            assert_eq!(again, etcd);
        }
    }

    #[test]
    fn a_rollout_is_what_the_status_says_of_this_generation() {
        let counts = |generation: i64, up_to_date: u32| json!({"observedGeneration": generation, "replicas": 3, "upToDateReplicas": up_to_date});
        let rolling_out = |status: &str, generation: i64, mut rest: Value| {
            rest["conditions"] = json!([
                {"type": "Available", "status": "True", "observedGeneration": 2},
                {"type": "RollingOut", "status": status, "observedGeneration": generation},
            ]);
            rest
        };
        // The counts know no marks either.
        let why = |reason: &str| {
            let mut status = rolling_out("True", 2, counts(2, 0));
            status["conditions"][1]["message"] = format!("Rolling out 3 not up-to-date replicas\n{reason}").into();
            status
        };
        for (status, expected) in [
            (Value::Null, Rollout::Unobserved),
            (json!({}), Rollout::Unobserved),
            (counts(1, 3), Rollout::Unobserved),
            (counts(2, 2), Rollout::UnderWay),
            (counts(2, 3), Rollout::Done),
            // The generation of the status stays behind while something else fails.
            (rolling_out("False", 2, counts(1, 3)), Rollout::Done),
            (rolling_out("True", 2, counts(1, 3)), Rollout::UnderWay),
            (rolling_out("Unknown", 2, counts(2, 3)), Rollout::Unobserved),
            // And an old condition says nothing.
            (rolling_out("False", 1, counts(1, 3)), Rollout::Unobserved),
            (rolling_out("False", 1, counts(2, 2)), Rollout::UnderWay),
            (
                why("* Node.status.nodeInfo.kubeletVersion v1.34.3+k0s, v1.34.3 required"),
                Rollout::Done,
            ),
            (why("* Version v1.33.5, v1.34.3 required"), Rollout::UnderWay),
        ] {
            let control_plane: KubeadmControlPlane = serde_json::from_value(json!({
                "apiVersion": "controlplane.cluster.x-k8s.io/v1beta2", "kind": "KubeadmControlPlane",
                "metadata": {"name": "c", "generation": 2}, "spec": {}, "status": status,
            }))
            .unwrap();
            assert_eq!(control_plane.rollout(), expected, "{status}");
        }
    }
}
