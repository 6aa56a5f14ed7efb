//! What is kept of a control plane of another kind than kubeadm's.

use std::sync::Arc;

use instar_watch::{Entry, Guarded, Kept, Key, Row, Unreadable};
use kube::core::DynamicObject;
use serde_json::{Map, Value};

use super::kept::{Group, groups_of_clusters, groups_of_unreadable, slim};

/// What Cluster API's contract says of every control plane, at either version; all else is dropped.
const SPEC: [&str; 3] = ["version", "replicas", "machineTemplate"];
const STATUS: [&str; 7] = [
    "observedGeneration",
    "version",
    "versions",
    "replicas",
    "readyReplicas",
    "upToDateReplicas",
    "updatedReplicas",
];

/// A control plane, as far as the contract goes.
#[derive(Debug)]
pub(crate) struct ForeignControlPlane {
    object: Arc<DynamicObject>,
    clusters: Box<[Group]>,
}

impl ForeignControlPlane {
    pub(crate) fn get(&self) -> Arc<DynamicObject> {
        Arc::clone(&self.object)
    }
}

impl Entry for ForeignControlPlane {
    type Group = Group;

    fn groups(&self, _: &Key) -> Vec<Group> {
        self.clusters.to_vec()
    }

    /// About: as many as its JSON text has.
    fn heap_bytes(&self) -> usize {
        size_of_val(&*self.object) + self.object.data.to_string().len()
    }

    fn groups_of_unreadable(key: &Key, unreadable: &Unreadable) -> Vec<Group> {
        groups_of_unreadable(key, unreadable)
    }
}

impl Kept for ForeignControlPlane {
    type Object = Guarded<DynamicObject>;

    fn keep(object: Self::Object) -> Row<Self> {
        Row::of(object, |mut object| {
            let clusters = groups_of_clusters(&object.metadata);
            let spec = part(&mut object.data, "spec", &SPEC);
            let status = part(&mut object.data, "status", &STATUS);
            object.data = [("spec", spec), ("status", status)]
                .into_iter()
                .filter_map(|(name, part)| Some((name.to_owned(), part?)))
                .collect::<Map<_, _>>()
                .into();
            Self {
                object: Arc::new(slim(object)),
                clusters,
            }
        })
    }
}

fn part(data: &mut Value, name: &str, fields: &[&str]) -> Option<Value> {
    let mut part = data.get_mut(name)?.take();
    if let Some(part) = part.as_object_mut() {
        part.retain(|field, _| fields.contains(&field.as_str()));
    }
    Some(part)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_contract_names_is_kept_and_nothing_else() {
        let object: Guarded<DynamicObject> = serde_json::from_value(json!({
            "apiVersion": "controlplane.cluster.x-k8s.io/v1beta1",
            "kind": "KThreesControlPlane",
            "metadata": {"name": "c", "namespace": "n", "annotations": {"big": "one"},
                "ownerReferences": [{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": "blue", "uid": "u"}]},
            "spec": {"version": "v1.33.1", "kthreesConfigSpec": {"files": []}},
            "status": {"version": "v1.33.1", "failureMessage": "no"},
        }))
        .unwrap();
        let row = ForeignControlPlane::keep(object);
        let entry = row.read.unwrap();
        assert_eq!(entry.groups(&row.key), [Group::Cluster(Key::new("n", "blue"))]);
        let kept = entry.get();
        assert_eq!(
            kept.data,
            json!({"spec": {"version": "v1.33.1"}, "status": {"version": "v1.33.1"}})
        );
        assert_eq!(kept.metadata.annotations, Some(std::collections::BTreeMap::new()));
    }

    /// jiff knows no time after the last day but one of the year 9999, and Kubernetes does.
    #[test]
    fn a_time_that_cannot_be_read_wakes_the_owner_where_it_matters() {
        const TIME: &str = "9999-12-31T23:59:59Z";
        let row = |field: &str, value: Value| {
            let mut object = json!({
                "apiVersion": "controlplane.cluster.x-k8s.io/v1beta1",
                "kind": "KThreesControlPlane",
                "metadata": {"name": "c", "namespace": "n", "labels": {"cluster.x-k8s.io/cluster-name": "a-hash"},
                    "ownerReferences": [{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": "blue", "uid": "u"}]},
                "spec": {"version": "v1.33.1"},
            });
            object["metadata"][field] = value;
            ForeignControlPlane::keep(serde_json::from_value(object).unwrap())
        };
        let clusters = ["a-hash", "blue"].map(|name| Group::Cluster(Key::new("n", name)));
        let written = row("managedFields", json!([{"manager": "m", "time": TIME}]));
        assert_eq!(written.groups(), clusters);
        assert_eq!(
            written.read.unwrap().get().data,
            json!({"spec": {"version": "v1.33.1"}}),
            "who wrote it isn't read"
        );
        let created = row("creationTimestamp", json!(TIME));
        assert_eq!(created.groups(), clusters);
        assert_eq!(created.key, Key::new("n", "c"));
        let error = created.read.unwrap_err().error;
        assert!(error.starts_with("metadata.creationTimestamp: "), "{error}");
    }
}
