//! What is kept of each kind, and how its objects are found.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

use instar_api::{
    CONCURRENCY_ANNOTATION, ClusterUpgrade, FINISHED_ANNOTATION, GATE_HISTORY_ANNOTATION, HOOK_ANSWER_ANNOTATION,
    KubernetesRelease, PATH_ANNOTATION, RECORD_ANNOTATION, RELEASES_ANNOTATION, STARTED_ANNOTATION,
    SWAP_HISTORY_ANNOTATION, UpgradePolicy, VERSION_ANNOTATION, is_unknown_annotation,
};
use instar_capi::{
    Cluster, KubeadmControlPlane, Reference,
    labels::{CLUSTER_NAME, PAUSED, UNSAFE_VERSION, UPGRADE_CONCURRENCY, WATCH_FILTER},
    owning_clusters,
};
use instar_planner::Lifecycle;
use instar_watch::{Cache, Entry, Guarded, Index, Kept, Key, Namespaces, Presence, Row, ScopeOf, Unreadable};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use serde::{Serialize, de::DeserializeOwned};

use super::{Caches, packed::Packed, pinned, wake_groups};
use crate::{
    rbac::Watched,
    upgrade_spec::{finished_marker, finished_phase},
};

/// The condition by which a Cluster says whether its control plane was ever up.
const CONTROL_PLANE_INITIALIZED: &str = "ControlPlaneInitialized";

/// Annotations that are read. Of all others those are kept that have no effect and look as if they had one.
const ANNOTATIONS: [&str; 13] = [
    PAUSED,
    SWAP_HISTORY_ANNOTATION,
    CONCURRENCY_ANNOTATION,
    UPGRADE_CONCURRENCY,
    HOOK_ANSWER_ANNOTATION,
    VERSION_ANNOTATION,
    FINISHED_ANNOTATION,
    RECORD_ANNOTATION,
    RELEASES_ANNOTATION,
    PATH_ANNOTATION,
    STARTED_ANNOTATION,
    GATE_HISTORY_ANNOTATION,
    UNSAFE_VERSION,
];

/// What objects are looked up by, beside their own keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Group {
    /// The Cluster that it belongs to; of a Cluster, itself.
    Cluster(Key),
    /// Its namespace.
    Namespace(Box<str>),
}

/// A kind that is watched from the start.
pub(crate) trait Cached:
    Resource<DynamicType = (), Scope: ScopeOf> + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// Its watch.
    const WATCHED: Watched;

    /// What it means that the API server doesn't know the kind.
    const PRESENCE: Presence = Presence::CLUSTER_API;

    /// In which namespaces it is watched, if Clusters are watched in these.
    fn namespaces(clusters: &Namespaces) -> Namespaces {
        clusters.clone()
    }

    /// What is kept of an object.
    type Kept: Kept<Object = Guarded<Self>> + Entry<Group = Group>;

    /// Where it is kept.
    fn cache(caches: &Caches) -> &Arc<Cache<Self::Kept>>;

    /// The groups of an object that can't be decoded.
    fn groups_of_unreadable(key: &Key, unreadable: &Unreadable) -> Vec<Group> {
        let cluster = unreadable.cluster.iter();
        cluster.map(|name| of_cluster(key, name)).collect()
    }

    /// Whether an object that came wakes its Cluster: `before` is what was kept of it.
    fn is_news(before: &Self::Kept, now: &Self::Kept) -> bool {
        let _ = (before, now);
        true
    }

    /// Called after the cache has changed, with what has.
    fn changed(caches: &Caches, groups: &[Group]) {
        wake_groups(&caches.wake, groups);
    }
}

/// A kind whose objects are kept, without what is never read.
pub(crate) trait Whole: Cached<Kept = Object<Self>> {
    /// The groups that an object is in.
    fn groups(&self, key: &Key) -> Vec<Group>;
}

/// An object, without what is never read.
#[derive(Debug)]
pub(crate) struct Object<K> {
    object: Arc<K>,
    heap_bytes: usize,
}

impl<K: Whole> Object<K> {
    pub(super) fn get(&self) -> Arc<K> {
        Arc::clone(&self.object)
    }

    pub(crate) fn as_object(&self) -> &K {
        &self.object
    }

    pub(crate) fn new(object: K) -> Self {
        let object = slim(object);
        Self {
            heap_bytes: size_of::<K>() + Packed::new(&object).heap_bytes(),
            object: Arc::new(object),
        }
    }
}

impl<K: Whole> Entry for Object<K> {
    type Group = Group;

    fn groups(&self, key: &Key) -> Vec<Group> {
        self.object.groups(key)
    }

