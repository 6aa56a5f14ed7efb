//! Manifests: rendered from kustomize, and turned into what plain processes need.
//!
//! A process has no Service and no cert-manager. So a webhook that names a Service is
//! pointed at the process's port on loopback, with our certificate authority.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use kube::{ResourceExt, core::DynamicObject};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::process::Command;

use crate::{
    binaries::Binary,
    cache::{Cache, short_hex},
    go,
    infrastructure::Infrastructure,
    ports,
    progress::{say, spoken},
    versions::GoModule,
};

/// Stands for the authority's certificate in cached manifests: each cluster has its own.
const CA_PLACEHOLDER: &str = "@CA_BUNDLE@";

/// To be raised with a change of [`transform`], which the cache's key cannot see.
const TRANSFORM_VERSION: &str = "1";

/// A provider whose manifests come from a Go module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Provider {
    /// Cluster API's core.
    Core,
    /// The kubeadm bootstrap provider.
    Bootstrap,
    /// The kubeadm control plane provider.
    ControlPlane,
    /// The infrastructure provider with the in-memory backend.
    Infrastructure,
    /// Cluster API Provider vSphere, without the kinds of its supervisor mode.
    Vsphere,
    /// The vCenter simulator.
    Simulator,
}

impl Provider {
    /// Those of a management cluster.
    #[must_use]
    pub const fn of(infrastructure: Infrastructure) -> &'static [Self] {
        match infrastructure {
            Infrastructure::InMemory => &[Self::Core, Self::Bootstrap, Self::ControlPlane, Self::Infrastructure],
            Infrastructure::Vsphere => &[
                Self::Core,
                Self::Bootstrap,
                Self::ControlPlane,
                Self::Vsphere,
                Self::Simulator,
            ],
        }
    }

    /// The module of ours that pins them.
    const fn go_module(self) -> GoModule {
        match self {
            Self::Core | Self::Bootstrap | Self::ControlPlane | Self::Infrastructure => GoModule::ClusterApi,
            Self::Vsphere | Self::Simulator => GoModule::Vsphere,
        }
    }

    /// All that are rendered with it, since one directory of the cache has them.
    const fn rendered_together(self) -> &'static [Self] {
        match self {
            Self::Core | Self::Bootstrap | Self::ControlPlane | Self::Infrastructure => {
                &[Self::Core, Self::Bootstrap, Self::ControlPlane, Self::Infrastructure]
            }
            Self::Vsphere | Self::Simulator => &[Self::Vsphere, Self::Simulator],
        }
    }

    /// The templates of Clusters and classes that it ships.
    const fn templates(self) -> &'static [&'static str] {
        match self {
            Self::Core | Self::Bootstrap | Self::ControlPlane | Self::Infrastructure | Self::Simulator => &[],
            Self::Vsphere => &["clusterclass-template.yaml", "cluster-template.yaml"],
        }
    }

    /// Its name, and its file's.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Bootstrap => "bootstrap",
            Self::ControlPlane => "control-plane",
            Self::Infrastructure => "infrastructure",
            Self::Vsphere => "vsphere",
            Self::Simulator => "simulator",
        }
    }

    /// As `clusterctl init` labels what belongs to it.
    const fn label(self) -> &'static str {
        match self {
            Self::Core => "cluster-api",
            Self::Bootstrap => "bootstrap-kubeadm",
            Self::ControlPlane => "control-plane-kubeadm",
            Self::Infrastructure => "infrastructure-docker",
            Self::Vsphere => "infrastructure-vsphere",
            Self::Simulator => "runtime-extension-vcsim",
        }
    }

    const fn module(self) -> &'static str {
        match self {
            Self::Core | Self::Bootstrap | Self::ControlPlane => "sigs.k8s.io/cluster-api",
            Self::Infrastructure => "sigs.k8s.io/cluster-api/test",
            Self::Vsphere => "sigs.k8s.io/cluster-api-provider-vsphere",
            Self::Simulator => "sigs.k8s.io/cluster-api-provider-vsphere/test",
        }
    }

    const fn kustomization(self) -> &'static str {
        match self {
            Self::Core => "core/config/default",
            Self::Bootstrap => "bootstrap/kubeadm/config/default",
            Self::ControlPlane => "controlplane/kubeadm/config/default",
            Self::Infrastructure => "infrastructure/docker/config/default",
            Self::Vsphere => "config/default",
            Self::Simulator => "infrastructure/vcsim/config/default",
        }
    }

    const fn webhook_port(self) -> u16 {
        match self {
            Self::Core => ports::CORE_WEBHOOKS,
            Self::Bootstrap => ports::BOOTSTRAP_WEBHOOKS,
            Self::ControlPlane => ports::CONTROL_PLANE_WEBHOOKS,
            Self::Infrastructure => ports::INFRASTRUCTURE_WEBHOOKS,
            Self::Vsphere => ports::VSPHERE_WEBHOOKS,
            Self::Simulator => ports::SIMULATOR_WEBHOOKS,
        }
    }
}

