//! What the admission server knows: a watch of each kind, and of each object what admission reads.
//!
//! Whole objects would take ten times the memory, and most of it is what other controllers wrote
//! about themselves. Everything that is asked is found by a key or a group, so that an answer costs
//! what is in it, not what the fleet has.

mod follow;
mod index;
mod kept;
mod metrics;
mod observed;
mod templates;
mod watched;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use instar_capi::{Machine, MachineDeployment, MachinePool, MachineSet};
use instar_catalog::Catalog;
use instar_serve::Readiness;
use kube::{
    Api, Client,
    runtime::watcher::{DefaultBackoff, watcher},
};
use tokio::task::JoinSet;

use crate::rbac::Watched;
use follow::{config, follow};
use index::Index;
use kept::{Cached, Class, Cluster, ControlPlane, Policy, Release, Upgrade, Worker};
use templates::Templates;
use watched::Watching;

pub(crate) use metrics::WatchMetrics;

/// The caches, each behind a lock that is held for a look-up or one event.
#[derive(Debug, Default)]
pub(crate) struct Caches {
    clusters: RwLock<Index<Cluster>>,
    classes: RwLock<Index<Class>>,
    control_planes: RwLock<Index<ControlPlane>>,
    deployments: RwLock<Index<Worker<MachineDeployment>>>,
    sets: RwLock<Index<Worker<MachineSet>>>,
    pools: RwLock<Index<Worker<MachinePool>>>,
    machines: RwLock<Index<Worker<Machine>>>,
    releases: RwLock<Index<Release>>,
    upgrades: RwLock<Index<Upgrade>>,
    policies: RwLock<Index<Policy>>,
    templates: Arc<Templates>,
    /// Made of the releases when one of them changes, and handed out as it is.
    catalog: RwLock<Arc<Catalog>>,
}

/// What the watches are of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Watches {
    /// A kind that is watched from the start.
    Of(Watched),
    /// The kinds of templates.
    OfTemplates,
}

impl Watches {
    /// As a message names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Of(kind) => kind.rule().resource,
            Self::OfTemplates => "templates",
        }
    }
}

impl Caches {
    /// Starts the watches. They never end by themselves; each is a part of `readiness` until its
    /// first list is in.
    pub(crate) fn start(
        self: &Arc<Self>,
        client: &Client,
        readiness: &Readiness,
        metrics: &WatchMetrics,
    ) -> JoinSet<Watches> {
        let mut starting = Starting {
            caches: self,
            watches: JoinSet::new(),
            client,
            readiness,
            metrics,
        };
        self.templates.await_in(readiness);
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
        let templates = Arc::clone(&self.templates).watch(client.clone(), metrics.clone());
        starting.watches.spawn(async {
            templates.await;
            Watches::OfTemplates
        });
        starting.watches
    }

    /// Makes the catalog anew. A row that can't be used is named when it turns so.
    fn renew_catalog(&self) {
        let catalog = {
            let releases = read(&self.releases);
            Catalog::new(releases.entries().map(|(key, row)| (key.as_str(), row.spec())))
        };
        let previous = std::mem::replace(&mut *write(&self.catalog), Arc::new(catalog));
        for row in read(&self.catalog).unreadable() {
            if !previous.unreadable().contains(row) {
                tracing::warn!("release left out of the catalog: {row}");
            }
        }
    }
}

struct Starting<'a> {
    caches: &'a Arc<Caches>,
    watches: JoinSet<Watches>,
    client: &'a Client,
    readiness: &'a Readiness,
    metrics: &'a WatchMetrics,
}

impl Starting<'_> {
    fn watch<K: Cached>(&mut self) {
        let config = match K::SELECTOR {
            "" => config(),
            selector => config().labels(selector),
        };
        let events = watcher(Api::<K::Object>::all(self.client.clone()), config);
        let (caches, metrics) = (Arc::clone(self.caches), self.metrics.clone());
        let synced = self.readiness.part(K::KIND.rule().resource);
        self.watches.spawn(async move {
            let mut watching = Watching::<K>::new(&caches, synced, &metrics);
            follow(events, &mut watching, &mut DefaultBackoff::default()).await;
            Watches::Of(K::KIND)
        });
    }
}

/// Nothing panics while it holds one of these locks, and a table is whole after every event.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
