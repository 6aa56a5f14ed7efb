//! What is kept of each kind, and nothing else.

mod class;
mod cluster;
mod control_plane;
mod release;
mod upgrade;
mod worker;

use std::{fmt::Debug, iter, sync::RwLock};

use instar_admission::{
    cluster_state::{TemplateKey, TemplateUser},
    template::TemplateType,
};
use instar_capi::Reference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, core::DeserializeGuard};
use serde::de::DeserializeOwned;

use super::{
    Caches,
    index::{self, Entry, Index, Key, TemplateId},
};
use crate::rbac::Watched;

pub(crate) use class::Class;
pub(crate) use cluster::Cluster;
pub(crate) use control_plane::ControlPlane;
pub(crate) use release::{Policy, Release};
pub(crate) use upgrade::Upgrade;
pub(crate) use worker::{Worker, WorkerResource};

/// An entry of a cache, and the watch that it comes from.
pub(crate) trait Cached: Entry + Debug + Sized + Send + Sync + 'static {
    /// What is watched. One object that can't be read must not hide the others, so it comes in a
    /// guard.
    type Object: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static;

    /// The kind, with the rule that the watch needs.
    const KIND: Watched;

    /// What it means that the API server doesn't know the kind.
    const ABSENT: Absent;

    /// Which of the objects are watched, by their labels; all of them where it is empty.
    const SELECTOR: &str = "";

    /// Takes what is kept out of an object.
    fn keep(object: Self::Object) -> index::Row<Self>;

    /// Where it is kept.
    fn index(caches: &Caches) -> &RwLock<Index<Self>>;

    /// The templates that it refers to.
    fn uses(&self) -> &[Use] {
        &[]
    }

    /// Called after the index has changed.
    fn changed(_caches: &Caches) {}
}

/// A template that something refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) sort: TemplateType,
    pub(crate) template: TemplateId,
}

impl Use {
    /// Of what an object in a namespace refers to. A reference that is still empty is none.
    fn of(sort: TemplateType, namespace: &str, reference: &Reference) -> Option<Self> {
        Self::named(sort, &TemplateKey::of(namespace, reference))
    }

    fn named(sort: TemplateType, key: &TemplateKey<'_>) -> Option<Self> {
        (!key.name.is_empty()).then(|| Self {
            sort,
            template: TemplateId::of(key),
        })
    }
}

/// What refers to a template.
pub(crate) trait User: Cached {
    /// As messages name it.
    fn user(&self, key: &Key) -> TemplateUser;
}

/// What it means that the API server doesn't know a kind.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Absent {
    /// There are none, as this says.
    Empty(&'static str),
    /// Something isn't installed, and this is what to do.
    Broken(&'static str),
}

const NO_CLUSTER_API: Absent = Absent::Broken("install Cluster API with the API version v1beta2 (1.11 or newer) first");
const NO_DEFINITIONS: Absent = Absent::Broken("apply config/crd first");

fn guarded<O: Resource, E>(object: DeserializeGuard<O>, keep: impl FnOnce(O) -> E) -> index::Row<E> {
    index::Row {
        key: Key::of(&object),
        read: match object.0 {
            Ok(object) => Ok(keep(object)),
            Err(invalid) => Err(format!("{}; it counts as absent", invalid.error)),
        },
    }
}

fn namespace(metadata: &ObjectMeta) -> &str {
    metadata.namespace.as_deref().unwrap_or_default()
}

fn annotation<'m>(metadata: &'m ObjectMeta, name: &str) -> Option<&'m String> {
    metadata.annotations.as_ref()?.get(name)
}

/// Who it is, and nothing about it.
fn bare(metadata: ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: metadata.name,
        namespace: metadata.namespace,
        ..ObjectMeta::default()
    }
}

fn in_use(uses: &[Use]) -> impl Iterator<Item = index::Group> {
    uses.iter().map(|used| index::Group::Template(used.template.clone()))
}

fn uses_of(metadata: &ObjectMeta, uses: impl IntoIterator<Item = Option<Use>>) -> Box<[Use]> {
    if metadata.deletion_timestamp.is_some() {
        iter::empty().collect()
    } else {
        uses.into_iter().flatten().collect()
    }
}
