//! The add-ons of a release and the gates of a policy: objects that an upgrade waits for, and what it sets for them.

use jiff::SignedDuration;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::LabelSelector, apimachinery::pkg::util::intstr::IntOrString};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Something that runs on the cluster and has to be ready before the upgrade goes on.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// What messages, and dependsOn of others, call it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub name: String,

    /// Which part of an upgrade waits until it is ready.
    pub when: GatePoint,

    /// The objects that say whether it is ready.
    pub observe: Observe,

    /// Whether it counts for a Cluster, as a CEL expression over cluster, release and now. Absent: it counts for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::expression")]
    pub only_if: Option<String>,

    /// CEL: an object is still on its way. It is asked first, as in Flux's health check expressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::expression")]
    pub in_progress_when: Option<String>,

    /// CEL: an object has failed. It is asked second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::expression")]
    pub failed_when: Option<String>,

    /// CEL: an object is ready. It is asked last. The variables of all expressions are metadata, spec and status of the
    /// object, self for the whole of it, release, cluster, written and now. A field that is absent is "not ready".
    #[schemars(schema_with = "schema::expression")]
    pub ready_when: String,

    /// How an object tells that it has seen its latest edit.
    #[serde(default)]
    pub generation: GenerationRule,

    /// How long it has to be ready without a break, counted at the earliest from what was written for it: 30s, 5m.
    #[serde(
        default = "half_a_minute",
        serialize_with = "jiff::fmt::serde::duration::friendly::compact::required"
    )]
    #[schemars(schema_with = "schema::duration")]
    pub settle: SignedDuration,

    /// How long it may take. Absent: as long as it takes.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "jiff::fmt::serde::duration::friendly::compact::optional"
    )]
    #[schemars(schema_with = "schema::duration")]
    pub timeout: Option<SignedDuration>,

    /// What becomes of the upgrade then. Hold: it waits on. Fail: it has failed, and what `spec.rollback.onFailure` of an
    /// UpgradePolicy says is done; with Hold it ends in the phase Failed. What was never seen doesn't fail it.
    #[serde(default)]
    pub on_timeout: OnTimeout,

    /// Others of the same list, of the same or an earlier point, that have to be ready before this one is written or
    /// observed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub depends_on: Vec<String>,
}

const fn half_a_minute() -> SignedDuration {
    SignedDuration::from_secs(30)
}

/// An add-on of a release: a gate, and what is written for it before it is observed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Addon {
    /// What is observed, and when it is ready.
    #[serde(flatten)]
    pub gate: Gate,

    /// What is set when the upgrade comes to this add-on. Absent: nothing, it is only waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<AddonWrite>,
}

/// Which part of an upgrade waits for a gate.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GatePoint {
    /// Each step of the control plane, before it.
    BeforeControlPlane,
    /// Each step of the control plane, before the next one or the workers.
    AfterControlPlane,
    /// The workers.
    BeforeWorkers,
    /// The end of the upgrade: it isn't complete before.
    AfterWorkers,
}

impl GatePoint {
    /// From the first to the last of a step.
    pub const ALL: [Self; 4] = [
        Self::BeforeControlPlane,
        Self::AfterControlPlane,
        Self::BeforeWorkers,
        Self::AfterWorkers,
    ];
}

impl std::fmt::Display for GatePoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::BeforeControlPlane => "BeforeControlPlane",
            Self::AfterControlPlane => "AfterControlPlane",
            Self::BeforeWorkers => "BeforeWorkers",
            Self::AfterWorkers => "AfterWorkers",
        })
    }
}

/// How an object tells that its status is of its latest edit.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GenerationRule {
    /// By status.observedGeneration. An object without it is not ready.
    #[default]
    Status,
    /// By observedGeneration of each condition in status.conditions. Without one it is not ready.
    Conditions,
    /// It doesn't: settle is what keeps an old status from counting.
    Ignore,
}

/// What becomes of an upgrade whose gate takes too long.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTimeout {
    /// It waits on, with the reason `AddonTimedOut`.
    #[default]
    Hold,
    /// It has failed.
    Fail,
}

/// A cluster, as seen from a Cluster that is upgraded.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClusterSide {
    /// The management cluster, on which the Cluster object is.
    Management,
    /// The cluster that is upgraded.
    Workload,
}

impl ClusterSide {
    /// As messages name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Management => "management cluster",
            Self::Workload => "workload cluster",
        }
    }
}

