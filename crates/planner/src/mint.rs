//! A new template from the present one.

use std::collections::BTreeMap;

use instar_api::{RELEASE_LABEL, ROLE_LABEL, SOURCE_LABEL, Values};
use instar_capi::labels::CLUSTER_NAME;
use instar_catalog::{Release, Role};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{
    pointer_error::{PointerError, apply},
    snapshot::{Cluster, Template, TemplateRef},
};

/// The longest name and the longest value of a label.
const MAX_LENGTH: usize = 63;
/// A slug is cut to this, so that a base is always left.
const MAX_SLUG: usize = 24;
/// How much of a hash a name carries.
const HASH_LENGTH: usize = 8;

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
    /// The release that it is for.
    pub release: &'a Release,
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

/// Makes the object. The same spec gives the same name, so that a second try, or a second leader,
/// mints nothing twice.
///
/// # Errors
/// Where a value can't be put into the template.
pub fn mint(order: &MintOrder<'_>) -> Result<Minted, PointerError> {
    let MintOrder {
        source,
        release,
        values,
        extra,
        cluster,
        role,
    } = order;
    let mut spec = apply(&source.spec, [*values, *extra])?;
    // The identity of one machine has no place in a template, and providers refuse it.
    if let Some(machine) = spec.pointer_mut("/template/spec").and_then(Value::as_object_mut) {
        machine.remove("providerID");
    }
    let hash = hash(&format!("{}\n{}", source.kind, canonical(&spec)));
    let base = if source.minted_for().is_some() {
        without_suffix(&source.name)
    } else {
        &source.name
    };
    let name = name(base, &slug(release), &hash);
    let mut labels = cloned(&source.labels);
    let role = match role {
        Role::ControlPlane => "control-plane",
        Role::Worker => "worker",
    };
    labels.insert(RELEASE_LABEL.to_owned(), label_value(release.name()));
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
    let annotations = cloned(&source.annotations);
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

/// A name as the value of a label: where it is too long, its end is a hash of the whole.
#[must_use]
pub fn label_value(name: &str) -> String {
    if name.len() <= MAX_LENGTH {
        return name.to_owned();
    }
    let kept = cut(name, MAX_LENGTH - HASH_LENGTH - 1);
    format!("{kept}-{}", hash(name))
}

fn cloned(map: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let stays = |key: &str| NOT_CLONED.iter().all(|beginning| !key.starts_with(beginning));
    let kept = map.iter().filter(|(key, _)| stays(key));
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn name(base: &str, slug: &str, hash: &str) -> String {
    let suffix = format!("-{slug}-{hash}");
    // A dot is allowed in the name of a template, but machines are named after it.
    let base = base.replace('.', "-");
    format!("{}{suffix}", cut(&base, MAX_LENGTH.saturating_sub(suffix.len())))
}

fn slug(release: &Release) -> String {
    let text: String = release
        .version()
        .to_string()
        .chars()
        .map(|character| {
            if character.is_ascii_alphanumeric() {
                character.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    cut(&text, MAX_SLUG).to_owned()
}

/// At most that many bytes, and a letter or a digit at the end.
fn cut(text: &str, length: usize) -> &str {
    let end = (0..=length.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default())
        .unwrap_or_default()
        .trim_end_matches(|character: char| !character.is_ascii_alphanumeric())
}

/// The name without what [`name`] put at its end: `-v1-34-3-0123abcd`.
fn without_suffix(name: &str) -> &str {
    let Some((rest, hash)) = name.rsplit_once('-') else {
        return name;
    };
    let is_hash = hash.len() == HASH_LENGTH && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_slug = |slug: &str| {
        let mut parts = slug.strip_prefix("-v").unwrap_or_default().split('-');
        (0..3).all(|_| parts.next().is_some_and(number))
    };
    if !is_hash {
        return name;
    }
    let mut starts = rest.rmatch_indices("-v").map(|(at, _)| rest.split_at(at));
    let found = starts.find(|(base, slug)| !base.is_empty() && is_slug(slug));
    found.map_or(name, |(base, _)| base)
}

fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let beginning = digest.iter().take(HASH_LENGTH / 2);
    beginning.fold(String::with_capacity(HASH_LENGTH), |mut hex, byte| {
        for half in [byte >> 4, byte & 0xf] {
            hex.extend(char::from_digit(u32::from(half), 16));
        }
        hex
    })
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
