//! What the controller knows: a watch of each kind, and of each object what is read, by Cluster.
//!
//! An event costs what its own Cluster costs, not what the fleet does.

mod classes;
mod control_planes;
mod fleet;
mod infrastructure_pools;
mod kept;
mod machines;
mod packed;
mod parts;
mod pinned;
mod templates;

use std::{collections::BTreeSet, marker::PhantomData, sync::Arc};

use futures::future::BoxFuture;
use instar_api::{ClusterUpgrade, KubernetesRelease, UpgradePolicy};
use instar_capi::{
    Cluster, ClusterClass, KubeadmControlPlane, Machine, MachineDeployment, MachinePool, MachineSet,
    labels::WATCH_FILTER,
};
use instar_catalog::Catalogs;
use instar_planner::{Observed, Unreadable, Unversioned};
use instar_serve::Readiness;
use instar_watch::{
    Cache, CurrentCatalogs, DynamicKept, DynamicWatches, Entry, Guarded, Hooks, KeptSink, Key, Lookup, Namespaces,
    ScopeOf, Sink, Target, Watch, WatchHealth, WatchMetrics, WatchState, config, watch_kind,
};
use kube::{Client, runtime::watcher::Event};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{
    mpsc::{UnboundedSender, unbounded_channel},
    watch,
};

use crate::{rbac::Watched, scope::WatchFilter};
use classes::KeptClass;
pub(crate) use control_planes::ForeignControlPlane;
pub(crate) use infrastructure_pools::KeptInfrastructurePool;
pub(crate) use kept::{Cached, Group, KeptCluster, Object, Whole, lifecycle, not_watched, tells_of_trouble};
pub(crate) use machines::{DEPLOYMENT_LABEL, KeptMachine};
pub(crate) use parts::{KeptPart, PlannedKind};
pub(crate) use pinned::Pinned;
pub(crate) use templates::TemplateMetadata;

/// Where Clusters to look at are sent.
pub(crate) type Wake = UnboundedSender<Key>;

/// The caches.
#[derive(Debug)]
pub(crate) struct Caches {
    clusters: Arc<Cache<KeptCluster>>,
    /// Of topology Clusters the class names the catalog.
    classes: Arc<Cache<KeptClass>>,
    control_planes: Arc<Cache<KeptPart<KubeadmControlPlane>>>,
    deployments: Arc<Cache<KeptPart<MachineDeployment>>>,
    sets: Arc<Cache<KeptPart<MachineSet>>>,
    machine_pools: Arc<Cache<KeptPart<MachinePool>>>,
    machines: Arc<Cache<KeptMachine>>,
    releases: Arc<Cache<Object<KubernetesRelease>>>,
    upgrades: Arc<Cache<Object<ClusterUpgrade>>>,
    policies: Arc<Cache<Object<UpgradePolicy>>>,
    /// The templates of Clusters of which something is or was asked.
    pub(crate) templates: Arc<DynamicWatches<TemplateMetadata>>,
    /// Their control planes, but for kubeadm's.
    pub(crate) foreign_control_planes: Arc<DynamicWatches<ForeignControlPlane>>,
    /// What makes the machines of their MachinePools.
    pub(crate) infrastructure_pools: Arc<DynamicWatches<KeptInfrastructurePool>>,
    catalogs: CurrentCatalogs,
    /// Notified of every change.
    changes: watch::Sender<()>,
    wake: Wake,
}

/// What readiness and metrics call the kinds that are found by references.
pub(crate) const TEMPLATES: &str = "templates";
pub(crate) const CONTROL_PLANES: &str = "controlplanes";
pub(crate) const INFRASTRUCTURE_POOLS: &str = "infrastructuremachinepools";

/// A page of a list of whole objects of a kind that may be large.
const PAGE: u32 = 50;

/// A future that ends with what it watches, and never should.
type Watching = BoxFuture<'static, &'static str>;