    /// About: as many as its JSON text has.
    fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }

    fn groups_of_unreadable(key: &Key, unreadable: &Unreadable) -> Vec<Group> {
        K::groups_of_unreadable(key, unreadable)
    }
}

impl<K: Whole> Kept for Object<K> {
    type Object = Guarded<K>;

    fn keep(object: Self::Object) -> Row<Self> {
        Row::of(object, Self::new)
    }
}

/// Drops the metadata that is never read, which is most of it.
pub(super) fn slim<K: Resource>(mut object: K) -> K {
    let metadata = object.meta_mut();
    let mut annotations = metadata.annotations.take().unwrap_or_default();
    annotations.retain(|name, _| ANNOTATIONS.contains(&name.as_str()) || is_unknown_annotation(name));
    *metadata = ObjectMeta {
        name: metadata.name.take(),
        namespace: metadata.namespace.take(),
        uid: metadata.uid.take(),
        resource_version: metadata.resource_version.take(),
        generation: metadata.generation,
        creation_timestamp: metadata.creation_timestamp.take(),
        deletion_timestamp: metadata.deletion_timestamp.take(),
        labels: metadata.labels.take(),
        annotations: Some(annotations),
        ..ObjectMeta::default()
    };
    object
}

/// `paused` is what the object's spec says of it.
pub(crate) fn lifecycle(object: &impl ResourceExt, paused: bool) -> Lifecycle {
    if object.meta().deletion_timestamp.is_some() {
        Lifecycle::Deleting
    } else if paused || object.annotations().contains_key(PAUSED) {
        Lifecycle::Paused
    } else {
        Lifecycle::Active
    }
}

/// The groups of the Clusters that an object belongs to: by its owners, and by the label, which has a name that is
/// too long for it in another form.
pub(super) fn groups_of_clusters(metadata: &ObjectMeta) -> Box<[Group]> {
    let label = metadata.labels.as_ref().and_then(|labels| labels.get(CLUSTER_NAME));
    let names: BTreeSet<&str> = owning_clusters(metadata).chain(label.map(String::as_str)).collect();
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let groups = names.into_iter().map(|name| Group::Cluster(Key::new(namespace, name)));
    groups.collect()
}

/// The same of an object that can't be decoded, and the Cluster that its spec names.
pub(super) fn groups_of_unreadable(key: &Key, unreadable: &Unreadable) -> Vec<Group> {
    let mut groups = groups_of_clusters(&unreadable.metadata).into_vec();
    let cluster = unreadable.cluster.iter().map(|name| of_cluster(key, name));
    let others: Vec<_> = cluster.filter(|cluster| !groups.contains(cluster)).collect();
    groups.extend(others);
    groups
}

pub(super) fn of_cluster(key: &Key, cluster: &str) -> Group {
    Group::Cluster(Key::new(key.namespace(), cluster))
}

/// The control plane that a Cluster refers to, where it is of a kind that isn't watched.
pub(crate) fn not_watched(cluster: &Cluster) -> Option<&Reference> {
    let reference = cluster.spec.control_plane_ref.as_ref()?;
    let watched =
        reference.kind == KubeadmControlPlane::kind(&()) && reference.api_group == KubeadmControlPlane::group(&());
    Some(reference).filter(|_| !watched)
}

/// Whether a condition of a Cluster says that something is wrong with it, or may be.
pub(crate) fn tells_of_trouble(condition: &instar_capi::Condition) -> bool {
    condition.status != "True" && instar_planner::Cluster::HEALTH.contains(&condition.kind.as_str())
}

/// A Cluster, without what is never read.
#[derive(Debug, PartialEq)]
pub(crate) struct KeptCluster {
    cluster: Packed<Cluster>,
    /// Group and kind of its control plane, where that is of a kind that isn't watched.
    foreign_control_plane: Option<Box<(String, String)>>,
    /// The label by which one of several controllers looks after it.
    watch_filter: Option<Box<str>>,
    /// Which release it is pinned to at which version.
    pinned: Box<str>,
}

impl KeptCluster {
    pub(super) fn get(&self) -> Result<Arc<Cluster>, String> {
        self.cluster.get().map(Arc::new)
    }

    /// Group and kind of its control plane, where that is of another kind than kubeadm's.
    pub(super) fn foreign_control_plane(&self) -> Option<(&str, &str)> {
        let (group, kind) = self.foreign_control_plane.as_deref()?;
        Some((group, kind))
    }

    pub(super) fn watch_filter(&self) -> Option<&str> {
        self.watch_filter.as_deref()
    }

    pub(super) fn pinned(&self) -> &str {
        &self.pinned
    }

