//! What the controller knows: nine watches, of each object only what is read, by Cluster.
//!
//! An event costs what its own Cluster costs, not what the fleet does.

mod follow;
mod others;
mod table;

use std::sync::{Arc, PoisonError, RwLock};

use futures::future::BoxFuture;
use instar_api::{
    ClusterUpgrade, FINISHED_ANNOTATION, KubernetesRelease, RECORD_ANNOTATION, RELEASES_ANNOTATION,
    SWAP_HISTORY_ANNOTATION, UpgradePolicy, VERSION_ANNOTATION,
};
use instar_capi::labels::CLUSTER_NAME;
use instar_catalog::Catalog;
use instar_serve::{Metrics, Readiness};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Client, Resource, ResourceExt,
    runtime::{
        reflector::{ObjectRef, Store, store::Writer},
        watcher::Event,
    },
};
use tokio::sync::mpsc::UnboundedSender;

use crate::views::{Cluster, KubeadmControlPlane, Machine, MachineDeployment, MachinePool, MachineSet};
use follow::{Lists, Watch};
use others::Others;
use table::Table;

/// The annotation by which Cluster API pauses an object.
pub(crate) const PAUSED_ANNOTATION: &str = "cluster.x-k8s.io/paused";

/// Annotations that are read; all others are dropped.
const ANNOTATIONS: [&str; 6] = [
    PAUSED_ANNOTATION,
    SWAP_HISTORY_ANNOTATION,
    VERSION_ANNOTATION,
    FINISHED_ANNOTATION,
    RECORD_ANNOTATION,
    RELEASES_ANNOTATION,
];

/// Where Clusters to look at are sent.
pub(crate) type Wake = UnboundedSender<ObjectRef<Cluster>>;

/// An object that belongs to a Cluster of its namespace.
pub(crate) trait OfCluster: Resource<DynamicType = ()> {
    /// The Cluster's name.
    fn cluster(&self) -> Option<&str>;
}

/// The caches.
#[derive(Debug)]
pub(crate) struct Caches {
    pub(crate) clusters: Store<Cluster>,
    pub(crate) control_planes: Table<KubeadmControlPlane>,
    pub(crate) deployments: Table<MachineDeployment>,
    pub(crate) sets: Table<MachineSet>,
    pub(crate) machine_pools: Table<MachinePool>,
    pub(crate) machines: Table<Machine>,
    pub(crate) upgrades: Table<ClusterUpgrade>,
    policies: Table<UpgradePolicy>,
    pub(crate) others: Others,
    releases: Table<KubernetesRelease>,
    catalog: RwLock<Arc<Catalog>>,
    lists: Lists,
}

impl Caches {
    /// The caches, and the watches that fill them for as long as they are polled.
    pub(crate) fn watched(
        client: &Client,
        wake: &Wake,
        readiness: &Readiness,
        metrics: &Metrics,
    ) -> (Arc<Self>, Vec<BoxFuture<'static, ()>>) {
        let writer = Writer::<Cluster>::default();
        let caches = Arc::new(Self {
            clusters: writer.as_reader(),
            control_planes: Table::default(),
            deployments: Table::default(),
            sets: Table::default(),
            machine_pools: Table::default(),
            machines: Table::default(),
            upgrades: Table::default(),
            policies: Table::default(),
            others: Others::default(),
            releases: Table::default(),
            catalog: RwLock::default(),
            lists: Lists::new(0),
        });
        let watch = Watch::new(client, readiness, metrics, &caches.lists);
        let watches = vec![
            caches.clusters_watch(&watch, wake, writer),
            caches.parts(&watch, wake, |caches| &caches.control_planes),
            caches.parts(&watch, wake, |caches| &caches.deployments),
            caches.parts(&watch, wake, |caches| &caches.sets),
            caches.parts(&watch, wake, |caches| &caches.machine_pools),
            caches.parts(&watch, wake, |caches| &caches.machines),
            caches.parts(&watch, wake, |caches| &caches.upgrades),
            caches.policy_watch(&watch, wake),
            caches.catalog_watch(&watch, wake),
        ];
        (caches, watches)
    }

    /// Waits until every first list is in: what isn't known yet must not count as absent.
    pub(crate) async fn listed(&self) {
        // The sender is here, so the channel is open.
        let _ = self.lists.subscribe().wait_for(|lists| *lists == 0).await;
    }

