//! `UpgradePolicy`: what holds for the upgrades of many Clusters.
#![allow(clippy::duplicated_attributes, reason = "each printer column has a type of its own")]

use std::collections::BTreeMap;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{
    CustomResource, KubeSchema,
    core::{Selector, SelectorExt},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ApprovalPolicy, Canary, CatalogName, Enforcement, Gate, Maintenance, PreflightPolicy, RollbackPolicy, Rule,
    VerificationPolicy, VspherePolicy, WorkloadPolicy, release::infrastructure_group, schema,
};

/// What holds for the upgrades of the Clusters that it selects. A Cluster that no policy selects
/// has the defaults.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "upgrade.cluster.x-k8s.io",
    version = "v1alpha1",
    kind = "UpgradePolicy",
    plural = "upgradepolicies",
    shortname = "up",
    category = "cluster-api",
    namespaced,
    derive = "PartialEq",
    // `clusterctl move` takes along what has these labels.
    label("clusterctl.cluster.x-k8s.io", ""),
    label("clusterctl.cluster.x-k8s.io/move", ""),
    doc = "UpgradePolicy says what holds for the upgrades of the Clusters of its namespace that it selects.",
    printcolumn(name = "KeepPrevious", type_ = "string", json_path = ".spec.templates.keepPrevious"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct UpgradePolicySpec {
    /// The Clusters of this namespace, by their labels; all of them where it is empty.
    #[serde(default)]
    #[schemars(schema_with = "schema::label_selector")]
    pub cluster_selector: LabelSelector,

    /// What becomes of old templates.
    #[serde(default)]
    pub templates: TemplatePolicy,

    /// How many finished ClusterUpgrades of a Cluster are kept, of those that the controller created itself: the
    /// older ones are deleted. What is still needed stays with 0 too: the one that was created last, the one that
    /// was completed last. If several policies select a Cluster, the highest limit counts; 10 where none has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub upgrade_history_limit: Option<u16>,

    /// The catalogs that the Clusters may use, by the names in spec.catalog of KubernetesReleases; "" is the default
    /// catalog. Absent: all of them. If several policies select a Cluster, each of them must list its catalog.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub catalogs: Vec<CatalogName>,

    /// The ServiceAccounts of GitOps tools, beside those of Flux, Argo CD and Rancher Fleet, which are known by their
    /// names. What such an account adds to a machine template is what a user wrote in Git, and no default of a
    /// controller. If several policies select a Cluster, the accounts of all of them count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["namespace", "name"]))]
    pub git_ops_service_accounts: Vec<ServiceAccountRef>,

    /// Fields of machine templates that their provider means to be edited in place, beside those that Instar knows.
    /// If several policies select a Cluster, the fields of all of them count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["apiGroup", "kind"]))]
    pub mutable_template_fields: Vec<MutableTemplateFields>,

    /// When upgrades may go on. If several policies select a Cluster, their windows and exclusions count together.
    #[serde(default, skip_serializing_if = "Maintenance::is_empty")]
    pub maintenance: Maintenance,

    /// What is checked before an upgrade begins.
    #[serde(default, skip_serializing_if = "PreflightPolicy::is_empty")]
    pub preflight: PreflightPolicy,

    /// Whether the checks may read the workload clusters, and by which Secret.
    #[serde(default, skip_serializing_if = "WorkloadPolicy::is_empty")]
    pub workload: WorkloadPolicy,

    /// Which vCenters the controller may ask.
    #[serde(default, skip_serializing_if = "VspherePolicy::is_empty")]
    pub vsphere: VspherePolicy,

    /// What a user has to approve before it happens.
    #[serde(default, skip_serializing_if = "ApprovalPolicy::is_empty")]
    pub approval: ApprovalPolicy,

    /// Pools that go first, and how long they run before the others follow. If several policies select a Cluster, the
    /// most pools and the longest time count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,

    /// What has to be ready on the management cluster or the workload cluster before an upgrade goes on. If several
    /// policies select a Cluster, the gates of all of them count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub gates: Vec<Gate>,

    /// What may be taken back, and what is when an upgrade fails.
    #[serde(default, skip_serializing_if = "RollbackPolicy::is_empty")]
    pub rollback: RollbackPolicy,

    /// What is verified of the cluster before an upgrade is complete. If several policies select a Cluster, what all of
    /// them name is verified.
    #[serde(default, skip_serializing_if = "VerificationPolicy::is_empty")]
    pub verification: VerificationPolicy,

    /// The rules of admission that don't have their default. Where several policies select a
    /// Cluster and name a rule, the strictest counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["rule"]))]
    pub rules: Vec<RuleSetting>,
}

impl UpgradePolicySpec {
    /// Whether it selects a Cluster with these labels. A selector that can't be read, which the
    /// schema and admission refuse, selects nothing.
    #[must_use]
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        Selector::try_from(self.cluster_selector.clone()).is_ok_and(|selector| selector.matches(labels))
    }
}

/// A rule of admission, and what becomes of an edit that breaks it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RuleSetting {
    /// The rule's id, as messages name it. Rules without which nothing could be written are not
    /// among them.
    #[schemars(schema_with = "Rule::schema")]
    pub rule: Rule,

    /// Enforce: it is refused. Warn: it is allowed, with a warning. Off: nothing.
    pub enforcement: Enforcement,
}

/// A ServiceAccount.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountRef {
    /// Its namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,

    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Fields of the machine templates of one kind that may change.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MutableTemplateFields {
    /// The API group of the template's kind.
    #[serde(default = "infrastructure_group")]
    #[schemars(length(min = 1, max = 253))]
    pub api_group: String,

    /// The kind of the template, such as Metal3MachineTemplate.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,

    /// JSON Pointers (RFC 6901) below /spec/template/spec/ and through no array. None may lie at, above or below one
    /// that a KubernetesRelease sets for the kind.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "set"))]
    #[schemars(inner(length(max = 256), regex(pattern = r"^/spec(/[^/]+)+$")))]
    pub pointers: Vec<String>,
}

/// What becomes of the templates that were minted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TemplatePolicy {
    /// How long the previous template of each pool is kept after an upgrade has ended, for a
    /// rollback: 24h, 90m, 0s. Other templates that nothing refers to are never kept longer. If
    /// several policies select a Cluster, the longest time counts.
    #[serde(
        default = "TemplatePolicy::a_day",
        serialize_with = "jiff::fmt::serde::duration::friendly::compact::required"
    )]
    #[schemars(schema_with = "schema::duration")]
    pub keep_previous: SignedDuration,
}

impl TemplatePolicy {
    const fn a_day() -> SignedDuration {
        SignedDuration::from_hours(24)
    }
}

impl Default for TemplatePolicy {
    fn default() -> Self {
        Self {
            keep_previous: Self::a_day(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let read = |text: &str| {
            let policy: TemplatePolicy = serde_json::from_value(json!({ "keepPrevious": text })).unwrap();
            policy.keep_previous
        };
        for (text, hours) in [("24h", 24), ("0s", 0), ("60m", 1), ("1h120m", 3), ("3600s", 1)] {
            assert_eq!(read(text), SignedDuration::from_hours(hours), "{text}");
        }
        let empty: UpgradePolicySpec = serde_json::from_value(json!({})).unwrap();
        assert_eq!(empty.templates.keep_previous, SignedDuration::from_hours(24));
        assert_eq!(
            serde_json::to_value(empty.templates).unwrap(),
            json!({ "keepPrevious": "24h" })
        );
    }
}
