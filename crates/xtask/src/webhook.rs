//! The webhook configurations.

use anyhow::Result;
use instar_webhooks::configuration::{Service, mutating, validating};
use serde_json::Value;

use crate::{Artifact, NAMESPACE, WEBHOOK, kustomization, kustomization::Folder};

/// Where the API server finds Instar.
const SERVICE: Service<'static> = Service {
    namespace: NAMESPACE,
    name: WEBHOOK,
};

pub(crate) fn artifacts() -> Result<Vec<Artifact>> {
    Folder::new("config/webhook", kustomization::plain())
        .with("mutating.yaml", &mutating(SERVICE))?
        .with("validating.yaml", &validating(SERVICE))?
        .artifacts()
}

/// Both configurations.
pub fn configurations() -> Result<[Value; 2]> {
    Ok([
        serde_json::to_value(mutating(SERVICE))?,
        serde_json::to_value(validating(SERVICE))?,
    ])
}
