//! The answers.

use std::sync::{Arc, RwLock};

use instar_admission::cluster_state::{
    CachedCluster, CachedTemplate, CachedUpgrade, CachedWorker, ClusterState, Kept, Lookup, TemplateKey, TemplateUser,
};
use instar_api::UpgradePolicySpec;
use instar_capi::{ClusterClass, KubeadmControlPlane};
use instar_catalog::Catalog;
use jiff::Timestamp;

use super::{
    Caches,
    index::{Group, Index, Key, TemplateId},
    kept::{Class, Cluster, User, Worker, WorkerResource},
    read,
};

impl ClusterState for Caches {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn catalog(&self) -> Arc<Catalog> {
        read(&self.catalog).clone()
    }

    fn class(&self, namespace: &str, name: &str) -> Option<Arc<ClusterClass>> {
        read(&self.classes).get(&Key::new(namespace, name)).map(Class::view)
    }

    fn cluster(&self, namespace: &str, name: &str) -> Option<Arc<CachedCluster>> {
        read(&self.clusters).get(&Key::new(namespace, name)).map(Cluster::view)
    }

    fn clusters_of(&self, class_namespace: &str, class: &str) -> Vec<Arc<CachedCluster>> {
        let clusters = read(&self.clusters);
        let of_class = clusters.group(&Group::Class(Key::new(class_namespace, class)));
        of_class.map(|(_, cluster)| cluster.view()).collect()
    }

    fn pinned_to(&self, release: &str) -> Vec<String> {
        let clusters = read(&self.clusters);
        let pinned = clusters.group(&Group::Release(release.into()));
        pinned.map(|(key, _)| key.to_string()).collect()
    }

    fn upgrading_to(&self, release: &str) -> Vec<String> {
        let upgrades = read(&self.upgrades);
        let going_on = upgrades.group(&Group::Release(release.into()));
        going_on.map(|(key, _)| key.to_string()).collect()
    }

    fn control_plane(&self, namespace: &str, cluster: &str) -> Option<Arc<KubeadmControlPlane>> {
        // What the Cluster itself says comes first: the label and the owner are written later.
        let named = self.cluster(namespace, cluster).and_then(|cluster| {
            let reference = cluster.control_plane.as_ref()?;
            (reference.kind == "KubeadmControlPlane").then(|| Key::new(namespace, &reference.name))
        });
        let control_planes = read(&self.control_planes);
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
        users_in(&self.deployments, &template, &mut users);
        users_in(&self.sets, &template, &mut users);
        users
    }

    fn kept(&self, template: &TemplateKey<'_>) -> Option<Kept> {
        let TemplateKey {
            kind, namespace, name, ..
        } = *template;
        let upgrades = read(&self.upgrades);
        let keeping = upgrades.group(&Group::Kept(kind.into(), Key::new(namespace, name)));
        keeping
            .filter_map(|(key, upgrade)| upgrade.keeps(key, kind, name))
            .max_by_key(|kept| (kept.until.is_none(), kept.until))
    }

    fn upgrades(&self, namespace: &str, cluster: &str) -> Vec<CachedUpgrade> {
        let upgrades = read(&self.upgrades);
        let of_cluster = upgrades.group(&Group::Cluster(Key::new(namespace, cluster)));
        of_cluster
            .filter_map(|(_, upgrade)| upgrade.goes_on().cloned())
            .collect()
    }

    fn policies(&self, namespace: &str) -> Vec<Arc<UpgradePolicySpec>> {
        let policies = read(&self.policies);
        let there = policies.group(&Group::Namespace(namespace.into()));
        there.map(|(_, policy)| policy.spec()).collect()
    }
}

fn workers_in<O: WorkerResource>(index: &RwLock<Index<Worker<O>>>, cluster: &Group, workers: &mut Vec<CachedWorker>) {
    let index = read(index);
    workers.extend(index.group(cluster).filter_map(|(key, worker)| worker.seen(key)));
}

fn users_in<K: User>(index: &RwLock<Index<K>>, template: &Group, users: &mut Vec<TemplateUser>) {
    let index = read(index);
    users.extend(index.group(template).map(|(key, entry)| entry.user(key)));
}
