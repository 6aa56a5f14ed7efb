//! What the admission server knows: a watch of each kind, and of each object what admission reads.
//!
//! Whole objects would take ten times the memory, and most of it is what other controllers wrote
//! about themselves. Everything that is asked is found by a key or a group, so that an answer costs
//! what is in it, not what the fleet has.

mod fill;
mod foreign;
mod group;
mod kept;
mod observed;
mod templates;

use std::sync::Arc;

use instar_capi::{Machine, MachineDeployment, MachinePool, MachineSet};
use instar_catalog::Catalogs;
use instar_serve::{Metrics, Readiness};
use instar_watch::{
    Cache, CurrentCatalogs, FirstAnswers, Hooks, KeptSink, Namespaces, Row, Target, Watch, WatchHealth, WatchMetrics,
    config, watch_kind,
};
use jiff::Timestamp;
use kube::Client;
use tokio::task::JoinSet;

use crate::rbac::Watched;
pub use fill::NotAnObject;
use foreign::ForeignControlPlanes;
use kept::{Cached, Class, Cluster, ControlPlane, Policy, Release, Upgrade, Worker};
use templates::Templates;

/// What readiness and metrics call the kinds of templates.
const TEMPLATES: &str = "templates";

/// What metrics call the kinds of control planes but for kubeadm's.
const CONTROL_PLANES: &str = "controlplanes";

/// A page of a list of whole objects of providers: some are large.
const PAGE: u32 = 50;

/// The caches.
#[derive(Debug)]
pub struct Caches {
    clusters: Arc<Cache<Cluster>>,
    classes: Arc<Cache<Class>>,
    control_planes: Arc<Cache<ControlPlane>>,
    deployments: Arc<Cache<Worker<MachineDeployment>>>,
    sets: Arc<Cache<Worker<MachineSet>>>,
    pools: Arc<Cache<Worker<MachinePool>>>,
    machines: Arc<Cache<Worker<Machine>>>,
    releases: Arc<Cache<Release>>,
    upgrades: Arc<Cache<Upgrade>>,
    policies: Arc<Cache<Policy>>,
    foreign_control_planes: ForeignControlPlanes,
    templates: Templates,
    /// Made when a release changes, and handed out as they are.
    catalogs: CurrentCatalogs,
    /// Where no API server fills the caches, the time stands still.
    fixed_time: Option<Timestamp>,
}

impl Default for Caches {
    fn default() -> Self {
        let templates = Templates::default();
        Self {
            clusters: Arc::default(),
            classes: Arc::default(),
            control_planes: Arc::default(),
            deployments: Arc::default(),
            sets: Arc::default(),
            pools: Arc::default(),
            machines: Arc::default(),
            releases: Arc::default(),
            upgrades: Arc::default(),
            policies: Arc::default(),
            foreign_control_planes: ForeignControlPlanes::new(&templates),
            templates,
            catalogs: CurrentCatalogs::default(),
            fixed_time: None,
        }
    }
}

/// What the watches are of.
#[derive(Clone, Copy, Debug)]
pub enum Watches {
    /// A kind that is watched from the start.
    Of(Watched),
    /// The kinds of control planes but for kubeadm's.
    OfControlPlanes,
    /// The kinds of templates.
    OfTemplates,
}

impl Watches {
    /// As a message names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Of(kind) => kind.rule().resource,
            Self::OfControlPlanes => CONTROL_PLANES,
            Self::OfTemplates => TEMPLATES,
        }
    }
}

/// Registers what the watches tell.
#[must_use]
pub fn register(metrics: &Metrics) -> WatchMetrics {
    let kinds = Watched::ALL.map(|kind| kind.rule().resource);
    WatchMetrics::register(metrics, kinds.into_iter().chain([CONTROL_PLANES, TEMPLATES]))
}

impl Caches {
    /// Starts the watches. They never end by themselves; each is a part of `readiness` until its
    /// first list is in, and while it is old.
    pub fn start(self: &Arc<Self>, client: &Client, readiness: &Readiness, metrics: &WatchMetrics) -> JoinSet<Watches> {
        let lists = Watched::ALL.map(|watched| watched.rule().resource);
        let answers = FirstAnswers::new(readiness, TEMPLATES, lists.to_vec());
        self.foreign_control_planes.await_in(&answers);
        self.templates.await_in(&answers);
        let mut starting = Starting {
            caches: self,
            watches: JoinSet::new(),
            client,
            readiness,
            metrics,
            answers,
        };
        for kind in Watched::ALL {
            match kind {
                Watched::Clusters => starting.watch::<Cluster>(),
                Watched::ClusterClasses => starting.watch::<Class>(),
                Watched::KubeadmControlPlanes => starting.watch::<ControlPlane>(),
                Watched::MachineDeployments => starting.watch::<Worker<MachineDeployment>>(),
                Watched::MachineSets => starting.watch::<Worker<MachineSet>>(),
                Watched::MachinePools => starting.watch::<Worker<MachinePool>>(),
                Watched::Machines => starting.watch::<Worker<Machine>>(),
                Watched::KubernetesReleases => starting.watch::<Release>(),
                Watched::ClusterUpgrades => starting.watch::<Upgrade>(),
                Watched::UpgradePolicies => starting.watch::<Policy>(),
            }
        }
        let control_planes = self.foreign_control_planes.run(client, metrics);
        starting.watches.spawn(async {
            control_planes.await;
            Watches::OfControlPlanes
        });
        let templates = self.templates.run(client, metrics);
        starting.watches.spawn(async {
            templates.await;
            Watches::OfTemplates
        });
        starting.watches
    }

    /// Makes the catalogs again. A row that can't be used is named when it turns so.
    fn renew_catalogs(&self) {
        let releases = self.releases.read();
        let rows = releases.entries().map(|(key, row)| (key.as_str(), row.spec()));
        let catalogs = Catalogs::new(rows);
        drop(releases);
        self.catalogs.replace(catalogs);
    }

    fn sink<K: Cached>(self: &Arc<Self>) -> KeptSink<K, CacheHooks> {
        KeptSink {
            cache: Arc::clone(K::cache(self)),
            kind: K::KIND.rule().resource.to_owned(),
            hooks: CacheHooks(Arc::clone(self)),
        }
    }
}

struct Starting<'a> {
    caches: &'a Arc<Caches>,
    watches: JoinSet<Watches>,
    client: &'a Client,
    readiness: &'a Readiness,
    metrics: &'a WatchMetrics,
    answers: Arc<FirstAnswers>,
}

impl Starting<'_> {
    fn watch<K: Cached>(&mut self) {
        let resource = K::KIND.rule().resource;
        let health = WatchHealth::new(resource, self.metrics, Some(self.readiness.part(resource)));
        let watch = Watch {
            client: self.client.clone(),
            target: Target::of::<K::Object>(),
            config: match K::SELECTOR {
                "" => config(),
                selector => config().labels(selector),
            },
            presence: K::PRESENCE,
            health: health.settling(&self.answers),
        };
        let mut sink = self.caches.sink::<K>();
        self.watches.spawn(async move {
            watch_kind(watch, &Namespaces::All, &mut sink).await;
            Watches::Of(K::KIND)
        });
    }
}

/// What the events of a kind change beside its own cache.
struct CacheHooks(Arc<Caches>);

impl<K: Cached> Hooks<K> for CacheHooks {
    fn arriving(&self, row: &mut Row<K>) {
        if let Ok(entry) = &mut row.read {
            entry.lease(&self.0);
        }
    }

    fn changed(&self, _: &[K::Group]) {
        K::changed(&self.0);
    }
}

#[cfg(test)]
mod tests;