/// The objects that are observed. Exactly one of name and labelSelector must be set.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(
    validation = Rule::new("has(self.name) != has(self.labelSelector)").message("exactly one of name and labelSelector must be set")
)]
#[serde(rename_all = "camelCase")]
pub struct Observe {
    /// Where they are.
    pub cluster: ClusterSide,

    /// Their API group and version, such as helm.toolkit.fluxcd.io/v2 or apps/v1.
    #[schemars(schema_with = "schema::api_version")]
    pub api_version: String,

    /// Their kind. Secrets are never observed.
    #[schemars(schema_with = "schema::kind")]
    pub kind: String,

    /// Their namespace. Absent: on the management cluster that of the Cluster, on the workload cluster all, or none for a
    /// kind without namespaces. A policy observes no other namespace of the management cluster than its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,

    /// The name of the one object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,

    /// The objects by their labels: each of them has to be ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_selector")]
    pub label_selector: Option<LabelSelector>,

    /// How many objects there have to be at least.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1000))]
    pub min_objects: u16,
}

const fn one() -> u16 {
    1
}

/// What is set for an add-on. Exactly one of annotation and field must be set.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("has(self.annotation) != has(self.field)").message("exactly one of annotation and field must be set")
)]
#[serde(rename_all = "camelCase")]
pub struct AddonWrite {
    /// An annotation of the Cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotation: Option<ClusterAnnotation>,

    /// A field of an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<ObjectField>,

    /// What becomes of it when the upgrade is taken back.
    #[serde(default)]
    pub on_rollback: OnRollback,
}

/// What becomes of what was set for an add-on, when the upgrade is taken back.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRollback {
    /// It stays, and the record says so.
    #[default]
    Keep,
    /// What was there before is set again, the last add-on first, and the rollback waits until it is ready.
    Restore,
}

/// An annotation that is set on the Cluster.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ClusterAnnotation {
    /// Its key. Those of Kubernetes, Cluster API and Instar are refused.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,

    /// Its value.
    #[schemars(length(max = 1024))]
    pub value: String,
}

/// A field of an object, and its value. Exactly one of value and json must be set.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("has(self.value) != has(self.json)").message("exactly one of value and json must be set")
)]
#[serde(rename_all = "camelCase")]
pub struct ObjectField {
    /// Where the object is.
    pub cluster: ClusterSide,

    /// Its API group and version.
    #[schemars(schema_with = "schema::api_version")]
    pub api_version: String,

    /// Its kind. Nothing is written into Secrets.
    #[schemars(schema_with = "schema::kind")]
    pub kind: String,

    /// Its namespace. Absent: on the management cluster that of the Cluster, on the workload cluster none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,

    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// A JSON Pointer (RFC 6901) into it, below /spec/ and through no array.
    #[schemars(schema_with = "schema::pointer")]
    pub pointer: String,

    /// The value, where it is a string or an integer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::scalar")]
    pub value: Option<IntOrString>,

    /// The value as JSON text, where it is anything else: a boolean, a list, an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub json: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_addon_is_written_as_it_is_read() {
        let written = json!({
            "name": "kube-ovn",
            "when": "AfterControlPlane",
            "observe": {
                "cluster": "Workload",
                "apiVersion": "operator.alauda.io/v1alpha1",
                "kind": "AppRelease",
                "namespace": "cpaas-system",
                "name": "cni-kube-ovn",
                "minObjects": 1,
            },
            "readyWhen": "status.phase == 'Success'",
            "generation": "Status",
            "settle": "30s",
            "timeout": "1h",
            "onTimeout": "Hold",
            "dependsOn": ["other"],
            "write": {
                "annotation": { "key": "example.org/kube-ovn", "value": "v1.14" },
                "onRollback": "Restore",
            },
        });
        let read: Addon = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(read.gate.timeout, Some(SignedDuration::from_hours(1)));
        assert_eq!(serde_json::to_value(&read).unwrap(), written);
    }

    #[test]
    fn defaults_are_the_careful_ones() {
        let read: Gate = serde_json::from_value(json!({
            "name": "a",
            "when": "BeforeWorkers",
            "observe": { "cluster": "Management", "apiVersion": "v1", "kind": "ConfigMap", "name": "a" },
            "readyWhen": "true",
        }))
        .unwrap();
        assert_eq!(read.generation, GenerationRule::Status);
        assert_eq!(read.settle, SignedDuration::from_secs(30));
        assert_eq!((read.timeout, read.on_timeout), (None, OnTimeout::Hold));
        assert_eq!(read.observe.min_objects, 1);
    }
}
