//! What an UpgradePolicy says of a check beside its mode.

use jiff::SignedDuration;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// What becomes of an upgrade while the check can't say whether all is well, where its mode is Enforce. Hold: it doesn't
/// begin. Warn: it begins, and its status says so. Absent: Hold. If several policies select a Cluster and set it, Hold
/// counts more than Warn.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnUnknown {
    /// It begins.
    Warn,
    /// It doesn't begin.
    Hold,
}

/// What the check removed-apis lets pass.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RemovedApisParameters {
    /// APIs whose requests don't hold an upgrade. If several policies select a Cluster, what any of them lists counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub ignore: Vec<IgnoredApi>,

    /// How long an API server has to run before its count of requests is believed: 1h where it is absent. If several
    /// policies select a Cluster, the longest time counts.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "jiff::fmt::serde::duration::friendly::compact::optional"
    )]
    #[schemars(schema_with = "schema::optional_duration")]
    pub min_uptime: Option<SignedDuration>,
}

/// An API whose requests don't count.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct IgnoredApi {
    /// The API group, such as flowcontrol.apiserver.k8s.io.
    #[schemars(length(max = 253))]
    pub group: String,

    /// The version, such as v1beta3.
    #[schemars(length(min = 1, max = 63))]
    pub version: String,

    /// The resource, such as flowschemas; absent: all of the group at the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub resource: Option<String>,
}

impl IgnoredApi {
    /// Whether requests for a resource don't count.
    #[must_use]
    pub fn matches(&self, group: &str, version: &str, resource: &str) -> bool {
        self.group == group
            && self.version == version
            && self.resource.as_deref().is_none_or(|ignored| ignored == resource)
    }
}

/// The parameters of the check removed-apis, as all policies of a Cluster say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedApisRule {
    /// APIs whose requests don't count.
    pub ignore: Vec<IgnoredApi>,
    /// How long an API server has to run before its count is believed.
    pub min_uptime: SignedDuration,
}

impl RemovedApisRule {
    const MIN_UPTIME: SignedDuration = SignedDuration::from_hours(1);

    /// What several policies say together.
    pub(crate) fn of_all<'a>(all: impl IntoIterator<Item = &'a RemovedApisParameters>) -> Self {
        let (mut ignore, mut longest) = (Vec::new(), None);
        for parameters in all {
            ignore.extend(parameters.ignore.iter().cloned());
            longest = longest.max(parameters.min_uptime);
        }
        Self {
            ignore,
            min_uptime: longest.unwrap_or(Self::MIN_UPTIME),
        }
    }
}

impl Default for RemovedApisRule {
    fn default() -> Self {
        Self::of_all([])
    }
}
