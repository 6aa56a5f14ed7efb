//! The server on a cluster: its Deployment and what stands around it.

mod pod;

use std::collections::BTreeMap;

use anyhow::Result;
use instar_serve::Options;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec},
        core::v1::{Namespace, PodTemplateSpec, Service, ServicePort, ServiceSpec},
        networking::v1::{NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPort, NetworkPolicySpec},
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use serde_json::json;

use crate::{Artifact, NAMESPACE, WEBHOOK, kustomization, kustomization::Folder};

/// The name that kustomize puts an image in place of.
const IMAGE: &str = "instar";

/// The names of the ports, which probes and the Service go by.
const WEBHOOK_PORT: &str = "webhook";
const HEALTH_PORT: &str = "health";

const EGRESS_IS_OPEN: &str = "\
Egress is left open: the server calls the API server and nothing else, but a NetworkPolicy
can't name the API server, whose address is outside the pods' network and differs everywhere.";

pub(crate) fn artifacts() -> Result<Vec<Artifact>> {
    let mut kustomization = kustomization::plain();
    // A placeholder: an overlay names the image of a release here.
    kustomization["images"] = json!([{ "name": IMAGE, "newTag": "dev" }]);
    Folder::new("config/server", kustomization)
        .with("namespace.yaml", &namespace())?
        .with("deployment.yaml", &deployment())?
        .with("service.yaml", &service())?
        .with("disruption-budget.yaml", &disruption_budget())?
        .with_reason("network-policy.yaml", EGRESS_IS_OPEN, &network_policy())?
        .artifacts()
}

fn namespace() -> Namespace {
    let restricted = |mode: &str| (format!("pod-security.kubernetes.io/{mode}"), "restricted".to_owned());
    Namespace {
        metadata: ObjectMeta {
            name: Some(NAMESPACE.to_owned()),
            labels: Some(["enforce", "audit", "warn"].map(restricted).into()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    }
}

/// The server's Deployment.
#[must_use]
pub fn deployment() -> Deployment {
    let options = Options::default();
    Deployment {
        metadata: named(),
        spec: Some(DeploymentSpec {
            // One answers while the other is replaced: with none, guarded edits are refused.
            replicas: Some(2),
            selector: selector(),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels()),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod::spec(&options)),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn service() -> Service {
    Service {
        metadata: named(),
        spec: Some(ServiceSpec {
            selector: Some(labels()),
            ports: Some(vec![ServicePort {
                name: Some(WEBHOOK_PORT.to_owned()),
                port: 443,
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::String(WEBHOOK_PORT.to_owned())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn disruption_budget() -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: named(),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: Some(IntOrString::Int(1)),
            selector: Some(selector()),
            // A pod that never gets ready must not hold up the drain of its node.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}

fn network_policy() -> NetworkPolicy {
    let port = |name: &str| NetworkPolicyPort {
        port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    };
    NetworkPolicy {
        metadata: named(),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector()),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule {
                ports: Some(vec![port(WEBHOOK_PORT), port(HEALTH_PORT)]),
                ..NetworkPolicyIngressRule::default()
            }]),
            ..NetworkPolicySpec::default()
        }),
    }
}

fn named() -> ObjectMeta {
    ObjectMeta {
        namespace: Some(NAMESPACE.to_owned()),
        name: Some(WEBHOOK.to_owned()),
        labels: Some(labels()),
        ..ObjectMeta::default()
    }
}

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".to_owned(), "instar".to_owned()),
        ("app.kubernetes.io/component".to_owned(), "webhook".to_owned()),
    ])
}

fn selector() -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels()),
        ..LabelSelector::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_has_the_time_to_end() {
        let Options { linger, drain, .. } = Options::default();
        let pod = deployment().spec.unwrap().template.spec.unwrap();
        let grace = u64::try_from(pod.termination_grace_period_seconds.unwrap()).unwrap();
        assert!(grace > (linger + drain).as_secs(), "{grace} s");
    }
}
