//! What is kept of each kind, and nothing else.

mod class;
mod cluster;
mod control_plane;
mod foreign;
mod release;
mod upgrade;
mod worker;

use std::{io, iter, sync::Arc};

use instar_admission::{
    cluster_state::{TemplateKey, TemplateUser},
    template::TemplateType,
};
use instar_capi::Reference;
use instar_watch::{Cache, Entry, Kept, Key, KindLease, Presence, Unreadable};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Serialize;

use super::{
    Caches,
    group::{Group, TemplateId},
};
use crate::rbac::Watched;

pub(crate) use class::Class;
pub(crate) use cluster::{Cluster, foreign_control_plane_of};
pub(crate) use control_plane::ControlPlane;
pub(crate) use foreign::ForeignControlPlane;
pub(crate) use release::{Policy, Release};
pub(crate) use upgrade::Upgrade;
pub(crate) use worker::{Worker, WorkerResource};

/// An entry of a cache, and the watch that it comes from.
pub(crate) trait Cached: Kept<Object: Resource<DynamicType = ()>, Group = Group> {
    /// The kind, with the rule that the watch needs.
    const KIND: Watched;

    /// What it means that the API server doesn't know the kind.
    const PRESENCE: Presence;

    /// Which of the objects are watched, by their labels; all of them where it is empty.
    const SELECTOR: &str = "";

    /// Where it is kept.
    fn cache(caches: &Caches) -> &Arc<Cache<Self>>;

    /// Takes note of the kinds that it refers to, and that are watched for as long as it does.
    fn lease(&mut self, _caches: &Caches) {}

    /// Called after the cache has changed.
    fn changed(_caches: &Caches) {}
}

/// A template that something refers to.
#[derive(Clone, Debug)]
pub(crate) struct Use {
    /// Nothing where only its deletion is judged: then its kind isn't watched.
    pub(crate) sort: Option<TemplateType>,
    pub(crate) template: TemplateId,
    /// For as long as the reference is there, the kind is watched. It is taken when the object comes.
    pub(crate) lease: Option<KindLease>,
}

impl Use {
    /// Of what an object in a namespace refers to. A reference that is still empty is none.
    fn of(sort: impl Into<Option<TemplateType>>, namespace: &str, reference: &Reference) -> Option<Self> {
        Self::named(sort, &TemplateKey::of(namespace, reference))
    }

    fn named(sort: impl Into<Option<TemplateType>>, key: &TemplateKey<'_>) -> Option<Self> {
        (!key.name.is_empty()).then(|| Self {
            sort: sort.into(),
            template: TemplateId::of(key),
            lease: None,
        })
    }
}

/// What refers to a template.
pub(crate) trait User: Cached {
    /// The kind, as messages name it.
    const USER: &str;

    /// The Cluster that it belongs to.
    fn cluster_name(&self) -> Option<String>;
}

/// The objects of a kind that refer to a template, whether or not they can be decoded.
pub(crate) fn users_of<E: Entry<Group = Group>>(
    cache: &Cache<E>,
    template: &Group,
    kind: &str,
    cluster_name: impl Fn(&E) -> Option<String>,
) -> Vec<TemplateUser> {
    let index = cache.read();
    let user = |key: &Key, cluster| TemplateUser {
        kind: kind.to_owned(),
        name: key.name().to_owned(),
        cluster,
    };
    let read = index.group(template).map(|(key, entry)| user(key, cluster_name(entry)));
    let unreadable = index.unreadable_in(template);
    let unreadable = unreadable.map(|(key, unreadable)| user(key, unreadable.cluster.clone()));
    read.chain(unreadable).collect()
}

/// Of an object that can't be decoded, what it refers to counts as in use, whatever it is.
fn groups_of_unreadable(key: &Key, unreadable: &Unreadable) -> Vec<Group> {
    let cluster = unreadable.cluster.as_deref();
    let cluster = cluster.map(|cluster| Group::Cluster(Key::new(key.namespace(), cluster)));
    let references = unreadable.references.iter();
    let references = references
        .filter(|_| unreadable.metadata.deletion_timestamp.is_none())
        .map(|reference| Group::Template(TemplateId::of(&TemplateKey::of(key.namespace(), reference))));
    cluster.into_iter().chain(references).collect()
}

fn namespace(metadata: &ObjectMeta) -> &str {
    metadata.namespace.as_deref().unwrap_or_default()
}

fn annotation<'m>(metadata: &'m ObjectMeta, name: &str) -> Option<&'m String> {
    metadata.annotations.as_ref()?.get(name)
}

/// About how many bytes a value takes beside itself: as many as its JSON text has.
fn json_bytes(value: &impl Serialize) -> usize {
    let mut count = Count(0);
    match serde_json::to_writer(&mut count, value) {
        Ok(()) => count.0,
        // A map whose keys are no texts has none.
        Err(_) => 0,
    }
}

/// Counts what is written.
struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Who it is, and nothing about it.
fn bare(metadata: ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: metadata.name,
        namespace: metadata.namespace,
        generation: metadata.generation,
        ..ObjectMeta::default()
    }
}

/// Whether they are the same templates.
fn same_uses(some: &[Use], others: &[Use]) -> bool {
    let templates = |uses: &[Use]| {
        uses.iter()
            .map(|used| (used.sort, used.template.clone()))
            .collect::<Vec<_>>()
    };
    templates(some) == templates(others)
}

/// The texts of the templates are shared with their groups.
fn use_bytes(uses: &[Use]) -> usize {
    let texts = uses.iter().map(|used| used.template.len());
    size_of_val(uses) + texts.sum::<usize>()
}

fn in_use(uses: &[Use]) -> impl Iterator<Item = Group> {
    uses.iter().map(|used| Group::Template(used.template.clone()))
}

fn uses_of(metadata: &ObjectMeta, uses: impl IntoIterator<Item = Option<Use>>) -> Box<[Use]> {
    if metadata.deletion_timestamp.is_some() {
        iter::empty().collect()
    } else {
        uses.into_iter().flatten().collect()
    }
}
