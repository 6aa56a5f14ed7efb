//! The answers.

use std::sync::Arc;

use instar_admission::cluster_state::{
    CachedCluster, CachedTemplate, CachedUpgrade, CachedWorker, ClusterState, Kept, Lookup, TemplateKey, TemplateUser,
    UnseenControlPlane, Versions,
};
use instar_api::{CatalogName, UpgradePolicySpec};
use instar_capi::{ClusterClass, KubeadmControlPlane, Lifecycle, Reference};
use instar_catalog::Catalog;
use instar_watch::{Cache, Key};
use jiff::Timestamp;

use super::{
    Caches,
    group::{Group, TemplateId},
    kept::{Class, Cluster, User, Worker, WorkerResource, foreign_control_plane_of, users_of},
};

impl ClusterState for Caches {
    fn now(&self) -> Timestamp {
        self.fixed_time.unwrap_or_else(Timestamp::now)
    }

    fn catalog(&self, name: &CatalogName) -> Arc<Catalog> {
        self.catalogs.of(name)
    }

    fn class(&self, namespace: &str, name: &str) -> Option<Arc<ClusterClass>> {
        self.classes.read().get(&Key::new(namespace, name)).map(Class::view)
    }

    fn cluster(&self, namespace: &str, name: &str) -> Option<Arc<CachedCluster>> {
        self.clusters.read().get(&Key::new(namespace, name)).map(Cluster::view)
    }

    fn lifecycle(&self, namespace: &str, cluster: &str) -> Option<Lifecycle> {
        let (clusters, key) = (self.clusters.read(), Key::new(namespace, cluster));
        let read = clusters.get(&key).map(|cluster| cluster.view().lifecycle);
        read.or_else(|| {
            let unreadable = clusters.unreadable(&key)?;
            Some(match unreadable.metadata.deletion_timestamp {
                Some(_) => Lifecycle::Deleting,
                None => Lifecycle::Paused,
            })
        })
    }

    fn clusters_of(&self, class_namespace: &str, class: &str) -> Vec<Arc<CachedCluster>> {
        let clusters = self.clusters.read();
        let of_class = clusters.group(&Group::Class(Key::new(class_namespace, class)));
        of_class.map(|(_, cluster)| cluster.view()).collect()
    }

    fn pinned_to(&self, release: &str) -> Vec<String> {
        let clusters = self.clusters.read();
        let release = Group::Release(release.into());
        let pinned = clusters.group(&release).map(|(key, _)| key);
        let unreadable = clusters.unreadable_in(&release).map(|(key, _)| key);
        pinned.chain(unreadable).map(ToString::to_string).collect()
    }

    fn upgrading_to(&self, release: &str) -> Vec<String> {
        let upgrades = self.upgrades.read();
        let going_on = upgrades.group(&Group::Release(release.into()));
        going_on.map(|(key, _)| key.to_string()).collect()
    }

    fn control_plane(&self, namespace: &str, cluster: &str) -> Option<Arc<KubeadmControlPlane>> {
        // What the Cluster itself says comes first: the label and the owner are written later.
        let named = self.cluster(namespace, cluster).and_then(|cluster| {
            let reference = cluster.control_plane.as_ref()?;
            (reference.kind == "KubeadmControlPlane").then(|| Key::new(namespace, &reference.name))
        });
        let control_planes = self.control_planes.read();
        if let Some(entry) = named.and_then(|named| control_planes.get(&named)) {
            return Some(entry.view());
        }
        let found = control_planes.group(&Group::Cluster(Key::new(namespace, cluster)));
        // A stray one may carry the label too; the Cluster owns its own.
        found
            .min_by_key(|(key, entry)| (!entry.is_owned(), *key))
            .map(|(_, entry)| entry.view())
    }