impl Caches {
    /// The caches, and the watches that fill them for as long as they are polled.
    pub(crate) fn watched(
        client: &Client,
        namespaces: &Namespaces,
        wake: &Wake,
        readiness: &Readiness,
        metrics: &WatchMetrics,
    ) -> (Arc<Self>, Vec<Watching>) {
        let caches = Self::empty(wake);
        let starting = Starting {
            caches: &caches,
            client,
            namespaces,
            readiness,
            metrics,
        };
        let watches = Watched::ALL.map(|kind| match kind {
            Watched::Clusters => starting.watch::<Cluster>(),
            Watched::ClusterClasses => starting.watch::<ClusterClass>(),
            Watched::KubeadmControlPlanes => starting.watch::<KubeadmControlPlane>(),
            Watched::MachineDeployments => starting.watch::<MachineDeployment>(),
            Watched::MachineSets => starting.watch::<MachineSet>(),
            Watched::MachinePools => starting.watch::<MachinePool>(),
            Watched::Machines => starting.watch::<Machine>(),
            Watched::KubernetesReleases => starting.watch::<KubernetesRelease>(),
            Watched::ClusterUpgrades => starting.watch::<ClusterUpgrade>(),
            Watched::UpgradePolicies => starting.watch::<UpgradePolicy>(),
        });
        let mut watches = Vec::from(watches);
        watches.push(starting.watch_referred(&caches.templates, TEMPLATES));
        watches.push(starting.watch_referred(&caches.foreign_control_planes, CONTROL_PLANES));
        watches.push(starting.watch_referred(&caches.infrastructure_pools, INFRASTRUCTURE_POOLS));
        (caches, watches)
    }

    /// Caches in which nothing is known yet.
    fn empty(wake: &Wake) -> Arc<Self> {
        Arc::new(Self {
            clusters: Arc::default(),
            classes: Arc::default(),
            control_planes: Arc::default(),
            deployments: Arc::default(),
            sets: Arc::default(),
            machine_pools: Arc::default(),
            machines: Arc::default(),
            releases: Arc::default(),
            upgrades: Arc::default(),
            policies: Arc::default(),
            templates: Arc::new(DynamicWatches::new(TEMPLATES)),
            foreign_control_planes: Arc::new(DynamicWatches::new(CONTROL_PLANES)),
            infrastructure_pools: Arc::new(DynamicWatches::new(INFRASTRUCTURE_POOLS)),
            catalogs: CurrentCatalogs::default(),
            changes: watch::Sender::default(),
            wake: wake.clone(),
        })
    }

    /// Caches of these objects alone, as if their API server had listed them.
    pub(crate) fn of_objects(objects: &[Value]) -> Arc<Self> {
        // No one is to be woken.
        let (wake, _) = unbounded_channel();
        let caches = Self::empty(&wake);
        for kind in Watched::ALL {
            match kind {
                Watched::Clusters => caches.fill::<Cluster>(objects),
                Watched::ClusterClasses => caches.fill::<ClusterClass>(objects),
                Watched::KubeadmControlPlanes => caches.fill::<KubeadmControlPlane>(objects),
                Watched::MachineDeployments => caches.fill::<MachineDeployment>(objects),
                Watched::MachineSets => caches.fill::<MachineSet>(objects),
                Watched::MachinePools => caches.fill::<MachinePool>(objects),
                Watched::Machines => caches.fill::<Machine>(objects),
                Watched::KubernetesReleases => caches.fill::<KubernetesRelease>(objects),
                Watched::ClusterUpgrades => caches.fill::<ClusterUpgrade>(objects),
                Watched::UpgradePolicies => caches.fill::<UpgradePolicy>(objects),
            }
        }
        caches
    }

    fn fill<K: Cached>(self: &Arc<Self>, objects: &[Value]) {
        let mut sink = KeptSink {
            cache: Arc::clone(K::cache(self)),
            kind: K::WATCHED.rule().resource.to_owned(),
            hooks: CacheHooks(Arc::clone(self), PhantomData::<K>),
        };
        sink.apply(Event::Init);
        for object in objects
            .iter()
            .filter(|object| is_of_kind(object, &K::group(&()), &K::kind(&())))
        {
            // What is no object at all has no name to be known by.
            if let Ok(object) = Guarded::<K>::deserialize(object) {
                sink.apply(Event::InitApply(object));
            }
        }
        sink.apply(Event::InitDone);
    }

