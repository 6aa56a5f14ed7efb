//! Clusters.

use std::sync::Arc;

use instar_admission::{
    cluster::class_of,
    cluster_state::{CachedCluster, Versions},
};
use instar_api::{Pins, RELEASES_ANNOTATION};
use instar_capi::{KubeadmControlPlane, Lifecycle, Reference};
use instar_watch::{Cache, Entry, Guarded, Kept, Key, KindLease, Presence, Row, SharedTexts, Unreadable};
use kube::Resource;
use serde_json::Value;

use super::{
    super::{Caches, group::Group},
    Cached, annotation, json_bytes,
};
use crate::rbac::Watched;

/// Of a Cluster: its topology, its pins, its labels and what it says of its control plane.
#[derive(Debug)]
pub(crate) struct Cluster {
    view: Arc<CachedCluster>,
    class: Option<Key>,
    releases: Box<[Box<str>]>,
    garbled: Option<Box<str>>,
    /// For as long as it refers to a control plane of another kind than kubeadm's, that kind is watched.
    control_plane_kind: Option<KindLease>,
}

impl Cluster {
    pub(in super::super) fn view(&self) -> Arc<CachedCluster> {
        Arc::clone(&self.view)
    }

    /// Its control plane, where that is of another kind than kubeadm's.
    pub(in super::super) fn foreign_control_plane(&self) -> Option<&Reference> {
        self.view
            .control_plane
            .as_ref()
            .filter(|reference| is_foreign(reference))
    }
}

/// A reference that is still empty is none.
fn is_foreign(reference: &Reference) -> bool {
    let is_kubeadms =
        reference.kind == KubeadmControlPlane::kind(&()) && reference.api_group == KubeadmControlPlane::group(&());
    !is_kubeadms && !reference.kind.is_empty()
}

/// The same of a Cluster that can't be decoded, of which it isn't known which reference it has where. Its control plane's
/// kind is watched only while another Cluster refers to it.
pub(crate) fn foreign_control_plane_of(unreadable: &Unreadable) -> Option<&Reference> {
    let mut references = unreadable.references.iter();
    references.find(|reference| reference.kind.ends_with("ControlPlane") && is_foreign(reference))
}

impl Entry for Cluster {
    type Group = Group;

    fn groups(&self, key: &Key) -> Vec<Group> {
        let releases = self.releases.iter().cloned().map(Group::Release);
        let class = self.class.iter().cloned().map(Group::Class);
        let foreign = self.foreign_control_plane();
        let namespace = foreign.map(|_| Group::Namespace(key.namespace().into()));
        releases.chain(class).chain(namespace).collect()
    }

    /// Its pins are in its metadata, so its releases count as in use all the same.
    fn groups_of_unreadable(key: &Key, unreadable: &Unreadable) -> Vec<Group> {
        let pins = annotation(&unreadable.metadata, RELEASES_ANNOTATION);
        let releases = pins.map(|text| named_releases(text)).unwrap_or_default();
        let foreign = foreign_control_plane_of(unreadable).map(|_| Group::Namespace(key.namespace().into()));
        releases.into_iter().map(Group::Release).chain(foreign).collect()
    }

    fn complaint(&self) -> Option<&str> {
        self.garbled.as_deref()
    }

    fn is_same(&self, other: &Self) -> bool {
        let rest = |cluster: &Self| (cluster.class.clone(), cluster.releases.clone(), cluster.garbled.clone());
        self.view == other.view && rest(self) == rest(other)
    }

    fn share(&mut self, texts: &SharedTexts) {
        if let Some(pins) = Arc::get_mut(&mut self.view).and_then(|view| view.pins.as_mut()) {
            texts.share(pins);
        }
    }

    fn heap_bytes(&self) -> usize {
        let view = &self.view;
        let texts = view.namespace.len() + view.name.len();
        let releases: usize = self.releases.iter().map(|release| release.len()).sum();
        let parts = json_bytes(&view.labels) + json_bytes(&view.topology) + json_bytes(&view.control_plane);
        size_of::<CachedCluster>() + texts + releases + parts
    }
}

impl Kept for Cluster {
    type Object = Guarded<instar_capi::Cluster>;

    fn keep(object: Self::Object) -> Row<Self> {
        Row::of(object, |cluster| {
            let class = class_of(&cluster).map(|(namespace, name)| Key::new(&namespace, &name));
            let mut metadata = cluster.metadata;
            let pins = metadata
                .annotations
                .as_mut()
                .and_then(|all| all.remove(RELEASES_ANNOTATION));
            let (releases, garbled) = match pins.as_deref().map(Pins::from_annotation) {
                None => (Box::default(), None),
                Some(Ok(pins)) => (releases(pins), None),
                Some(Err(garbled)) => {
                    let named = pins.as_deref().map(named_releases).unwrap_or_default();
                    let why = format!("{garbled}; it counts as pinned to the releases that it names");
                    (named, Some(why.into()))
                }
            };
            let status = cluster.status.unwrap_or_default();
            Self {
                view: Arc::new(CachedCluster {
                    lifecycle: match (metadata.deletion_timestamp, cluster.spec.paused) {
                        (Some(_), _) => Lifecycle::Deleting,
                        (None, true) => Lifecycle::Paused,
                        (None, false) => Lifecycle::Active,
                    },
                    namespace: metadata.namespace.unwrap_or_default(),
                    name: metadata.name.unwrap_or_default(),
                    labels: metadata.labels.unwrap_or_default(),
                    topology: cluster.spec.topology,
                    pins: pins.map(Arc::from),
                    control_plane: cluster.spec.control_plane_ref,
                    versions: Versions::of(&status.control_plane.versions),
                }),
                class,
                releases,
                garbled,
                control_plane_kind: None,
            }
        })
    }
}

impl Cached for Cluster {
    const KIND: Watched = Watched::Clusters;
    const PRESENCE: Presence = Presence::CLUSTER_API;

    fn cache(caches: &Caches) -> &Arc<Cache<Self>> {
        &caches.clusters
    }

    fn lease(&mut self, caches: &Caches) {
        let foreign = self.foreign_control_plane();
        self.control_plane_kind = foreign.and_then(|reference| caches.foreign_control_planes.lease(reference));
    }
}

fn releases(pins: Pins) -> Box<[Box<str>]> {
    distinct(pins.releases.into_values().map(|pin| pin.release.into_boxed_str()))
}

/// The releases that pins name, whether or not the rest of them can be read: another version of Instar may have written
/// them.
fn named_releases(pins: &str) -> Box<[Box<str>]> {
    let read: Value = serde_json::from_str(pins).unwrap_or_default();
    let releases = read["releases"].as_object().into_iter().flatten();
    distinct(releases.filter_map(|(_, pin)| pin["release"].as_str().map(Into::into)))
}

fn distinct(releases: impl Iterator<Item = Box<str>>) -> Box<[Box<str>]> {
    let mut releases: Vec<_> = releases.collect();
    releases.sort_unstable();
    releases.dedup();
    releases.into()
}
