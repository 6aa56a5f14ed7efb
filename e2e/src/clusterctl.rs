//! `clusterctl`, as people run it.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, ensure};
use kube::core::DynamicObject;
use tokio::process::Command;

use crate::{binaries::Binary, mgmt::Mgmt};

/// Where a namespace is moved from or to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveTarget {
    /// Writes its objects into files. It deletes none of them.
    ToDirectory,
    /// Creates the objects of the files that aren't there.
    FromDirectory,
    /// Creates its objects on the cluster of a kubeconfig, and deletes them here.
    ToCluster,
}

/// `clusterctl move` of a namespace.
pub async fn move_namespace(mgmt: &Mgmt, namespace: &str, target: MoveTarget, path: &Path) -> Result<()> {
    let flag = match target {
        MoveTarget::ToDirectory => "--to-directory",
        MoveTarget::FromDirectory => "--from-directory",
        MoveTarget::ToCluster => "--to-kubeconfig",
    };
    let output = Command::new(mgmt.built().program(Binary::Clusterctl)?)
        .args(["move", "--namespace", namespace, flag])
        .arg(path)
        .env("KUBECONFIG", mgmt.run().kubeconfig())
        .env("CLUSTERCTL_DISABLE_VERSIONCHECK", "true")
        .kill_on_drop(true)
        .output()
        .await?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "clusterctl move {flag}: {told}");
    Ok(())
}

/// What `clusterctl generate yaml` makes of a template and the variables in it.
pub async fn generate(mgmt: &Mgmt, template: &Path, variables: &BTreeMap<&str, String>) -> Result<String> {
    let output = Command::new(mgmt.built().program(Binary::Clusterctl)?)
        .args(["generate", "yaml", "--from"])
        .arg(template)
        .envs(variables)
        .env("CLUSTERCTL_DISABLE_VERSIONCHECK", "true")
        .kill_on_drop(true)
        .output()
        .await?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "clusterctl generate yaml: {told}");
    Ok(String::from_utf8(output.stdout)?)
}

/// The objects that it wrote into a directory, one into each file.
pub fn moved(directory: &Path) -> Result<Vec<DynamicObject>> {
    let mut objects = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let text = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let object = serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))?;
        objects.push(object);
    }
    Ok(objects)
}