    fn workers(&self, namespace: &str, cluster: &str) -> Vec<CachedWorker> {
        let cluster = Group::Cluster(Key::new(namespace, cluster));
        let mut workers = Vec::new();
        workers_in(&self.deployments, &cluster, &mut workers);
        workers_in(&self.sets, &cluster, &mut workers);
        workers_in(&self.pools, &cluster, &mut workers);
        workers_in(&self.machines, &cluster, &mut workers);
        workers
    }

    fn template(&self, template: &TemplateKey<'_>) -> Lookup<Arc<CachedTemplate>> {
        self.templates.get(template)
    }

    fn users_of(&self, template: &TemplateKey<'_>) -> Vec<TemplateUser> {
        let template = Group::Template(TemplateId::of(template));
        let mut users = Vec::new();
        users_in(&self.classes, &template, &mut users);
        users_in(&self.control_planes, &template, &mut users);
        users.extend(self.foreign_control_planes.users_of(&template));
        users_in(&self.deployments, &template, &mut users);
        users_in(&self.sets, &template, &mut users);
        users
    }

    fn unseen_control_planes(&self, namespace: &str) -> Vec<UnseenControlPlane> {
        let unseen = |cluster: &Key, reference: Option<&Reference>| {
            let reference = reference?;
            Some(UnseenControlPlane {
                why: self.foreign_control_planes.why_unseen(namespace, reference)?,
                kind: reference.kind.clone(),
                name: reference.name.clone(),
                cluster: cluster.name().to_owned(),
            })
        };
        let clusters = self.clusters.read();
        let with_foreign = Group::Namespace(namespace.into());
        let read = clusters.group(&with_foreign);
        let read = read.filter_map(|(key, cluster)| unseen(key, cluster.foreign_control_plane()));
        let unreadable = clusters.unreadable_in(&with_foreign);
        let unreadable = unreadable.filter_map(|(key, cluster)| unseen(key, foreign_control_plane_of(cluster)));
        read.chain(unreadable).collect()
    }

    fn foreign_versions(&self, namespace: &str, cluster: &str) -> Option<Versions> {
        let clusters = self.clusters.read();
        let reference = clusters.get(&Key::new(namespace, cluster))?.foreign_control_plane()?;
        self.foreign_control_planes.versions(namespace, reference)
    }

    fn kept(&self, template: &TemplateKey<'_>) -> Option<Kept> {
        let TemplateKey {
            kind, namespace, name, ..
        } = *template;
        let upgrades = self.upgrades.read();
        let keeping = upgrades.group(&Group::Kept(kind.into(), Key::new(namespace, name)));
        keeping
            .filter_map(|(key, upgrade)| upgrade.keeps(key, kind, name))
            .max_by_key(|kept| (kept.until.is_none(), kept.until))
    }

    fn upgrades(&self, namespace: &str, cluster: &str) -> Vec<CachedUpgrade> {
        let upgrades = self.upgrades.read();
        let of_cluster = upgrades.group(&Group::Cluster(Key::new(namespace, cluster)));
        of_cluster
            .filter_map(|(_, upgrade)| upgrade.goes_on().cloned())
            .collect()
    }

    fn policies(&self, namespace: &str) -> Vec<Arc<UpgradePolicySpec>> {
        let policies = self.policies.read();
        let there = policies.group(&Group::Namespace(namespace.into()));
        there.map(|(_, policy)| policy.spec()).collect()
    }

    fn unreadable_policies(&self, namespace: &str) -> Vec<String> {
        let policies = self.policies.read();
        let unreadable = policies.unreadable_in(&Group::Namespace(namespace.into()));
        unreadable.map(|(key, _)| key.name().to_owned()).collect()
    }
}

fn workers_in<O: WorkerResource>(cache: &Cache<Worker<O>>, cluster: &Group, workers: &mut Vec<CachedWorker>) {
    let index = cache.read();
    workers.extend(index.group(cluster).filter_map(|(key, worker)| worker.seen(key)));
}

fn users_in<K: User>(cache: &Cache<K>, template: &Group, users: &mut Vec<TemplateUser>) {
    users.extend(users_of(cache, template, K::USER, K::cluster_name));
}
