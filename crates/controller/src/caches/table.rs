//! The objects of one kind, by Cluster.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use kube::{ResourceExt, runtime::watcher::Event};

use super::OfCluster;

/// A namespace and a Cluster's name.
pub(crate) type ClusterKey = (String, String);

type Objects<K> = HashMap<ClusterKey, BTreeMap<String, Arc<K>>>;

/// The objects as of the last event. While a list comes in, those of before stand.
#[derive(Debug)]
pub(crate) struct Table<K> {
    rows: RwLock<Rows<K>>,
}

#[derive(Debug)]
struct Rows<K> {
    live: Objects<K>,
    listing: Objects<K>,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self {
            rows: RwLock::new(Rows {
                live: HashMap::new(),
                listing: HashMap::new(),
            }),
        }
    }
}

impl<K: OfCluster> Table<K> {
    /// Takes an event in, and says whose Clusters it concerns.
    pub(crate) fn apply(&self, event: Event<K>) -> Vec<ClusterKey> {
        let mut rows = self.write();
        match event {
            Event::Init => {
                rows.listing = HashMap::new();
                Vec::new()
            }
            Event::InitApply(object) => {
                insert(&mut rows.listing, object);
                Vec::new()
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut rows.listing);
                let before = std::mem::replace(&mut rows.live, listed);
                let concerned: BTreeSet<&ClusterKey> = before.keys().chain(rows.live.keys()).collect();
                concerned.into_iter().cloned().collect()
            }
            Event::Apply(object) => insert(&mut rows.live, object),
            Event::Delete(object) => {
                let Some(key) = key(&object) else { return Vec::new() };
                if let Some(objects) = rows.live.get_mut(&key) {
                    objects.remove(&object.name_any());
                    if objects.is_empty() {
                        rows.live.remove(&key);
                    }
                }
                vec![key]
            }
        }
    }

    /// The objects of a Cluster, by name.
    pub(crate) fn of(&self, namespace: &str, cluster: &str) -> Vec<Arc<K>> {
        let key = (namespace.to_owned(), cluster.to_owned());
        let rows = self.read();
        rows.live
            .get(&key)
            .into_iter()
            .flat_map(BTreeMap::values)
            .cloned()
            .collect()
    }

    /// All objects.
    pub(crate) fn all(&self) -> Vec<Arc<K>> {
        self.read().live.values().flat_map(BTreeMap::values).cloned().collect()
    }

    /// Every Cluster that has one.
    pub(crate) fn clusters(&self) -> Vec<ClusterKey> {
        self.read().live.keys().cloned().collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Rows<K>> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Rows<K>> {
        self.rows.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn insert<K: OfCluster>(objects: &mut Objects<K>, object: K) -> Vec<ClusterKey> {
    let Some(key) = key(&object) else { return Vec::new() };
    let (name, object) = (object.name_any(), Arc::new(object));
    objects.entry(key.clone()).or_default().insert(name, object);
    vec![key]
}

fn key<K: OfCluster>(object: &K) -> Option<ClusterKey> {
    Some((object.namespace().unwrap_or_default(), object.cluster()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::{Machine, MachineSpec};

    fn machine(name: &str, cluster: &str) -> Machine {
        let spec = MachineSpec {
            cluster_name: cluster.to_owned(),
            ..MachineSpec::default()
        };
        let mut machine = Machine::new(name, spec);
        machine.metadata.namespace = Some("n".to_owned());
        machine
    }

    fn names(table: &Table<Machine>, cluster: &str) -> Vec<String> {
        table
            .of("n", cluster)
            .iter()
            .map(|machine| machine.name_any())
            .collect()
    }

    #[test]
    fn a_list_takes_the_place_of_what_was_there_when_it_is_complete() {
        let table = Table::default();
        let key = |cluster: &str| ("n".to_owned(), cluster.to_owned());
        assert_eq!(table.apply(Event::Apply(machine("a", "c"))), [key("c")]);
        assert_eq!(table.apply(Event::Init), []);
        assert_eq!(table.apply(Event::InitApply(machine("b", "d"))), []);
        assert_eq!(names(&table, "c"), ["a"], "the list isn't complete");
        assert_eq!(
            table.apply(Event::InitDone),
            [key("c"), key("d")],
            "what went is news too"
        );
        assert_eq!((names(&table, "c"), names(&table, "d")), (vec![], vec!["b".to_owned()]));
        assert_eq!(table.apply(Event::Delete(machine("b", "d"))), [key("d")]);
        assert!(table.clusters().is_empty());
    }
}
