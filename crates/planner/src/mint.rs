//! A new template from the present one.

use std::collections::BTreeMap;

use instar_api::{RELEASE_LABEL, ROLE_LABEL, SOURCE_LABEL, Values};
use instar_capi::labels::CLUSTER_NAME;
use instar_catalog::Role;
use instar_domain::KubeVersion;
use serde_json::{Map, Value, json};

use crate::{
    name::{hash, label_value, minted, slug, without_suffix},
    snapshot::{Cluster, Template, TemplateContent, TemplateRef},
    values::{PointerError, apply},
};

/// A version in a name is cut to this, so that a base is always left.
const MAX_SLUG: usize = 24;

/// Labels and annotations that belong to the object that they are on, by their beginning. A `GitOps`
/// tool would prune a copy of what it tracks, and the topology controller would take it for its own.
const NOT_CLONED: [&str; 15] = [
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "applyset.kubernetes.io/",
    "argocd.argoproj.io/",
    "cluster.x-k8s.io/cloned-from-",
    "clusterctl.cluster.x-k8s.io/",
    "config.k8s.io/owning-inventory",
    "helm.sh/",
    "helm.toolkit.fluxcd.io/",
    "kubectl.kubernetes.io/last-applied-configuration",
    "kustomize.toolkit.fluxcd.io/",
    "meta.helm.sh/",
    "objectset.rio.cattle.io/",
    "topology.cluster.x-k8s.io/",
    "upgrade.cluster.x-k8s.io/",
];

/// What to mint.
#[derive(Debug, Clone, Copy)]
pub struct MintOrder<'a> {
    /// The template that the pool has.
    pub source: &'a Template,
    /// What it says.
    pub content: &'a TemplateContent,
    /// The name of the release that it is for.
    pub release: &'a str,
    /// The release's version.
    pub version: &'a KubeVersion,
    /// What the release sets.
    pub values: &'a Values,
    /// What is set over it.
    pub extra: &'a Values,
    /// The Cluster that it is for.
    pub cluster: &'a Cluster,
    /// The role of the machines.
    pub role: Role,
}

/// A template that doesn't have to exist yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Minted {
    /// The reference that names it.
    pub template: TemplateRef,
    /// The whole object.
    pub object: Value,
}

/// Makes the object. The same spec for the same Cluster gives the same name, so that a second try, or a second leader,
/// mints nothing twice.
///
/// # Errors
/// Where a value can't be put into the template.
pub fn mint(order: &MintOrder<'_>) -> Result<Minted, PointerError> {
    let MintOrder {
        source,
        content,
        release,
        version,
        values,
        extra,
        cluster,
        role,
    } = order;
    let mut spec = apply(&content.spec, [*values, *extra])?;
    // The identity of one machine has no place in a template, and providers refuse it.
    if let Some(machine) = spec.pointer_mut("/template/spec").and_then(Value::as_object_mut) {
        machine.remove("providerID");
    }
    // With the Cluster in it: Clusters of a namespace may share a template, and each has its own copy.
    let hash = hash(&format!("{}\n{}\n{}", cluster.name, source.kind, canonical(&spec)));
    let base = if source.minted_for().is_some() {
        without_suffix(&source.name)
    } else {
        &source.name
    };
    let name = minted(base, &slug(&version.to_string(), MAX_SLUG), &hash);
    let mut labels = cloned(&content.labels);
    let role = match role {
        Role::ControlPlane => "control-plane",
        Role::Worker => "worker",
    };
    labels.insert(RELEASE_LABEL.to_owned(), label_value(release));
    labels.insert(ROLE_LABEL.to_owned(), role.to_owned());
    labels.insert(SOURCE_LABEL.to_owned(), label_value(&source.name));
    labels.insert(CLUSTER_NAME.to_owned(), label_value(&cluster.name));
    let mut metadata = json!({
        "name": name,
        "namespace": cluster.namespace,
        "labels": labels,
        // So that it goes with the Cluster, and `clusterctl move` takes it along.
        "ownerReferences": [{
            "apiVersion": "cluster.x-k8s.io/v1beta2",
            "kind": "Cluster",
            "name": cluster.name,
            "uid": cluster.uid,
        }],
    });
    let annotations = cloned(&content.annotations);
    if let (Some(metadata), false) = (metadata.as_object_mut(), annotations.is_empty()) {
        metadata.insert("annotations".to_owned(), json!(annotations));
    }
    Ok(Minted {
        template: TemplateRef {
            name,
            ..source.reference()
        },
        object: json!({
            "apiVersion": source.api_version,
            "kind": source.kind,
            "metadata": metadata,
            "spec": spec,
        }),
    })
}

fn cloned(map: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let stays = |key: &str| NOT_CLONED.iter().all(|beginning| !key.starts_with(beginning));
    let kept = map.iter().filter(|(key, _)| stays(key));
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// JSON with its members in order, whatever `serde_json` was built to keep.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => object(members),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn object(members: &Map<String, Value>) -> String {
    let sorted: BTreeMap<&String, &Value> = members.iter().collect();
    let members: Vec<String> = sorted
        .into_iter()
        .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical(value)))
        .collect();
    format!("{{{}}}", members.join(","))
}

#[cfg(test)]
mod tests;
