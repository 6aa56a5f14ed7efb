//! A program of Instar on a cluster: a Deployment of two restricted pods, and who may reach them.

mod pod;

use std::collections::BTreeMap;

use anyhow::Result;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec},
        core::v1::{PodTemplateSpec, Volume, VolumeMount},
        networking::v1::{
            NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
        },
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use serde_json::{Value, json};

use crate::{NAMESPACE, kustomization, kustomization::Folder};

/// The name that kustomize puts an image in place of.
const IMAGE: &str = "instar";

/// The name of the port that probes go by.
pub(crate) const HEALTH_PORT: &str = "health";

/// The label of a namespace whose pods may read the metrics, as kubebuilder's projects have it.
const SCRAPES: (&str, &str) = ("metrics", "enabled");

const REASONS: &str = "\
The health port has the metrics, so it is open to namespaces with the label `metrics: enabled`.
The probes come from the pod's own node, from where traffic is always allowed.
Egress is left open: the program calls the API server, and the controller those of workload clusters
where a policy lets it, and nothing else; but a NetworkPolicy can't name an API server, whose address
is outside the pods' network and differs everywhere.";

/// A program: `instar`, with its component as the subcommand.
pub(crate) struct Workload {
    /// Of the Deployment, and of the `ServiceAccount`.
    pub(crate) name: &'static str,
    /// The subcommand, and the label.
    pub(crate) component: &'static str,
    /// What comes after the subcommand.
    pub(crate) arguments: Vec<String>,
    /// Each with its name; one is [`HEALTH_PORT`].
    pub(crate) ports: Vec<(&'static str, u16)>,
    pub(crate) grace_seconds: i64,
    /// The memory that a node keeps for it.
    pub(crate) memory_request: &'static str,
    /// The memory at which it is killed.
    pub(crate) memory_limit: &'static str,
    pub(crate) volume: Option<(Volume, VolumeMount)>,
}

impl Workload {
    /// One works while the other is replaced: without an admission server guarded edits are
    /// refused, and without a controller upgrades stand still.
    pub(crate) fn deployment(&self) -> Deployment {
        Deployment {
            metadata: self.metadata(),
            spec: Some(DeploymentSpec {
                replicas: Some(2),
                selector: self.selector(),
                template: PodTemplateSpec {
                    metadata: Some(ObjectMeta {
                        labels: Some(self.labels()),
                        ..ObjectMeta::default()
                    }),
                    spec: Some(pod::spec(self)),
                },
                ..DeploymentSpec::default()
            }),
            ..Deployment::default()
        }
    }

    fn network_policy(&self) -> NetworkPolicy {
        let rule = |(name, _): &(&str, u16)| NetworkPolicyIngressRule {
            ports: Some(vec![NetworkPolicyPort {
                port: Some(IntOrString::String((*name).to_owned())),
                protocol: Some("TCP".to_owned()),
                ..NetworkPolicyPort::default()
            }]),
            from: (*name == HEALTH_PORT).then(|| vec![scraper()]),
        };
        NetworkPolicy {
            metadata: self.metadata(),
            spec: Some(NetworkPolicySpec {
                pod_selector: Some(self.selector()),
                policy_types: Some(vec!["Ingress".to_owned()]),
                ingress: Some(self.ports.iter().map(rule).collect()),
                ..NetworkPolicySpec::default()
            }),
        }
    }

    pub(crate) fn metadata(&self) -> ObjectMeta {
        ObjectMeta {
            namespace: Some(NAMESPACE.to_owned()),
            name: Some(self.name.to_owned()),
            labels: Some(self.labels()),
            ..ObjectMeta::default()
        }
    }

    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("app.kubernetes.io/name".to_owned(), "instar".to_owned()),
            ("app.kubernetes.io/component".to_owned(), self.component.to_owned()),
        ])
    }

    pub(crate) fn selector(&self) -> LabelSelector {
        LabelSelector {
            match_labels: Some(self.labels()),
            ..LabelSelector::default()
        }
    }
}

fn scraper() -> NetworkPolicyPeer {
    let (key, value) = SCRAPES;
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_labels: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])),
            ..LabelSelector::default()
        }),
        ..NetworkPolicyPeer::default()
    }
}

impl Folder {
    pub(crate) fn with_network_policy(self, workload: &Workload) -> Result<Self> {
        self.with_reason("network-policy.yaml", REASONS, &workload.network_policy())
    }
}

/// A kustomization with a placeholder: an overlay names the image of a release there.
pub(crate) fn kustomization() -> Value {
    let mut kustomization = kustomization::plain();
    kustomization["images"] = json!([{ "name": IMAGE, "newTag": "dev" }]);
    kustomization
}