    /// Waits until every kind is listed: what isn't known yet must not count as absent.
    pub(crate) async fn listed(&self) {
        let mut changes = self.changes.subscribe();
        while self.unlisted().is_some() {
            // The sender is here, so the channel is open.
            let _ = changes.changed().await;
        }
    }

    /// A kind of whose objects nothing is known, if there is one. Without it nothing may be decided: what it has
    /// would count as absent.
    pub(crate) fn unlisted(&self) -> Option<Watched> {
        let state = |kind| match kind {
            Watched::Clusters => self.clusters.state(),
            Watched::ClusterClasses => self.classes.state(),
            Watched::KubeadmControlPlanes => self.control_planes.state(),
            Watched::MachineDeployments => self.deployments.state(),
            Watched::MachineSets => self.sets.state(),
            Watched::MachinePools => self.machine_pools.state(),
            Watched::Machines => self.machines.state(),
            Watched::KubernetesReleases => self.releases.state(),
            Watched::ClusterUpgrades => self.upgrades.state(),
            Watched::UpgradePolicies => self.policies.state(),
        };
        Watched::ALL.into_iter().find(|kind| match state(*kind) {
            WatchState::Watching | WatchState::NotServed => false,
            WatchState::Pending | WatchState::Unavailable(_) => true,
        })
    }

    /// A Cluster.
    pub(crate) fn cluster(&self, cluster: &Key) -> Lookup<Arc<Cluster>> {
        match self.clusters.look_up(cluster, KeptCluster::get) {
            Lookup::Present(Ok(cluster)) => Lookup::Present(cluster),
            Lookup::Present(Err(why)) | Lookup::Unreadable(why) => Lookup::Unreadable(why),
            Lookup::Absent => Lookup::Absent,
            Lookup::Pending => Lookup::Pending,
            Lookup::Unavailable(why) => Lookup::Unavailable(why),
            Lookup::Unwatched => Lookup::Unwatched,
        }
    }

    /// Whether a Cluster is looked after under this filter. One that isn't there is: each record of it says by its own label
    /// whose it is.
    pub(crate) fn is_taken(&self, filter: &WatchFilter, cluster: &Key) -> bool {
        let clusters = self.clusters.read();
        match (clusters.get(cluster), clusters.unreadable(cluster)) {
            (Some(kept), _) => filter.takes(kept.watch_filter()),
            (None, Some(unreadable)) => {
                let labels = unreadable.metadata.labels.as_ref();
                filter.takes(labels.and_then(|labels| labels.get(WATCH_FILTER)).map(String::as_str))
            }
            (None, None) => true,
        }
    }

    /// The objects of a Cluster, by name, but for those that can't be decoded.
    pub(crate) fn of<K: Whole>(&self, cluster: &Key) -> Vec<Arc<K>> {
        self.group(&Group::Cluster(cluster.clone()))
    }

    /// The objects of a Cluster that can't be decoded.
    pub(crate) fn unreadable<K: Cached>(&self, cluster: &Key) -> Vec<Unreadable> {
        self.unreadable_in::<K>(&Group::Cluster(cluster.clone()))
    }

    /// What is read of what is kept of the objects of a Cluster, but for those that can't be decoded.
    pub(crate) fn each<K: Cached, T>(&self, cluster: &Key, read: impl Fn(&Key, &K::Kept) -> Option<T>) -> Vec<T> {
        let index = K::cache(self).read();
        let objects = index.group(&Group::Cluster(cluster.clone()));
        objects.filter_map(|(key, kept)| read(key, kept)).collect()
    }

