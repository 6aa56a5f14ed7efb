//! The controller's rights to the kinds of each provider.
//!
//! They are bound to its account by themselves and not aggregated into its role: a cluster whose
//! kube-controller-manager doesn't aggregate would then silently have none.

use anyhow::Result;
use instar_controller::{PROVIDERS, Provider};

use crate::{
    Artifact, CONTROLLER, kustomization,
    kustomization::Folder,
    rbac::{Granted, granted},
};

pub(crate) fn artifacts() -> Result<Vec<Artifact>> {
    let mut artifacts = Vec::new();
    for provider in PROVIDERS {
        let folder = Folder::new(&format!("config/providers/{}", provider.name), kustomization::plain());
        let folder = folder.with_objects("role.yaml", "", &grant(provider).objects()?)?;
        artifacts.extend(folder.artifacts()?);
    }
    Ok(artifacts)
}

pub(crate) fn grants() -> impl Iterator<Item = Granted> {
    PROVIDERS.iter().map(grant)
}

fn grant(provider: &Provider) -> Granted {
    let role = format!("{CONTROLLER}-{}", provider.name);
    granted(&role, CONTROLLER, None, provider.rules)
}