    fn new(cluster: Cluster) -> Self {
        let mut cluster = slim(cluster);
        let has_topology = cluster.spec.topology.is_some();
        if let Some(status) = &mut cluster.status {
            // Of a classic one it is asked whether its control plane was ever up, and of any what is wrong with it.
            let awaits = status.awaits_control_plane();
            status.conditions.retain(|condition| match condition.kind.as_str() {
                CONTROL_PLANE_INITIALIZED => awaits,
                kind if instar_planner::Cluster::HEALTH.contains(&kind) => condition.status != "True",
                _ => has_topology,
            });
        }
        let foreign = not_watched(&cluster);
        Self {
            foreign_control_plane: foreign.map(|to| Box::new((to.api_group.clone(), to.kind.clone()))),
            watch_filter: cluster.labels().get(WATCH_FILTER).map(|value| value.as_str().into()),
            pinned: pinned::text(&cluster),
            cluster: Packed::new(&cluster),
        }
    }
}

impl Entry for KeptCluster {
    type Group = Group;

    fn groups(&self, key: &Key) -> Vec<Group> {
        vec![Group::Cluster(key.clone()), Group::Namespace(key.namespace().into())]
    }

    fn groups_of_unreadable(key: &Key, unreadable: &Unreadable) -> Vec<Group> {
        <Cluster as Cached>::groups_of_unreadable(key, unreadable)
    }

    fn is_same(&self, other: &Self) -> bool {
        self == other
    }

    fn heap_bytes(&self) -> usize {
        let foreign = self.foreign_control_plane.as_deref();
        let foreign = foreign.map_or(0, |foreign| size_of_val(foreign) + foreign.0.len() + foreign.1.len());
        let watch_filter = self.watch_filter.as_ref().map_or(0, |value| value.len());
        foreign + watch_filter + self.pinned.len() + self.cluster.heap_bytes()
    }
}

impl Kept for KeptCluster {
    type Object = Guarded<Cluster>;

    fn keep(object: Self::Object) -> Row<Self> {
        Row::of(object, Self::new)
    }
}

impl Cached for Cluster {
    const WATCHED: Watched = Watched::Clusters;

    type Kept = KeptCluster;

    fn cache(caches: &Caches) -> &Arc<Cache<Self::Kept>> {
        &caches.clusters
    }

    fn groups_of_unreadable(key: &Key, _: &Unreadable) -> Vec<Group> {
        vec![Group::Cluster(key.clone()), Group::Namespace(key.namespace().into())]
    }
}

impl Cached for ClusterUpgrade {
    const WATCHED: Watched = Watched::ClusterUpgrades;
    const PRESENCE: Presence = Presence::DEFINITIONS;

    type Kept = Object<Self>;

    fn cache(caches: &Caches) -> &Arc<Cache<Self::Kept>> {
        &caches.upgrades
    }

    /// Its status is what the controller itself writes, and wakes only where that ends the upgrade or where it is to
    /// be put right.
    fn is_news(before: &Self::Kept, now: &Self::Kept) -> bool {
        let (before, now) = (before.as_object(), now.as_object());
        let spec_and_metadata = |upgrade: &Self| {
            let metadata = &upgrade.metadata;
            ObjectMeta {
                resource_version: None,
                ..metadata.clone()
            }
        };
        let finished = |upgrade: &Self| (finished_phase(upgrade), finished_marker(upgrade));
        spec_and_metadata(before) != spec_and_metadata(now) || finished(before) != finished(now)
    }
}

impl Whole for ClusterUpgrade {
    fn groups(&self, key: &Key) -> Vec<Group> {
        vec![of_cluster(key, &self.spec.cluster_name)]
    }
}

/// The groups of the upgrades that aren't over.
pub(super) fn groups_of_open(upgrades: &Index<Object<ClusterUpgrade>>) -> Vec<Group> {
    let open = upgrades
        .entries()
        .filter(|(_, upgrade)| finished_phase(upgrade.as_object()).is_none());
    open.flat_map(|(key, upgrade)| Entry::groups(upgrade, key)).collect()
}

impl Cached for UpgradePolicy {
    const WATCHED: Watched = Watched::UpgradePolicies;
    const PRESENCE: Presence = Presence::DEFINITIONS;

    type Kept = Object<Self>;

    fn cache(caches: &Caches) -> &Arc<Cache<Self::Kept>> {
        &caches.policies
    }

    fn groups_of_unreadable(key: &Key, _: &Unreadable) -> Vec<Group> {
        vec![Group::Namespace(key.namespace().into())]
    }

