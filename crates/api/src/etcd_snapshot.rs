//! The check `etcd-snapshot`: which objects say that etcd was saved, and when.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    addon::{ClusterSide, Observe},
    schema,
};

/// Which snapshots of etcd count, and how old the newest may be.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EtcdSnapshotParameters {
    /// The objects that report snapshots of the Cluster's etcd.
    pub observe: SnapshotObserve,

    /// CEL: whether the snapshot that an object reports can be restored. The variables are metadata, spec and status of
    /// the object, self for the whole of it, cluster and now. A field that is absent is "not ready".
    #[schemars(schema_with = "schema::expression")]
    pub ready_when: String,

    /// CEL: when that snapshot was made, as a timestamp or as text such as 2026-12-01T02:00:00Z.
    #[schemars(schema_with = "schema::expression")]
    pub timestamp_expression: String,

    /// How old the newest snapshot may be when the upgrade begins: 24h, 90m.
    #[serde(serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    #[schemars(schema_with = "schema::duration")]
    pub max_age: SignedDuration,
}

/// The objects that report snapshots. Exactly one of name and labelSelector must be set.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(
    validation = Rule::new("has(self.name) != has(self.labelSelector)").message("exactly one of name and labelSelector must be set")
)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotObserve {
    /// Where they are.
    pub cluster: ClusterSide,

    /// Their API group and version, such as velero.io/v1 or batch/v1.
    #[schemars(schema_with = "schema::api_version")]
    pub api_version: String,

    /// Their kind. Secrets are never observed.
    #[schemars(schema_with = "schema::kind")]
    pub kind: String,

    /// Their namespace. Absent: on the management cluster that of the Cluster, on the workload cluster all, or none for a
    /// kind without namespaces. No other namespace of the management cluster than the policy's own is observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,

    /// The name of the one object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,

    /// The objects by their labels; an empty one selects all. The newest snapshot of them counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_selector")]
    pub label_selector: Option<LabelSelector>,
}

impl SnapshotObserve {
    /// The same as a gate asks for objects: there may be none.
    #[must_use]
    pub fn objects(&self) -> Observe {
        let Self {
            cluster,
            api_version,
            kind,
            namespace,
            name,
            label_selector,
        } = self.clone();
        Observe {
            cluster,
            api_version,
            kind,
            namespace,
            name,
            label_selector,
            min_objects: 0,
        }
    }
}

/// The newest snapshot of etcd that was found before an upgrade began.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct EtcdSnapshotStatus {
    /// Where the object is that reports it.
    pub cluster: ClusterSide,

    /// The kind of that object.
    #[schemars(length(max = 63))]
    pub kind: String,

    /// Its namespace; absent where the kind has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub namespace: Option<String>,

    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,

    /// When the snapshot was made.
    #[schemars(schema_with = "schema::time")]
    pub time: Timestamp,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_are_written_as_they_are_read() {
        let written = json!({
            "observe": { "cluster": "Management", "apiVersion": "velero.io/v1", "kind": "Backup", "labelSelector": {} },
            "readyWhen": "status.phase == 'Completed'",
            "timestampExpression": "status.completionTimestamp",
            "maxAge": "24h",
        });
        let read: EtcdSnapshotParameters = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(read.max_age, SignedDuration::from_hours(24));
        assert_eq!(read.observe.objects().min_objects, 0);
        assert_eq!(serde_json::to_value(&read).unwrap(), written);
    }
}
