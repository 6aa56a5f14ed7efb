//! The CRDs.

use anyhow::Result;
use instar_api::Definition;
use serde_json::Value;

use crate::{Artifact, kustomization, kustomization::Folder};

pub(crate) fn artifacts() -> Result<Vec<Artifact>> {
    let mut folder = Folder::new("config/crd", kustomization::plain());
    for crd in crds() {
        let plural = crd["spec"]["names"]["plural"].as_str().unwrap_or_default();
        folder = folder.with(&format!("bases/{}_{plural}.yaml", instar_api::GROUP), &crd)?;
    }
    folder.artifacts()
}

/// All of them.
#[must_use]
pub fn crds() -> Vec<Value> {
    Definition::ALL.map(Definition::object).to_vec()
}
