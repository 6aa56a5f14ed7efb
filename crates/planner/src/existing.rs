//! Whether an object that has the name of a template to be minted is that template.

use instar_api::{RELEASE_LABEL, RENDERED_ANNOTATION};
use instar_capi::{Lifecycle, labels::CLUSTER_NAME};
use serde_json::Value;

use crate::{
    decision::{MintTemplate, Waiting},
    rendered::{Rendered, dropped},
    snapshot::TemplateContent,
    values::includes,
};

/// Accepts an object that has the name of a template to be minted, if an earlier try made it. What a webhook or
/// defaulting made of its spec doesn't count, as long as every value that was set is there.
///
/// # Errors
/// Why it can't be used.
pub fn accept(mint: &MintTemplate, content: &TemplateContent, lifecycle: Lifecycle) -> Result<(), Waiting> {
    if lifecycle == Lifecycle::Deleting {
        return Err(deleting(mint));
    }
    if let Some(other) = another_cluster(mint, content) {
        return Err(taken(mint, Some(other)));
    }
    let uid = owner(mint, "uid");
    let is_owned = content.owners.iter().any(|owner| Some(owner.uid.as_str()) == uid);
    // An earlier Cluster of this name owns it, and Kubernetes' garbage collector deletes it.
    if !content.owners.is_empty() && !is_owned {
        return Err(deleting(mint));
    }
    let spec = mint.object.get("spec").unwrap_or(&Value::Null);
    let is_ours = content.labels.contains_key(CLUSTER_NAME) && content.labels.contains_key(RELEASE_LABEL);
    let wanted = own(mint, "annotations", RENDERED_ANNOTATION).and_then(Rendered::from_annotation);
    let is_same = match (wanted, Rendered::from_annotations(&content.annotations)) {
        (Some(wanted), Some(there)) => wanted.is_same_spec(&there),
        (_, None) | (None, _) => false,
    };
    if !is_ours || !(is_same || includes(&content.spec, spec)) {
        return Err(taken(mint, None));
    }
    match dropped(spec, &mint.pointers, &content.spec) {
        None => Ok(()),
        Some(pointer) => Err(Waiting::ValueDropped {
            pool: mint.pool.clone(),
            template: mint.template.clone(),
            pointer: Box::new(pointer),
        }),
    }
}

/// The other Cluster that an object belongs to, by its owners, else by its label.
fn another_cluster<'c>(mint: &MintTemplate, content: &'c TemplateContent) -> Option<&'c str> {
    let (cluster, label) = (owner(mint, "name"), own(mint, "labels", CLUSTER_NAME));
    let is_owned = content.owners.iter().any(|owner| Some(owner.name.as_str()) == cluster);
    match content.owners.first() {
        Some(first) if !is_owned => Some(&first.name),
        Some(_) | None => {
            let present = content.labels.get(CLUSTER_NAME).map(String::as_str);
            present.filter(|present| Some(*present) != label)
        }
    }
}

/// A member of the one owner reference of what is to be minted.
fn owner<'m>(mint: &'m MintTemplate, member: &str) -> Option<&'m str> {
    mint.object
        .pointer("/metadata/ownerReferences/0")?
        .get(member)?
        .as_str()
}

/// A label or an annotation of what is to be minted.
fn own<'m>(mint: &'m MintTemplate, map: &str, key: &str) -> Option<&'m str> {
    mint.object.get("metadata")?.get(map)?.get(key)?.as_str()
}

fn deleting(mint: &MintTemplate) -> Waiting {
    Waiting::TemplateDeleting {
        pool: mint.pool.clone(),
        template: mint.template.clone(),
    }
}

fn taken(mint: &MintTemplate, cluster: Option<&str>) -> Waiting {
    Waiting::NameTaken {
        pool: mint.pool.clone(),
        template: mint.template.clone(),
        cluster: cluster.map(Into::into),
    }
}