/// Whether a provider runs with rules of its own. Cluster API's managers may do everything,
/// so of their rules only the `ClusterRoles` are installed, which others aggregate.
pub(crate) fn is_for_provider(kind: &str) -> bool {
    matches!(
        kind,
        "CustomResourceDefinition"
            | "MutatingWebhookConfiguration"
            | "ValidatingWebhookConfiguration"
            | "Namespace"
            | "ClusterRole"
    )
}

/// At which versions the API server serves the kinds of Cluster API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServedVersions {
    /// Those that Cluster API serves as it comes.
    All,
    /// The stored one alone, as where nobody asks for an older one any more. An API server converts each object that
    /// is written to every other version that it serves, for whoever may watch that one: a sixth of all that
    /// it does in a journey.
    Stored,
}

impl ServedVersions {
    /// Changes a definition so that these are served.
    pub fn apply(self, definition: &mut DynamicObject) {
        let versions = match self {
            Self::All => None,
            Self::Stored => definition.data.pointer_mut("/spec/versions"),
        };
        for version in versions.and_then(Value::as_array_mut).into_iter().flatten() {
            version["served"] = version["storage"].clone();
        }
    }
}

/// Renders what the cache lacks of an infrastructure's providers; the result is the file of each.
pub async fn render(
    cache: &Cache,
    kubectl: &Path,
    infrastructure: Infrastructure,
    step: &str,
) -> Result<BTreeMap<Provider, PathBuf>> {
    let mut files = BTreeMap::new();
    for provider in Provider::of(infrastructure).iter().copied() {
        if !files.contains_key(&provider) {
            let together = provider.rendered_together();
            let dir = render_together(cache, kubectl, provider.go_module(), together, step).await?;
            files.extend(together.iter().map(|provider| (*provider, file(&dir, *provider))));
        }
    }
    files.retain(|provider, _| Provider::of(infrastructure).contains(provider));
    Ok(files)
}

async fn render_together(
    cache: &Cache,
    kubectl: &Path,
    module: GoModule,
    providers: &[Provider],
    step: &str,
) -> Result<PathBuf> {
    // The name of its directory says what the renderer was built from.
    let renderer = kubectl
        .parent()
        .and_then(Path::file_name)
        .and_then(OsStr::to_str)
        .unwrap_or_default();
    let mut hash = Sha256::new();
    for part in [&module.read("go.sum")?, TRANSFORM_VERSION, renderer] {
        hash.update(part);
    }
    let dir = cache.manifests(&short_hex(&hash.finalize()));
    if dir.is_dir() {
        return Ok(dir);
    }
    say(format!("{step} manifests of {} providers: rendering", providers.len()));
    let began = Instant::now();
    let unfinished = dir.with_extension("unfinished");
    fs::create_dir_all(&unfinished)?;
    for provider in providers.iter().copied() {
        let root = module_dir(module, provider.module()).await?;
        for template in provider.templates() {
            let text = fs::read(root.join("templates").join(template));
            fs::write(unfinished.join(template), text.with_context(|| (*template).to_owned())?)?;
        }
        let source = root.join(provider.kustomization());
        let mut objects = kustomize(kubectl, &source).await?;
        objects.retain(|object| is_for_provider(kind(object)));
        for object in &mut objects {
            transform(object, provider.webhook_port());
        }
        fs::write(file(&unfinished, provider), serde_json::to_vec(&objects)?)?;
    }
    fs::rename(&unfinished, &dir)?;
    say(format!(
        "{step} manifests of {} providers: rendered in {}",
        providers.len(),
        spoken(began.elapsed())
    ));
    Ok(dir)
}

/// The objects of a provider, trusting the given authority and labelled as `clusterctl init` does it.
pub fn load(path: &Path, provider: Provider, ca_pem: &str) -> Result<Vec<DynamicObject>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let objects: Vec<Value> = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    let mut objects = trusting(&objects, ca_pem)?;
    for object in &mut objects {
        // By the first one, `clusterctl move` finds the kinds whose objects it takes along.
        let labels = [
            ("clusterctl.cluster.x-k8s.io", ""),
            ("cluster.x-k8s.io/provider", provider.label()),
        ];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        object.labels_mut().extend(labels);
    }
    Ok(objects)
}

