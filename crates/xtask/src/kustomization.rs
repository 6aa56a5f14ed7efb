//! The kustomizations that tie the files of a folder together.

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{Artifact, yaml};

/// A folder: one file for each object, and the kustomization that lists them.
pub(crate) struct Folder {
    path: &'static str,
    kustomization: Value,
    artifacts: Vec<Artifact>,
}

impl Folder {
    /// A folder whose kustomization is more than the list of its files, or is no more than that.
    pub(crate) fn new(path: &'static str, kustomization: Value) -> Self {
        Self {
            path,
            kustomization,
            artifacts: Vec::new(),
        }
    }

    /// With one file more.
    pub(crate) fn with(self, name: &str, object: &impl Serialize) -> Result<Self> {
        self.with_reason(name, "", object)
    }

    /// With one file more, and in it a comment that says why.
    pub(crate) fn with_reason(mut self, name: &str, why: &str, object: &impl Serialize) -> Result<Self> {
        self.artifacts
            .push(yaml::file(&format!("{}/{name}", self.path), why, &[object])?);
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

    /// Its files.
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
    let mut kustomization = plain();
    kustomization["resources"] = json!(["../crd", "../rbac", "../server", "../webhook"]);
    kustomization["components"] = json!(["../certmanager"]);
    // As clusterctl labels what it installs, so that both ways give the same objects.
    kustomization["labels"] = json!([{
        "pairs": { "cluster.x-k8s.io/provider": "runtime-extension-instar" },
        "includeTemplates": true,
    }]);
    // Namespace first, webhook configurations last: until the server answers, they refuse edits.
    kustomization["sortOptions"] = json!({ "order": "legacy" });
    Folder::new("config/default", kustomization).artifacts()
}