    /// The same, and those that can't be decoded.
    pub(crate) fn observe<K: Cached, T>(
        &self,
        cluster: &Key,
        read: impl Fn(&Key, &K::Kept) -> Option<Observed<T>>,
    ) -> Vec<Observed<T>> {
        let mut objects = self.each::<K, _>(cluster, read);
        objects.extend(self.unreadable::<K>(cluster).into_iter().map(Observed::Invalid));
        objects
    }

    /// All objects of a Cluster, as the planner takes them; and those that have no version.
    pub(crate) fn parts<K: PlannedKind>(&self, cluster: &Key) -> (Vec<Observed<K::Part>>, Vec<Unversioned>) {
        let (mut parts, mut unversioned) = (Vec::new(), Vec::new());
        for part in self.each::<K, _>(cluster, |key, kept| Some(kept.observed(key))) {
            match part {
                Ok(part) => parts.push(part),
                Err(object) => unversioned.push(object),
            }
        }
        parts.extend(self.unreadable::<K>(cluster).into_iter().map(Observed::Invalid));
        (parts, unversioned)
    }

    /// Whether what is kept of any object of a Cluster is so.
    pub(crate) fn any<K: Cached>(&self, cluster: &Key, is: impl Fn(&K::Kept) -> bool) -> bool {
        let index = K::cache(self).read();
        index.group(&Group::Cluster(cluster.clone())).any(|(_, kept)| is(kept))
    }

    /// The release of that name, be it of whatever catalog.
    pub(crate) fn release(&self, name: &str) -> Option<Arc<KubernetesRelease>> {
        let found = self.releases.look_up(&Key::new("", name), Object::get);
        if let Lookup::Present(release) = found {
            Some(release)
        } else {
            None
        }
    }

    /// The `ClusterUpgrade` of that name, be it of whatever Cluster.
    pub(crate) fn upgrade(&self, upgrade: &Key) -> Option<Arc<ClusterUpgrade>> {
        if let Lookup::Present(upgrade) = self.upgrades.look_up(upgrade, Object::get) {
            Some(upgrade)
        } else {
            None
        }
    }

    /// All `ClusterUpgrade`s, to be counted.
    pub(crate) fn upgrade_cache(&self) -> Arc<Cache<Object<ClusterUpgrade>>> {
        Arc::clone(&self.upgrades)
    }

    /// The policies of a namespace.
    pub(crate) fn policies(&self, namespace: &str) -> Vec<Arc<UpgradePolicy>> {
        self.group(&Group::Namespace(namespace.into()))
    }

    /// The policies of a namespace that can't be decoded.
    pub(crate) fn unreadable_policies(&self, namespace: &str) -> Vec<Unreadable> {
        self.unreadable_in::<UpgradePolicy>(&Group::Namespace(namespace.into()))
    }

    /// The kinds of the control planes that Clusters of a namespace refer to, but for kubeadm's: group and kind.
    pub(crate) fn foreign_control_plane_kinds(&self, namespace: &str) -> BTreeSet<(String, String)> {
        let clusters = self.clusters.read();
        let clusters = clusters.group(&Group::Namespace(namespace.into()));
        let kinds = clusters.filter_map(|(_, cluster)| cluster.foreign_control_plane());
        kinds.map(|(group, kind)| (group.to_owned(), kind.to_owned())).collect()
    }

    /// Wakes every Cluster, and every one of which something is asked, be it there or not.
    pub(crate) fn wake_all(&self) {
        wake_groups(&self.wake, self.clusters.read().groups());
        wake_groups(&self.wake, self.upgrades.read().groups());
    }

    /// Wakes every Cluster that has an upgrade which isn't over: of one that is, nothing is decided by the catalog.
    pub(crate) fn wake_open(&self) {
        let open = kept::groups_of_open(&self.upgrades.read());
        wake_groups(&self.wake, &open);
    }

    fn group<K: Whole>(&self, group: &Group) -> Vec<Arc<K>> {
        let index = K::cache(self).read();
        index.group(group).map(|(_, object)| object.get()).collect()
    }

