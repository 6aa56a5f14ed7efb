//! All generated files.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result};

use crate::{
    Artifact, certmanager, chart, controller, crd, kubeconfigs, kustomization, monitoring, providers, rbac, reference,
    self_signed, server, vcenters, webhook,
};

/// The folders that have generated files only.
pub const FOLDERS: [&str; 16] = [
    "config/certmanager",
    "config/controller",
    "config/crd",
    "config/default",
    "config/policy",
    "config/providers",
    "config/rbac",
    "config/server",
    "config/vsphere",
    "config/webhook",
    "config/workload",
    "docs/reference",
    "config/self-signed-certificates",
    "config/without-cert-manager",
    "manifests/charts",
    "config/monitoring",
];

/// All files that the code gives.
pub fn artifacts() -> Result<Vec<Artifact>> {
    let mut all = manifests()?;
    let chart = chart::artifacts(all.clone())?;
    all.extend(reference::artifacts()?);
    all.extend(chart);
    Ok(all)
}

/// Those of them that are installed, or tie others together.
pub(crate) fn manifests() -> Result<Vec<Artifact>> {
    let mut all = Vec::new();
    all.extend(crd::artifacts()?);
    all.extend(rbac::artifacts()?);
    all.extend(webhook::artifacts()?);
    all.extend(webhook::policy_artifacts()?);
    all.extend(server::artifacts()?);
    all.extend(controller::artifacts()?);
    all.extend(providers::artifacts()?);
    all.extend(kubeconfigs::artifacts()?);
    all.extend(vcenters::artifacts()?);
    all.extend(certmanager::artifacts()?);
    all.extend(monitoring::artifacts()?);
    all.extend(kustomization::default()?);
    all.extend(self_signed::artifacts()?);
    Ok(all)
}

/// Files in [`FOLDERS`] that are none of the artifacts.
pub fn strangers(root: &Path, artifacts: &[Artifact]) -> Result<Vec<String>> {
    let known: BTreeSet<&str> = artifacts.iter().map(|artifact| artifact.path.as_str()).collect();
    let mut strangers = Vec::new();
    let mut folders: Vec<String> = FOLDERS.map(ToOwned::to_owned).to_vec();
    while let Some(folder) = folders.pop() {
        let dir = root.join(&folder);
        if !dir.exists() {
            continue;
        }
        for entry in fs::read_dir(&dir).with_context(|| folder.clone())? {
            let entry = entry.with_context(|| folder.clone())?;
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.file_type().with_context(|| path.clone())?.is_dir() {
                folders.push(path);
            } else if !known.contains(path.as_str()) {
                strangers.push(path);
            }
        }
    }
    strangers.sort();
    Ok(strangers)
}
