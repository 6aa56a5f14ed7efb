//! What is kept of a ClusterClass: which catalog its Clusters have.

use std::sync::Arc;

use instar_api::{CATALOG_LABEL, CatalogName};
use instar_capi::{Cluster, ClusterClass};
use instar_catalog::Catalog;
use instar_watch::{Cache, Entry, Guarded, Kept, Key, Namespaces, Row, Unreadable};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Cached, Caches, Group};
use crate::rbac::Watched;

/// Of a ClusterClass: the label that names its catalog.
#[derive(Debug, PartialEq)]
pub(crate) struct KeptClass(ObjectMeta);

impl KeptClass {
    fn new(metadata: ObjectMeta) -> Self {
        let mut labels = metadata.labels.unwrap_or_default();
        labels.retain(|name, _| name == CATALOG_LABEL);
        Self(ObjectMeta {
            labels: (!labels.is_empty()).then_some(labels),
            ..ObjectMeta::default()
        })
    }
}

impl Entry for KeptClass {
    type Group = Group;

    fn groups(&self, key: &Key) -> Vec<Group> {
        vec![Group::Namespace(key.namespace().into())]
    }

    fn groups_of_unreadable(key: &Key, _: &Unreadable) -> Vec<Group> {
        vec![Group::Namespace(key.namespace().into())]
    }

    fn is_same(&self, other: &Self) -> bool {
        self == other
    }

    fn heap_bytes(&self) -> usize {
        let labels = self.0.labels.iter().flatten();
        labels.map(|(name, value)| name.len() + value.len()).sum()
    }
}

impl Kept for KeptClass {
    type Object = Guarded<ClusterClass>;

    fn keep(object: Self::Object) -> Row<Self> {
        Row::of(object, |class| Self::new(class.metadata))
    }
}

impl Cached for ClusterClass {
    const WATCHED: Watched = Watched::ClusterClasses;

    type Kept = KeptClass;

    fn cache(caches: &Caches) -> &Arc<Cache<Self::Kept>> {
        &caches.classes
    }

    /// A Cluster may name a class of another namespace, and without it its catalog would be taken for another one.
    fn namespaces(_: &Namespaces) -> Namespaces {
        Namespaces::All
    }

    fn is_news(before: &Self::Kept, now: &Self::Kept) -> bool {
        before != now
    }

    /// An upgrade of any of its Clusters may go to another release.
    fn changed(caches: &Caches, groups: &[Group]) {
        if !groups.is_empty() {
            caches.wake_open();
        }
    }
}

impl Caches {
    /// The rows of a Cluster's catalog.
    pub(crate) fn catalog_of(&self, cluster: &Cluster) -> Arc<Catalog> {
        self.catalogs.of(&self.catalog_name(cluster))
    }

    fn catalog_name(&self, cluster: &Cluster) -> CatalogName {
        let metadata = &cluster.metadata;
        let own = metadata.labels.as_ref();
        let Some(topology) = &cluster.spec.topology else {
            return CatalogName::of_cluster(own, None);
        };
        let reference = &topology.class_ref;
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let key = Key::new(reference.namespace_or(namespace), &reference.name);
        let classes = self.classes.read();
        let kept = classes.get(&key).map(|class| &class.0);
        // One whose spec can't be decoded has its metadata all the same.
        let class = kept.or_else(|| classes.unreadable(&key).map(|class| &class.metadata));
        CatalogName::of_cluster(own, class)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn nothing_but_the_catalog_is_kept() {
        let kept = |metadata: Value| {
            let class = json!({ "metadata": metadata, "spec": { "kubernetesVersions": ["v1.34.3"] } });
            let class: ClusterClass = serde_json::from_value(class).unwrap();
            KeptClass::new(class.metadata)
        };
        let named = kept(json!({ "name": "c", "labels": { CATALOG_LABEL: "flatcar", "team": "a" } }));
        assert_eq!(CatalogName::of_cluster(None, Some(&named.0)).as_str(), "flatcar");
        assert_eq!(
            named,
            kept(json!({ "name": "c", "labels": { CATALOG_LABEL: "flatcar" } }))
        );
        assert_ne!(named, kept(json!({ "name": "c" })));
    }
}
