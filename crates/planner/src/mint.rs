//! A new template from the present one.

use std::collections::{BTreeMap, BTreeSet};

use instar_api::{RELEASE_LABEL, RENDERED_ANNOTATION, ROLE_LABEL, SOURCE_LABEL, Values};
use instar_capi::labels::CLUSTER_NAME;
use instar_catalog::Role;
use instar_domain::{JsonPointer, KubeVersion};
use serde_json::{Value, json};

use crate::{
    name::{label_value, minted, slug, without_suffix},
    rendered::{Rendered, pointers},
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
    /// Where values were set.
    pub pointers: BTreeSet<JsonPointer>,
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
    let spec = without_identity(apply(&content.spec, [*values, *extra])?);
    let rendered = Rendered::new(&cluster.name, &source.kind, &spec, [*values, *extra]);
    let base = if source.minted_for().is_some() {
        without_suffix(&source.name)
    } else {
        &source.name
    };
    let name = minted(base, &slug(&version.to_string(), MAX_SLUG), rendered.suffix());
    let mut labels = cloned(&content.labels);
    let role = match role {
        Role::ControlPlane => "control-plane",
        Role::Worker => "worker",
    };
    labels.insert(RELEASE_LABEL.to_owned(), label_value(release));
    labels.insert(ROLE_LABEL.to_owned(), role.to_owned());
    labels.insert(SOURCE_LABEL.to_owned(), label_value(&source.name));
    labels.insert(CLUSTER_NAME.to_owned(), label_value(&cluster.name));
    let mut annotations = cloned(&content.annotations);
    annotations.insert(RENDERED_ANNOTATION.to_owned(), rendered.to_annotation());
    let metadata = json!({
        "name": name,
        "namespace": cluster.namespace,
        "labels": labels,
        "annotations": annotations,
        // So that it goes with the Cluster, and `clusterctl move` takes it along.
        "ownerReferences": [{
            "apiVersion": "cluster.x-k8s.io/v1beta2",
            "kind": "Cluster",
            "name": cluster.name,
            "uid": cluster.uid,
        }],
    });
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
        pointers: pointers([*values, *extra]),
    })
}

/// A spec without the identity of one machine: it has no place in a template, and providers refuse it.
pub(crate) fn without_identity(mut spec: Value) -> Value {
    if let Some(machine) = spec.pointer_mut("/template/spec").and_then(Value::as_object_mut) {
        machine.remove("providerID");
    }
    spec
}

fn cloned(map: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let stays = |key: &str| NOT_CLONED.iter().all(|beginning| !key.starts_with(beginning));
    let kept = map.iter().filter(|(key, _)| stays(key));
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests;
