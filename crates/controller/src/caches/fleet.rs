//! What the metrics ask of all Clusters at once.

use std::collections::{BTreeSet, HashMap};

use instar_api::KubernetesRelease;
use instar_watch::Key;

use super::{Caches, Group, Pinned, pinned};

impl Caches {
    /// What is asked of each release, by its name.
    pub(crate) fn each_release<T>(&self, ask: impl Fn(&str, &KubernetesRelease) -> Option<T>) -> Vec<T> {
        let releases = self.releases.read();
        let rows = releases.entries();
        rows.filter_map(|(key, row)| ask(key.name(), row.as_object())).collect()
    }

    /// Each Cluster with its pins, lowest first.
    pub(crate) fn pinned_releases(&self) -> Vec<(Key, Vec<Pinned>)> {
        let clusters = self.clusters.read();
        let pinned = clusters.entries();
        pinned
            .map(|(key, cluster)| (key.clone(), pinned::read(cluster.pinned())))
            .collect()
    }

    /// Of each Cluster that has Machines, which of these versions they have.
    pub(crate) fn running_versions(&self, of: &BTreeSet<String>) -> HashMap<Key, BTreeSet<String>> {
        let machines = self.machines.read();
        let mut running = HashMap::new();
        for group in machines.groups() {
            let Group::Cluster(cluster) = group else {
                continue;
            };
            let mut versions = BTreeSet::new();
            for (_, machine) in machines.group(group) {
                if let Some(version) = machine.version().filter(|version| of.contains(*version))
                    && !versions.contains(version)
                {
                    versions.insert(version.to_owned());
                }
            }
            running.insert(cluster.clone(), versions);
        }
        running
    }
}