    /// The rows that exist.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Those that went are looked at too: what was asked of them is told so.
    fn clusters_watch(
        self: &Arc<Self>,
        watch: &Watch,
        wake: &Wake,
        mut writer: Writer<Cluster>,
    ) -> BoxFuture<'static, ()> {
        let (caches, wake) = (Arc::clone(self), wake.clone());
        watch.follow("clusters", move |event: Event<Cluster>| {
            let event = slim(event);
            writer.apply_watcher_event(&event);
            if let Event::Delete(cluster) = &event {
                caches.others.put(ObjectRef::from_obj(cluster), None);
            }
            match &event {
                Event::Apply(cluster) | Event::InitApply(cluster) | Event::Delete(cluster) => {
                    send(&wake, ObjectRef::from_obj(cluster));
                }
                Event::InitDone => caches.wake_asked(&wake),
                Event::Init => {}
            }
        })
    }

    fn parts<K>(self: &Arc<Self>, watch: &Watch, wake: &Wake, table: fn(&Self) -> &Table<K>) -> BoxFuture<'static, ()>
    where
        K: OfCluster + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
    {
        let (caches, wake) = (Arc::clone(self), wake.clone());
        let plural: &'static str = match K::plural(&()) {
            std::borrow::Cow::Borrowed(plural) => plural,
            // The derive writes it as a literal.
            std::borrow::Cow::Owned(_) => "objects",
        };
        watch.follow(plural, move |event: Event<K>| {
            for (namespace, cluster) in table(&caches).apply(slim(event)) {
                send(&wake, ObjectRef::new(&cluster).within(&namespace));
            }
        })
    }

    /// The policies of a namespace.
    pub(crate) fn policies(&self, namespace: &str) -> Vec<Arc<UpgradePolicy>> {
        self.policies.of(namespace, "")
    }

    fn policy_watch(self: &Arc<Self>, watch: &Watch, wake: &Wake) -> BoxFuture<'static, ()> {
        let (caches, wake) = (Arc::clone(self), wake.clone());
        watch.follow("upgradepolicies", move |event: Event<UpgradePolicy>| {
            let concerned = caches.policies.apply(slim(event));
            if concerned.is_empty() {
                return;
            }
            // Policies are few and seldom change, so nothing keeps Clusters by namespace.
            for cluster in caches.clusters.state() {
                let namespace = cluster.namespace().unwrap_or_default();
                if concerned.iter().any(|(concerned, _)| *concerned == namespace) {
                    send(&wake, ObjectRef::from_obj(cluster.as_ref()));
                }
            }
        })
    }

    fn catalog_watch(self: &Arc<Self>, watch: &Watch, wake: &Wake) -> BoxFuture<'static, ()> {
        let (caches, wake) = (Arc::clone(self), wake.clone());
        watch.follow("kubernetesreleases", move |event: Event<KubernetesRelease>| {
            let shows = !matches!(event, Event::Init | Event::InitApply(_));
            let _ = caches.releases.apply(slim(event));
            if shows {
                caches.renew_catalog();
                caches.wake_asked(&wake);
            }
        })
    }

    /// Wakes every Cluster of which something is asked, be it there or not.
    pub(crate) fn wake_asked(&self, wake: &Wake) {
        for (namespace, cluster) in self.upgrades.clusters() {
            send(wake, ObjectRef::new(&cluster).within(&namespace));
        }
    }

    fn renew_catalog(&self) {
        let releases = self.releases.all();
        let rows = releases
            .iter()
            .map(|release| (release.metadata.name.as_deref().unwrap_or_default(), &release.spec));
        let catalog = Catalog::new(rows);
        for row in catalog.unreadable() {
            tracing::warn!("release left out of the catalog: {row}");
        }
        *self.catalog.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalog);
    }
}

/// The receiver is gone only when the process ends.
fn send(wake: &Wake, cluster: ObjectRef<Cluster>) {
    let _ = wake.send(cluster);
}

/// Drops what nobody reads, which is most of it.
fn slim<K: Resource>(event: Event<K>) -> Event<K> {
    let bare = |mut object: K| {
        let metadata = object.meta_mut();
        let mut annotations = metadata.annotations.take().unwrap_or_default();
        annotations.retain(|name, _| ANNOTATIONS.contains(&name.as_str()));
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
    };
    match event {
        Event::Apply(object) => Event::Apply(bare(object)),
        Event::Delete(object) => Event::Delete(bare(object)),
        Event::InitApply(object) => Event::InitApply(bare(object)),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    }
}

impl OfCluster for KubeadmControlPlane {
    /// Cluster API puts the label on what a Cluster refers to.
    fn cluster(&self) -> Option<&str> {
        self.labels().get(CLUSTER_NAME).map(String::as_str)
    }
}

impl OfCluster for MachineDeployment {
    fn cluster(&self) -> Option<&str> {
        Some(&self.spec.cluster_name)
    }
}

impl OfCluster for MachineSet {
    fn cluster(&self) -> Option<&str> {
        Some(&self.spec.cluster_name)
    }
}

impl OfCluster for MachinePool {
    fn cluster(&self) -> Option<&str> {
        Some(&self.spec.cluster_name)
    }
}

impl OfCluster for Machine {
    fn cluster(&self) -> Option<&str> {
        Some(&self.spec.cluster_name)
    }
}

impl OfCluster for ClusterUpgrade {
    fn cluster(&self) -> Option<&str> {
        Some(&self.spec.cluster_name)
    }
}

impl OfCluster for UpgradePolicy {
    /// It is for all Clusters of its namespace.
    fn cluster(&self) -> Option<&str> {
        Some("")
    }
}

impl OfCluster for KubernetesRelease {
    /// The catalog is everybody's.
    fn cluster(&self) -> Option<&str> {
        Some("")
    }
}