    /// A policy may be about any Cluster of its namespace.
    fn changed(caches: &Caches, groups: &[Group]) {
        for group in groups {
            let clusters = caches.clusters.read();
            let keys = clusters
                .group(group)
                .map(|(cluster, _)| Group::Cluster(cluster.clone()));
            wake_groups(&caches.wake, &keys.collect::<Vec<_>>());
        }
    }
}

impl Whole for UpgradePolicy {
    fn groups(&self, key: &Key) -> Vec<Group> {
        vec![Group::Namespace(key.namespace().into())]
    }
}

impl Cached for KubernetesRelease {
    const WATCHED: Watched = Watched::KubernetesReleases;
    const PRESENCE: Presence = Presence::DEFINITIONS;

    type Kept = Object<Self>;

    fn cache(caches: &Caches) -> &Arc<Cache<Self::Kept>> {
        &caches.releases
    }

    fn groups_of_unreadable(_: &Key, _: &Unreadable) -> Vec<Group> {
        Vec::new()
    }

    /// Any upgrade that goes on may wait for a release.
    fn changed(caches: &Caches, _: &[Group]) {
        caches.renew_catalogs();
        caches.wake_open();
    }
}

impl Whole for KubernetesRelease {
    fn groups(&self, _: &Key) -> Vec<Group> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use instar_api::UpgradePhase;
    use kube::runtime::watcher::Event;
    use serde_json::{Value, json};

    use super::*;

    fn kept(edit: impl FnOnce(&mut Value)) -> Object<ClusterUpgrade> {
        let mut object = json!({
            "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
            "kind": "ClusterUpgrade",
            "metadata": { "name": "up", "namespace": "n", "uid": "1", "generation": 2, "resourceVersion": "10",
                          "annotations": {}, "labels": {} },
            "spec": { "clusterName": "c", "target": "v1.34" },
            "status": { "phase": "Workers", "observedGeneration": 2 },
        });
        edit(&mut object);
        Object::new(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn what_only_its_status_says_wakes_no_cluster_before_the_end() {
        type Edit = fn(&mut Value);
        let table: [(&str, Edit, bool); 10] = [
            ("the same", |_| {}, false),
            ("a step", |up| up["status"]["step"] = json!("Minting"), false),
            ("another phase", |up| up["status"]["phase"] = json!("Held"), false),
            (
                "an annotation that isn't read",
                |up| up["metadata"]["annotations"] = json!({ "a": "b" }),
                false,
            ),
            ("the end", |up| up["status"]["phase"] = json!("Completed"), true),
            ("the other end", |up| up["status"]["phase"] = json!("Refused"), true),
            ("the spec", |up| up["metadata"]["generation"] = json!(3), true),
            ("a label", |up| up["metadata"]["labels"] = json!({ "a": "b" }), true),
            (
                "a deletion",
                |up| up["metadata"]["deletionTimestamp"] = json!("2026-11-20T12:00:00Z"),
                true,
            ),
            (
                "another of the same name",
                |up| up["metadata"]["uid"] = json!("2"),
                true,
            ),
        ];
        let before = kept(|_| {});
        for (what, edit, wakes) in table {
            let now = kept(|up| {
                up["metadata"]["resourceVersion"] = json!("11");
                edit(up);
            });
            assert_eq!(ClusterUpgrade::is_news(&before, &now), wakes, "{what}");
        }
    }

    #[test]
    fn the_catalog_concerns_upgrades_that_are_not_over() {
        let mut upgrades = Index::default();
        for (name, cluster, phase) in [("a", "c", "Completed"), ("b", "c", "Held"), ("d", "e", "Completed")] {
            let upgrade = kept(|up| {
                up["metadata"]["name"] = json!(name);
                up["spec"]["clusterName"] = json!(cluster);
                up["status"]["phase"] = json!(phase);
            });
            let row = Row {
                key: Key::new("n", name),
                read: Ok(upgrade),
            };
            let _ = upgrades.apply(Event::Apply(row));
        }
        assert_eq!(groups_of_open(&upgrades), [Group::Cluster(Key::new("n", "c"))]);
    }

    #[test]
    fn a_record_that_is_over_and_loses_its_status_wakes() {
        let over = |up: &mut Value| {
            up["status"]["phase"] = json!(UpgradePhase::Completed);
            up["metadata"]["annotations"] = json!({ FINISHED_ANNOTATION: "Completed" });
        };
        let before = kept(over);
        let lost = kept(|up| {
            over(up);
            up["status"] = Value::Null;
        });
        assert!(ClusterUpgrade::is_news(&before, &lost));
        let listed = kept(|up| {
            over(up);
            up["status"]["templates"] = json!([]);
        });
        assert!(!ClusterUpgrade::is_news(&before, &listed));
    }
}
