//! What the admission server knows: four watches, and of each object what admission reads.
//!
//! Whole objects would take ten times the memory, and most of it is what other controllers wrote
//! about themselves.

mod follow;
mod index;
mod kept;
mod metrics;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use instar_capi::{ClusterClass, KubeadmControlPlane};
use instar_catalog::Catalog;
use instar_serve::Readiness;
use instar_webhooks::Observed;
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use kube::{
    Api, Client,
    runtime::watcher::{self, watcher},
};
use tokio::task::JoinSet;

use crate::rbac::Watched;
use index::{Index, Key};
use kept::{Class, ControlPlane, Kept, Pinned, Row};

pub(crate) use metrics::WatchMetrics;

/// The caches, each behind a lock that is held for a look-up or one event.
#[derive(Debug, Default)]
pub(crate) struct Caches {
    clusters: RwLock<Index<Pinned>>,
    classes: RwLock<Index<Class>>,
    control_planes: RwLock<Index<ControlPlane>>,
    releases: RwLock<Index<Row>>,
    /// Made of the releases when one of them changes, and handed out as it is.
    catalog: RwLock<Arc<Catalog>>,
}

impl Caches {
    /// Starts the four watches. They never end by themselves; each is a part of `readiness` until
    /// its first list is in.
    pub(crate) fn start(
        self: &Arc<Self>,
        client: &Client,
        readiness: &Readiness,
        metrics: &WatchMetrics,
    ) -> JoinSet<Watched> {
        let mut watches = JoinSet::new();
        for kind in Watched::ALL {
            match kind {
                Watched::Clusters => self.watch::<Pinned>(&mut watches, client, readiness, metrics),
                Watched::ClusterClasses => self.watch::<Class>(&mut watches, client, readiness, metrics),
                Watched::KubeadmControlPlanes => self.watch::<ControlPlane>(&mut watches, client, readiness, metrics),
                Watched::KubernetesReleases => self.watch::<Row>(&mut watches, client, readiness, metrics),
            }
        }
        watches
    }

    fn watch<K: Kept>(
        self: &Arc<Self>,
        watches: &mut JoinSet<Watched>,
        client: &Client,
        readiness: &Readiness,
        metrics: &WatchMetrics,
    ) {
        let events = watcher(Api::<K::Object>::all(client.clone()), watcher::Config::default());
        let (caches, metrics) = (self.clone(), metrics.clone());
        let synced = readiness.part(K::KIND.rule().resource);
        watches.spawn(async move {
            follow::follow::<K>(events, &caches, &synced, &metrics).await;
            K::KIND
        });
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

/// Nothing panics while it holds one of these locks, and a table is whole after every event.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl Observed for Caches {
    fn catalog(&self) -> Arc<Catalog> {
        read(&self.catalog).clone()
    }

    fn class(&self, namespace: &str, name: &str) -> Option<Arc<ClusterClass>> {
        read(&self.classes).get(&Key::new(namespace, name)).map(Class::view)
    }

    fn control_plane(&self, namespace: &str, cluster: &str) -> Option<Arc<KubeadmControlPlane>> {
        let cluster = Key::new(namespace, cluster);
        let control_planes = read(&self.control_planes);
        let found = control_planes.group(cluster.as_str());
        // A stray one may carry the label too; the Cluster owns its own.
        found
            .min_by_key(|(key, entry)| (!entry.is_owned(), *key))
            .map(|(_, entry)| entry.view())
    }

    fn pinned_to(&self, release: &str) -> Vec<String> {
        let clusters = read(&self.clusters);
        clusters.group(release).map(|(key, _)| key.to_string()).collect()
    }

    fn today(&self) -> Date {
        Timestamp::now().to_zoned(TimeZone::UTC).date()
    }
}

#[cfg(test)]
mod tests;
