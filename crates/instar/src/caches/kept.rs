//! What is kept of each kind, and nothing else.

use std::{
    collections::BTreeSet,
    fmt::Debug,
    iter,
    sync::{Arc, RwLock},
};

use instar_api::{ETCD_ANNOTATION, KubernetesRelease, KubernetesReleaseSpec, Pins, RELEASES_ANNOTATION};
use instar_capi::{Cluster, ClusterClass, KubeadmControlPlane, labels::CLUSTER_NAME};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Resource,
    core::{DeserializeGuard, PartialObjectMeta},
};
use serde::de::DeserializeOwned;

use super::{
    Caches,
    index::{self, Entry, Index, Key},
};
use crate::rbac::Watched;

/// An entry of a cache, and the watch that it comes from.
pub(crate) trait Kept: Entry + Debug + Sized + Send + Sync + 'static {
    /// What is watched. One object that can't be read must not hide the others, so a kind whose
    /// spec is read comes in a guard.
    type Object: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static;

    /// The kind, with the rule that the watch needs.
    const KIND: Watched;

    /// What it means that the API server doesn't know the kind.
    const ABSENT: Absent;

    /// Takes what is kept out of an object.
    fn keep(object: Self::Object) -> index::Row<Self>;

    /// Where it is kept.
    fn index(caches: &Caches) -> &RwLock<Index<Self>>;

    /// Called after the index has changed.
    fn changed(_caches: &Caches) {}
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

/// Of a Cluster: the releases that it is pinned to.
#[derive(Debug)]
pub(crate) struct Pinned(BTreeSet<Box<str>>);

impl Entry for Pinned {
    fn groups(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }
}

impl Kept for Pinned {
    /// The pins are an annotation, so the API server is asked for metadata only.
    type Object = PartialObjectMeta<Cluster>;
    const KIND: Watched = Watched::Clusters;
    const ABSENT: Absent = NO_CLUSTER_API;

    fn keep(object: Self::Object) -> index::Row<Self> {
        let annotations = object.metadata.annotations.as_ref();
        let text = annotations.and_then(|annotations| annotations.get(RELEASES_ANNOTATION));
        let read = text.map_or_else(
            || Ok(Self(BTreeSet::new())),
            |text| {
                Pins::from_annotation(text)
                    .map(|pins| Self(pins.releases.into_values().map(|pin| pin.release.into()).collect()))
                    .map_err(|garbled| format!("{garbled}; it counts as pinned to no release"))
            },
        );
        index::Row {
            key: Key::of(&object),
            read,
        }
    }

    fn index(caches: &Caches) -> &RwLock<Index<Self>> {
        &caches.clusters
    }
}

/// Of a ClusterClass: its spec, and whether its etcd is external.
#[derive(Debug)]
pub(crate) struct Class(Arc<ClusterClass>);

impl Class {
    pub(super) fn view(&self) -> Arc<ClusterClass> {
        self.0.clone()
    }
}

impl Entry for Class {
    fn groups(&self) -> impl Iterator<Item = &str> {
        iter::empty()
    }
}

impl Kept for Class {
    type Object = DeserializeGuard<ClusterClass>;
    const KIND: Watched = Watched::ClusterClasses;
    const ABSENT: Absent = NO_CLUSTER_API;

    fn keep(object: Self::Object) -> index::Row<Self> {
        guarded(object, |mut class| {
            let mut annotations = class.metadata.annotations.take().unwrap_or_default();
            annotations.retain(|name, _| name == ETCD_ANNOTATION);
            class.metadata = ObjectMeta {
                annotations: (!annotations.is_empty()).then_some(annotations),
                ..bare(class.metadata)
            };
            Ok(Self(Arc::new(class)))
        })
    }

    fn index(caches: &Caches) -> &RwLock<Index<Self>> {
        &caches.classes
    }
}

/// Of a KubeadmControlPlane: its version and etcd, and whose it is.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    cluster: Key,
    owned: bool,
    view: Arc<KubeadmControlPlane>,
}

impl ControlPlane {
    pub(super) fn is_owned(&self) -> bool {
        self.owned
    }

    pub(super) fn view(&self) -> Arc<KubeadmControlPlane> {
        self.view.clone()
    }
}

impl Entry for ControlPlane {
    fn groups(&self) -> impl Iterator<Item = &str> {
        iter::once(self.cluster.as_str())
    }
}

impl Kept for ControlPlane {
    type Object = DeserializeGuard<KubeadmControlPlane>;
    const KIND: Watched = Watched::KubeadmControlPlanes;
    /// Other control plane providers do without it.
    const ABSENT: Absent = Absent::Empty("the kubeadm control plane provider isn't installed");

    fn keep(object: Self::Object) -> index::Row<Self> {
        guarded(object, |mut control_plane| {
            let metadata = &control_plane.metadata;
            let label = metadata.labels.as_ref().and_then(|labels| labels.get(CLUSTER_NAME));
            let cluster = label.ok_or_else(|| {
                format!("it has no label {CLUSTER_NAME}, so it belongs to no Cluster: put the Cluster's name there")
            })?;
            let owners = metadata.owner_references.iter().flatten();
            let entry = (
                Key::new(metadata.namespace.as_deref().unwrap_or_default(), cluster),
                owners
                    .filter(|owner| owner.kind == "Cluster")
                    .any(|owner| owner.name == *cluster),
            );
            control_plane.metadata = bare(control_plane.metadata);
            Ok(Self {
                cluster: entry.0,
                owned: entry.1,
                view: Arc::new(control_plane),
            })
        })
    }

    fn index(caches: &Caches) -> &RwLock<Index<Self>> {
        &caches.control_planes
    }
}

/// Of a KubernetesRelease: its spec.
#[derive(Debug)]
pub(crate) struct Row(KubernetesReleaseSpec);

impl Row {
    pub(super) fn spec(&self) -> &KubernetesReleaseSpec {
        &self.0
    }
}

impl Entry for Row {
    fn groups(&self) -> impl Iterator<Item = &str> {
        iter::empty()
    }
}

impl Kept for Row {
    type Object = DeserializeGuard<KubernetesRelease>;
    const KIND: Watched = Watched::KubernetesReleases;
    const ABSENT: Absent = Absent::Broken("apply config/crd first");

    fn keep(object: Self::Object) -> index::Row<Self> {
        guarded(object, |release| Ok(Self(release.spec)))
    }

    fn index(caches: &Caches) -> &RwLock<Index<Self>> {
        &caches.releases
    }

    fn changed(caches: &Caches) {
        caches.renew_catalog();
    }
}

fn guarded<O: Resource, E>(object: DeserializeGuard<O>, keep: impl FnOnce(O) -> Result<E, String>) -> index::Row<E> {
    index::Row {
        key: Key::of(&object),
        read: match object.0 {
            Ok(object) => keep(object),
            Err(invalid) => Err(format!("{}; it counts as absent", invalid.error)),
        },
    }
}

/// Who it is, and nothing about it.
fn bare(metadata: ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: metadata.name,
        namespace: metadata.namespace,
        ..ObjectMeta::default()
    }
}