    fn unreadable_in<K: Cached>(&self, group: &Group) -> Vec<Unreadable> {
        let index = K::cache(self).read();
        let objects = index.unreadable_in(group);
        objects
            .map(|(key, object)| unreadable(&K::kind(&()), key.name(), &object.error))
            .collect()
    }

    fn renew_catalogs(&self) {
        let releases = self.releases.read();
        let rows = releases
            .entries()
            .map(|(key, row)| (key.as_str(), &row.as_object().spec));
        let catalogs = Catalogs::new(rows);
        drop(releases);
        self.catalogs.replace(catalogs);
    }
}

struct Starting<'a> {
    caches: &'a Arc<Caches>,
    client: &'a Client,
    namespaces: &'a Namespaces,
    readiness: &'a Readiness,
    metrics: &'a WatchMetrics,
}

impl Starting<'_> {
    fn watch<K: Cached>(&self) -> Watching {
        let resource = K::WATCHED.rule().resource;
        let watch = Watch {
            client: self.client.clone(),
            target: Target::of::<K>(),
            config: config(),
            presence: K::PRESENCE,
            health: WatchHealth::new(resource, self.metrics, Some(self.readiness.part(resource))),
        };
        let mut sink = KeptSink {
            cache: Arc::clone(K::cache(self.caches)),
            kind: resource.to_owned(),
            hooks: CacheHooks(Arc::clone(self.caches), PhantomData::<K>),
        };
        let namespaces = K::Scope::within(K::namespaces(self.namespaces));
        Box::pin(async move {
            watch_kind(watch, &namespaces, &mut sink).await;
            resource
        })
    }

    /// Kinds that are found by references. What changes of their objects wakes the Clusters that these belong to.
    fn watch_referred<E: DynamicKept + Entry<Group = Group>>(
        &self,
        watches: &Arc<DynamicWatches<E>>,
        name: &'static str,
    ) -> Watching {
        let wake = self.caches.wake.clone();
        watches.on_change(move |groups| wake_groups(&wake, groups));
        watches.within(self.namespaces);
        let run = Arc::clone(watches).run(self.client.clone(), self.metrics.clone(), config().page_size(PAGE));
        Box::pin(async move {
            run.await;
            name
        })
    }
}

/// What the events of a kind change beside its own cache: they wake Clusters.
struct CacheHooks<K>(Arc<Caches>, PhantomData<K>);

impl<K: Cached> Hooks<K::Kept> for CacheHooks<K> {
    fn wants_groups(&self) -> bool {
        true
    }

    fn is_news(&self, before: &K::Kept, now: &K::Kept) -> bool {
        K::is_news(before, now)
    }

    fn changed(&self, groups: &[Group]) {
        self.0.changes.send_replace(());
        K::changed(&self.0, groups);
    }
}

/// Wakes the Clusters of these groups. The receiver is gone only when the process ends.
fn wake_groups<'g>(wake: &Wake, groups: impl IntoIterator<Item = &'g Group>) {
    for group in groups {
        match group {
            Group::Cluster(cluster) => drop(wake.send(cluster.clone())),
            Group::Namespace(_) => {}
        }
    }
}

/// Whether an object is of a kind, at whatever version.
pub(crate) fn is_of_kind(object: &Value, group: &str, kind: &str) -> bool {
    let text = |member| object.get(member).and_then(Value::as_str).unwrap_or_default();
    let its_group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
    its_group == group && text("kind") == kind
}

/// An object as it was read.
pub(crate) fn observed<T>(kind: &str, name: &str, read: Result<T, impl AsRef<str>>) -> Observed<T> {
    match read {
        Ok(part) => Observed::Read(part),
        Err(reason) => Observed::Invalid(unreadable(kind, name, reason.as_ref())),
    }
}

fn unreadable(kind: &str, name: &str, reason: &str) -> Unreadable {
    Unreadable {
        kind: kind.to_owned(),
        name: name.to_owned(),
        reason: reason.to_owned(),
    }
}
