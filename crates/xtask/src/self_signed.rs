//! An installation without cert-manager: the controller keeps the certificates of the admission server itself.

use anyhow::Result;
use instar_webhooks::configuration::{MUTATING, MUTATING_FIRST, VALIDATING};
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::json;

use crate::{
    Artifact, CERTIFICATE_SECRET, CONTROLLER, Granted, NAMESPACE,
    grant::policy,
    kustomization::{self, Folder},
};

/// The Secret of the CA, as the controller calls it by default.
const AUTHORITY: &str = "instar-webhook-ca";

/// The name of both roles.
const ROLE: &str = "instar-controller-certificates";

/// What the controller may do beyond its other rights: nothing of it holds in `config/default`.
#[must_use]
pub fn certificate_grants() -> [Granted; 2] {
    let only = |rule: PolicyRule, names: &[&str]| PolicyRule {
        resource_names: Some(names.iter().map(ToString::to_string).collect()),
        ..rule
    };
    let webhooks = |plural: &str, names: &[&str]| {
        let rule = policy("admissionregistration.k8s.io", plural, &["get", "patch"]);
        only(rule, names)
    };
    let of = |namespace, rules| Granted {
        role: ROLE.to_owned(),
        account: CONTROLLER,
        namespace,
        rules,
    };
    [
        of(
            None,
            vec![
                webhooks("mutatingwebhookconfigurations", &[MUTATING_FIRST, MUTATING]),
                webhooks("validatingwebhookconfigurations", &[VALIDATING]),
            ],
        ),
        of(
            Some(NAMESPACE),
            vec![
                // The name of what is created is not known to RBAC.
                policy("", "secrets", &["create"]),
                only(
                    policy("", "secrets", &["get", "patch"]),
                    &[CERTIFICATE_SECRET, AUTHORITY],
                ),
                policy("discovery.k8s.io", "endpointslices", &["list"]),
            ],
        ),
    ]
}

pub(crate) fn artifacts() -> Result<Vec<Artifact>> {
    let switch = json!([{
        "op": "add",
        "path": "/spec/template/spec/containers/0/args/-",
        "value": "--webhook-certificates=self-signed",
    }]);
    let component = json!({
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "resources": [],
        "patches": [{
            "target": { "kind": "Deployment", "name": CONTROLLER },
            "patch": switch.to_string(),
        }],
    });
    let mut folder = Folder::new("config/self-signed-certificates", component);
    for grant in certificate_grants() {
        let scope = if grant.namespace.is_some() {
            "secrets"
        } else {
            "webhooks"
        };
        let [role, binding] = grant.objects()?;
        folder = folder
            .with(&format!("{scope}-role.yaml"), &role)?
            .with(&format!("{scope}-role-binding.yaml"), &binding)?;
    }
    let mut artifacts = folder.artifacts()?;
    artifacts.extend(kustomization::installation(
        "config/without-cert-manager",
        "../self-signed-certificates",
    )?);
    Ok(artifacts)
}
