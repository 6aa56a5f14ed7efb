//! An edit of an object, and whose it is.

use instar_api::{Enforcement, Rule};
use instar_capi::{WorkerKind, labels::CLUSTER_NAME, owning_clusters};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::Finding;

/// An object before and after.
#[derive(Debug)]
pub struct Edit<'a, T> {
    pub kind: &'a str,
    /// As it is; nothing where it is created.
    pub old: Option<&'a T>,
    /// As it would be.
    pub new: &'a T,
}

impl<T> Clone for Edit<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Edit<'_, T> {}

impl<'a, T> Edit<'a, T> {
    /// The object by which it is decided whose it is and what it is exempt from: what an edit writes is no reason to
    /// allow it.
    #[must_use]
    pub const fn before(&self) -> &'a T {
        match self.old {
            Some(old) => old,
            None => self.new,
        }
    }
}

/// What a message calls an object.
#[must_use]
pub fn object_ref(kind: &str, metadata: &ObjectMeta) -> String {
    let name = metadata.name.as_deref().or(metadata.generate_name.as_deref());
    let name = name.unwrap_or_default();
    match metadata.namespace.as_deref() {
        Some(namespace) if !namespace.is_empty() => format!("{kind} {namespace}/{name}"),
        Some(_) | None => format!("{kind} {name}"),
    }
}

/// The Cluster that an object belongs to, by its owner, else by its label.
#[must_use]
pub fn cluster_of(metadata: &ObjectMeta) -> Option<&str> {
    let owner = owning_clusters(metadata).next();
    owner.or_else(|| metadata.labels.as_ref()?.get(CLUSTER_NAME).map(String::as_str))
}

/// Whether another object that was judged itself made this one and answers for it: its controller, of a kind that makes
/// such workers. Nothing makes MachineDeployments and MachinePools, whatever a foreign controller claims.
#[must_use]
pub fn is_made_by_another(kind: WorkerKind, metadata: &ObjectMeta) -> bool {
    let mut owners = metadata.owner_references.iter().flatten();
    let controller = owners.find(|owner| owner.controller == Some(true));
    controller.is_some_and(|owner| kind.is_made_by(&owner.api_version, &owner.kind))
}

pub(crate) fn finding(
    rule: Rule,
    object: String,
    field: &'static str,
    what: impl Into<String>,
    remediation: impl Into<String>,
) -> Finding {
    Finding {
        rule,
        object,
        field,
        what: what.into(),
        remediation: remediation.into(),
        of: None,
        strictest: Enforcement::Enforce,
    }
}
