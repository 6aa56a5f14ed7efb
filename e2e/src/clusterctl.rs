//! `clusterctl`, as people run it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, api::PostParams, core::DynamicObject};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    binaries::Binary,
    manifests::{self, Provider},
    mgmt::Mgmt,
};

/// What clusterctl installs from, in files: Cluster API's core, without which it installs nothing, and a runtime
/// extension.
#[derive(Debug)]
pub struct Repository {
    directory: TempDir,
}

impl Repository {
    /// One with Cluster API's core alone, which names a runtime extension.
    pub fn new(mgmt: &Mgmt, provider: &str) -> Result<Self> {
        let repository = Self {
            directory: tempfile::tempdir()?,
        };
        let core = repository.path().join("cluster-api/v1.14.0");
        fs::create_dir_all(&core)?;
        let authority = fs::read_to_string(mgmt.certificates().authority_file())?;
        let objects = manifests::load(mgmt.built().manifests(Provider::Core)?, Provider::Core, &authority)?;
        fs::write(core.join("core-components.yaml"), documents(&objects)?)?;
        let metadata = "apiVersion: clusterctl.cluster.x-k8s.io/v1alpha3\nkind: Metadata\nreleaseSeries:\n- {major: 1, minor: 14, contract: v1beta2}\n";
        fs::write(core.join("metadata.yaml"), metadata)?;
        let path = repository.path().display();
        let configuration = format!(
            "providers:\n\
             - name: cluster-api\n  type: CoreProvider\n  url: file://{path}/cluster-api/v1.14.0/core-components.yaml\n\
             - name: {provider}\n  type: RuntimeExtensionProvider\n  url: file://{path}/runtime-extension-{provider}/latest/runtime-extension-components.yaml\n\
             cert-manager:\n  timeout: 5s\n  externallyProvisioned: \"true\"\n"
        );
        fs::write(repository.configuration(), configuration)?;
        Ok(repository)
    }

    /// Where the folders of providers are.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    fn configuration(&self) -> PathBuf {
        self.path().join("clusterctl.yaml")
    }

    /// Installs the core and one version of the runtime extension, as `NAME:VERSION`.
    pub async fn init(&self, mgmt: &Mgmt, kubeconfig: &Path, extension: &str, namespace: &str) -> Result<()> {
        let core = [
            "--core",
            "cluster-api:v1.14.0",
            "--bootstrap",
            "-",
            "--control-plane",
            "-",
        ];
        let wanted = ["--runtime-extension", extension, "--target-namespace", namespace];
        let arguments = [&["init"][..], &core, &wanted].concat();
        self.run(mgmt, kubeconfig, &arguments).await.map(drop)
    }

    /// What clusterctl prints that installs from here.
    pub async fn run(&self, mgmt: &Mgmt, kubeconfig: &Path, arguments: &[&str]) -> Result<String> {
        let output = Command::new(mgmt.built().program(Binary::Clusterctl)?)
            .args(arguments)
            .arg("--config")
            .arg(self.configuration())
            .env("KUBECONFIG", kubeconfig)
            .env("CLUSTERCTL_DISABLE_VERSIONCHECK", "true")
            .kill_on_drop(true)
            .output()
            .await?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "clusterctl {}: {told}", arguments.join(" "));
        String::from_utf8(output.stdout).context("what clusterctl prints")
    }
}

/// Objects as one file of a repository.
pub fn documents(objects: &[DynamicObject]) -> Result<String> {
    let documents: Vec<String> = objects.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    Ok(documents.join("\n---\n"))
}

/// The kinds of cert-manager, as far as clusterctl tries whether it is there.
pub async fn cert_manager(client: &Client) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for (kind, plural) in [("Issuer", "issuers"), ("Certificate", "certificates")] {
        let definition = serde_json::from_value(json!({
            "metadata": { "name": format!("{plural}.cert-manager.io") },
            "spec": {
                "group": "cert-manager.io", "scope": "Namespaced",
                "names": { "kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List") },
                "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                } } }],
            },
        }))?;
        definitions.create(&PostParams::default(), &definition).await?;
    }
    Ok(())
}

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
