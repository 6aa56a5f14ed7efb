//! What cert-manager does: the serving certificate, and its authority in the webhook configurations.

use anyhow::Result;
use instar_webhooks::configuration::{MUTATING, MUTATING_FIRST, VALIDATING};
use serde_json::{Value, json};

use crate::{Artifact, CERTIFICATE_SECRET, NAMESPACE, WEBHOOK, kustomization::Folder};

const API: &str = "cert-manager.io/v1";

/// The certificate authority of the serving certificate, and its Secret.
const AUTHORITY: &str = "instar-webhook-ca";
const TEN_YEARS: &str = "87600h";

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
        .with("authority.yaml", &authority_issuer())?
        .with("authority-certificate.yaml", &authority_certificate())?
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

/// Issues the authority's own certificate, and nothing else.
fn authority_issuer() -> Value {
    json!({
        "apiVersion": API,
        "kind": "Issuer",
        "metadata": { "namespace": NAMESPACE, "name": AUTHORITY },
        "spec": { "selfSigned": {} },
    })
}

/// The authority: it outlives the certificates that it signs. If each of these was its own, the API server would know
/// the one before for a moment after each renewal, and refuse to connect.
fn authority_certificate() -> Value {
    json!({
        "apiVersion": API,
        "kind": "Certificate",
        "metadata": { "namespace": NAMESPACE, "name": AUTHORITY },
        "spec": {
            "secretName": AUTHORITY,
            "isCA": true,
            "commonName": AUTHORITY,
            "issuerRef": { "group": "cert-manager.io", "kind": "Issuer", "name": AUTHORITY },
            "duration": TEN_YEARS,
            // With a new key all certificates that it signed would be foreign at once.
            "privateKey": { "algorithm": "ECDSA", "size": 256, "rotationPolicy": "Never" },
            "usages": ["digital signature", "cert sign"],
        },
    })
}

fn issuer() -> Value {
    json!({
        "apiVersion": API,
        "kind": "Issuer",
        "metadata": { "namespace": NAMESPACE, "name": WEBHOOK },
        "spec": { "ca": { "secretName": AUTHORITY } },
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
