//! The kustomizations that tie the files of a folder together.

use anyhow::Result;
use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{Artifact, NAMESPACE, yaml};

/// A folder: one file for each object, and the kustomization that lists them.
pub(crate) struct Folder {
    path: String,
    kustomization: Value,
    artifacts: Vec<Artifact>,
}

impl Folder {
    /// A folder whose kustomization is more than the list of its files, or is no more than that.
    pub(crate) fn new(path: &str, kustomization: Value) -> Self {
        Self {
            path: path.to_owned(),
            kustomization,
            artifacts: Vec::new(),
        }
    }

    pub(crate) fn with(self, name: &str, object: &impl Serialize) -> Result<Self> {
        self.with_reason(name, "", object)
    }

    /// With one file more, and in it a comment that says why.
    pub(crate) fn with_reason(self, name: &str, why: &str, object: &impl Serialize) -> Result<Self> {
        self.with_objects(name, why, &[object])
    }

    /// With one file more that holds several objects, as they belong together.
    pub(crate) fn with_objects(mut self, name: &str, why: &str, objects: &[impl Serialize]) -> Result<Self> {
        self.artifacts
            .push(yaml::file(&format!("{}/{name}", self.path), why, objects)?);
        if let Some(resources) = self.kustomization["resources"].as_array_mut() {
            resources.push(json!(name));
        }
        Ok(self)
    }

    /// With a file that the kustomization names elsewhere than among its resources.
    pub(crate) fn with_patch(mut self, name: &str, object: &impl Serialize) -> Result<Self> {
        self.artifacts
            .push(yaml::file(&format!("{}/{name}", self.path), "", &[object])?);
        Ok(self)
    }

    pub(crate) fn artifacts(self) -> Result<Vec<Artifact>> {
        let mut artifacts = self.artifacts;
        artifacts.push(yaml::file(
            &format!("{}/kustomization.yaml", self.path),
            "",
            &[self.kustomization],
        )?);
        Ok(artifacts)
    }
}

/// A kustomization with no files yet.
pub(crate) fn plain() -> Value {
    json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [],
    })
}

/// What people install.
pub(crate) fn default() -> Result<Vec<Artifact>> {
    installation("config/default", "../certmanager")
}

/// An installation, with the component that keeps its certificates.
pub(crate) fn installation(folder: &str, certificates: &str) -> Result<Vec<Artifact>> {
    let mut kustomization = plain();
    kustomization["resources"] = json!(["../crd", "../rbac", "../server", "../controller", "../webhook"]);
    kustomization["components"] = json!([certificates]);
    // As clusterctl labels what it installs, so that both ways give the same objects.
    kustomization["labels"] = json!([{
        "pairs": { "cluster.x-k8s.io/provider": "runtime-extension-instar" },
        "includeTemplates": true,
    }]);
    // Namespace first, webhook configurations last: until the server answers, they refuse edits.
    kustomization["sortOptions"] = json!({ "order": "legacy" });
    Folder::new(folder, kustomization)
        .with("namespace.yaml", &namespace())?
        .artifacts()
}

/// With the label that clusterctl gives, its Pods too.
pub(crate) fn labelled(object: &mut Value, name: &str) {
    label(object, "/metadata", name);
    if object["kind"] == "Deployment" {
        label(object, "/spec/template/metadata", name);
    }
}

fn label(object: &mut Value, metadata: &str, label: &str) {
    if let Some(metadata) = object.pointer_mut(metadata).and_then(Value::as_object_mut) {
        let labels = metadata.entry("labels").or_insert_with(|| Value::Object(Map::new()));
        labels["cluster.x-k8s.io/provider"] = json!(label);
    }
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
