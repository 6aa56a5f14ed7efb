//! The objects of an installation, as `kubectl kustomize config/default` renders them.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use super::{Content, Files, Release};
use crate::{Artifact, generated::manifests, kustomization::labelled, yaml};

/// The folders that `config/default` takes, its own among them.
const FOLDERS: [&str; 7] = [
    "config/certmanager/",
    "config/controller/",
    "config/crd/",
    "config/default/",
    "config/rbac/",
    "config/server/",
    "config/webhook/",
];

/// Which kinds come first, and which last. Webhooks are last: until the server answers, they refuse edits.
/// Source: kustomize's `sortOptions: legacy`.
const FIRST: [&str; 11] = [
    "Namespace",
    "CustomResourceDefinition",
    "ServiceAccount",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "Secret",
    "Service",
    "Deployment",
    "PodDisruptionBudget",
];
const LAST: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// All of them, in the order in which they are created.
pub(super) fn all(release: &Release) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    let mut patches = Vec::new();
    for artifact in manifests()? {
        if !FOLDERS.iter().any(|folder| artifact.path.starts_with(folder)) || is_kustomization(&artifact) {
            continue;
        }
        let target = if artifact.path.contains("/inject-ca-") {
            &mut patches
        } else {
            &mut objects
        };
        target.extend(artifact.objects);
    }
    for object in &mut objects {
        for patch in &patches {
            if is_same(patch, object) {
                json_patch::merge(object, patch);
            }
        }
        finish(release, object);
    }
    objects.sort_by_key(order);
    Ok(objects)
}

/// The rights for each infrastructure provider, one file for each.
pub(super) fn providers(release: &Release) -> Result<Files> {
    let mut files = Files::new();
    let folder = "config/providers/";
    let mut of_provider: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for artifact in manifests()? {
        let Some((name, _)) = artifact.path.strip_prefix(folder).and_then(|path| path.split_once('/')) else {
            continue;
        };
        if !is_kustomization(&artifact) {
            let objects = of_provider.entry(name.to_owned()).or_default();
            objects.extend(artifact.objects);
        }
    }
    for (name, mut objects) in of_provider {
        for object in &mut objects {
            finish(release, object);
        }
        let text = text(&objects)?;
        files.insert(format!("providers/{name}.yaml"), Content::Data(text.into_bytes()));
    }
    Ok(files)
}

/// The objects as documents of YAML.
pub(super) fn text(objects: &[Value]) -> Result<String> {
    yaml::documents(objects)
}

fn is_kustomization(artifact: &Artifact) -> bool {
    artifact.path.ends_with("/kustomization.yaml")
}

fn is_same(patch: &Value, object: &Value) -> bool {
    let of = |pointer| patch.pointer(pointer) == object.pointer(pointer);
    of("/kind") && of("/metadata/name")
}

/// With the label that clusterctl gives, and the image of the release.
fn finish(release: &Release, object: &mut Value) {
    labelled(object, &release.label());
    if object["kind"] == "Deployment" {
        let containers = object.pointer_mut("/spec/template/spec/containers");
        for container in containers.and_then(Value::as_array_mut).into_iter().flatten() {
            container["image"] = json!(format!("{}:{}", release.image, release.tag()));
        }
    }
}

fn order(object: &Value) -> (usize, String, String) {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let kind = text("/kind");
    let place = match LAST.iter().position(|last| *last == kind) {
        Some(last) => FIRST.len() + 1 + last,
        None => FIRST.iter().position(|first| *first == kind).unwrap_or(FIRST.len()),
    };
    (place, kind, text("/metadata/name"))
}
