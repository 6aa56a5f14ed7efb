//! What cert-manager does: the serving certificate, and its authority in the webhook configurations.

use anyhow::Result;
use instar_webhooks::configuration::{MUTATING, MUTATING_FIRST, VALIDATING};
use serde_json::{Value, json};

use crate::{Artifact, CERTIFICATE_SECRET, NAMESPACE, WEBHOOK, kustomization::Folder};

const API: &str = "cert-manager.io/v1";

pub(crate) fn artifacts() -> Result<Vec<Artifact>> {
    // A component, so that whoever has certificates from elsewhere leaves it out in one line.
    let component = json!({
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "resources": [],
        "patches": [
            { "path": "inject-ca-mutating-first.yaml" },
            { "path": "inject-ca-mutating.yaml" },
            { "path": "inject-ca-validating.yaml" },
        ],
    });
    Folder::new("config/certmanager", component)
        .with("issuer.yaml", &issuer())?
        .with("certificate.yaml", &certificate())?
        .with_patch(
            "inject-ca-mutating-first.yaml",
            &inject("MutatingWebhookConfiguration", MUTATING_FIRST),
        )?
        .with_patch(
            "inject-ca-mutating.yaml",
            &inject("MutatingWebhookConfiguration", MUTATING),
        )?
        .with_patch(
            "inject-ca-validating.yaml",
            &inject("ValidatingWebhookConfiguration", VALIDATING),
        )?
        .artifacts()
}

fn issuer() -> Value {
    json!({
        "apiVersion": API,
        "kind": "Issuer",
        "metadata": { "namespace": NAMESPACE, "name": WEBHOOK },
        "spec": { "selfSigned": {} },
    })
}

fn certificate() -> Value {
    let service = format!("{WEBHOOK}.{NAMESPACE}.svc");
    json!({
        "apiVersion": API,
        "kind": "Certificate",
        "metadata": { "namespace": NAMESPACE, "name": WEBHOOK },
        "spec": {
            "secretName": CERTIFICATE_SECRET,
            "issuerRef": { "group": "cert-manager.io", "kind": "Issuer", "name": WEBHOOK },
            "dnsNames": [service, format!("{service}.cluster.local")],
            "privateKey": { "algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always" },
            "usages": ["digital signature", "server auth"],
        },
    })
}

fn inject(kind: &str, name: &str) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "annotations": { "cert-manager.io/inject-ca-from": format!("{NAMESPACE}/{WEBHOOK}") },
        },
    })
}