/// The objects, with the authority's certificate in its place.
pub fn trusting(objects: &[Value], ca_pem: &str) -> Result<Vec<DynamicObject>> {
    let text = serde_json::to_string(objects)?.replace(CA_PLACEHOLDER, &BASE64_STANDARD.encode(ca_pem));
    Ok(serde_json::from_str(&text)?)
}

/// What `kubectl kustomize` makes of a directory.
pub async fn kustomize(kubectl: &Path, dir: &Path) -> Result<Vec<Value>> {
    let output = Command::new(kubectl)
        .arg("kustomize")
        .arg(dir)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("starting {}", kubectl.display()))?;
    if !output.status.success() {
        bail!(
            "kubectl kustomize {}: {}",
            dir.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    documents(&String::from_utf8(output.stdout)?).with_context(|| dir.display().to_string())
}

/// The documents of a YAML text.
pub fn documents(yaml: &str) -> Result<Vec<Value>> {
    // The limits are for texts of strangers; Cluster API's CRDs nest deeper than they allow.
    let options = serde_saphyr::options! { budget: None };
    Ok(serde_saphyr::from_multiple_with_options(yaml, options)?)
}

/// The kind of an object.
#[must_use]
pub fn kind(object: &Value) -> &str {
    object.get("kind").and_then(Value::as_str).unwrap_or_default()
}

/// Points the webhooks of an object at a port on loopback.
pub fn transform(object: &mut Value, port: u16) {
    if let Some(annotations) = object
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove("cert-manager.io/inject-ca-from");
    }
    if let Some(config) = object.pointer_mut("/spec/conversion/webhook/clientConfig") {
        redirect(config, port);
    }
    for webhook in object
        .get_mut("webhooks")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(config) = webhook.get_mut("clientConfig") {
            redirect(config, port);
        }
    }
}

fn redirect(client_config: &mut Value, port: u16) {
    let Some(service) = client_config.get("service") else {
        return;
    };
    let path = service.get("path").and_then(Value::as_str).unwrap_or("/");
    let path = path.trim_start_matches('/');
    *client_config = json!({ "url": format!("https://127.0.0.1:{port}/{path}"), "caBundle": CA_PLACEHOLDER });
}

fn file(dir: &Path, provider: Provider) -> PathBuf {
    dir.join(format!("{}.json", provider.name()))
}

/// Where Go keeps the sources of a module; downloads them where they are missing.
async fn module_dir(pinned_by: GoModule, module: &str) -> Result<PathBuf> {
    for command in [
        &["list", "-m", "-f", "{{.Dir}}", module][..],
        &["mod", "download", module],
    ] {
        let output = go::command(pinned_by)
            .args(command)
            .output()
            .await
            .context("starting go")?;
        if !output.status.success() {
            let command = command.join(" ");
            bail!("go {command}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let dir = String::from_utf8(output.stdout)?;
        if !dir.trim().is_empty() {
            return Ok(PathBuf::from(dir.trim()));
        }
    }
    // The listing came first and empty, so the download just happened.
    Box::pin(module_dir(pinned_by, module)).await
}

/// The program that renders: named here so that callers need not know.
pub const RENDERER: Binary = Binary::Kubectl;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_become_loopback() {
        let mut object = json!({
            "kind": "ValidatingWebhookConfiguration",
            "metadata": { "annotations": { "cert-manager.io/inject-ca-from": "a/b", "keep": "this" } },
            "webhooks": [
                { "name": "one", "clientConfig": { "service": { "name": "s", "path": "/validate" } } },
                { "name": "two", "clientConfig": { "url": "https://elsewhere" } },
            ],
        });
        transform(&mut object, 9460);
        assert_eq!(
            object.pointer("/metadata/annotations").unwrap(),
            &json!({ "keep": "this" })
        );
        assert_eq!(
            object.pointer("/webhooks/0/clientConfig").unwrap(),
            &json!({ "url": "https://127.0.0.1:9460/validate", "caBundle": CA_PLACEHOLDER })
        );
        assert_eq!(
            object.pointer("/webhooks/1/clientConfig/url").unwrap(),
            "https://elsewhere"
        );
    }

    #[test]
    fn a_crd_converts_over_loopback() {
        let mut crd = json!({ "spec": { "conversion": { "webhook": { "clientConfig": { "service": { "path": "/convert" } } } } } });
        transform(&mut crd, 9449);
        let url = crd.pointer("/spec/conversion/webhook/clientConfig/url").unwrap();
        assert_eq!(url, "https://127.0.0.1:9449/convert");
    }

    #[test]
    fn empty_documents_are_skipped() {
        assert_eq!(
            documents("---\na: 1\n---\n---\nb: \"2\"\n").unwrap(),
            [json!({"a": 1}), json!({"b": "2"})]
        );
    }
}
