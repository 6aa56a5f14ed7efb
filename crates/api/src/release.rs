//! `KubernetesRelease`: one row of the support matrix.
#![allow(clippy::duplicated_attributes, reason = "each printer column has a type of its own")]

use std::collections::BTreeMap;

use instar_domain::KubeVersion;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Addon, CatalogName, schema};

/// One row of the catalog: a Kubernetes version with the machine images and the component tags
/// that belong to it.
///
/// The row is immutable but for its support data, since every Cluster that uses it would roll
/// when what it renders changed. A new image is a new row with a higher revision, and a Cluster
/// moves to it only when a user edits it.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "upgrade.cluster.x-k8s.io",
    version = "v1alpha1",
    kind = "KubernetesRelease",
    plural = "kubernetesreleases",
    shortname = "kr",
    category = "cluster-api",
    // `clusterctl move` takes along what has these labels: of cluster-wide objects it creates what is missing.
    label("clusterctl.cluster.x-k8s.io", ""),
    label("clusterctl.cluster.x-k8s.io/move", ""),
    doc = "KubernetesRelease is one immutable row of the catalog: a Kubernetes version with the machine images and the component tags that belong to it.",
    printcolumn(name = "Catalog", type_ = "string", json_path = ".spec.catalog"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.version"),
    printcolumn(name = "Revision", type_ = "integer", json_path = ".spec.revision"),
    printcolumn(name = "Tier", type_ = "string", json_path = ".spec.support.tier"),
    printcolumn(name = "EndOfLife", type_ = "string", json_path = ".spec.support.endOfLife"),
    printcolumn(name = "Etcd", type_ = "string", json_path = ".spec.components.etcd.imageTag"),
    printcolumn(name = "CoreDNS", type_ = "string", json_path = ".spec.components.coreDNS.imageTag"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(
    validation = Rule::new("self.version == oldSelf.version && self.revision == oldSelf.revision && has(self.upgradesFrom) == has(oldSelf.upgradesFrom) && (!has(self.upgradesFrom) || self.upgradesFrom == oldSelf.upgradesFrom)")
        .message("version, revision and upgradesFrom never change, since Clusters are pinned to this row: create a new row with a higher revision"),
    validation = Rule::new("(has(self.catalog) ? self.catalog : '') == (has(oldSelf.catalog) ? oldSelf.catalog : '')")
        .message("catalog never changes, since Clusters of the other catalog may be pinned to this row: create a new row in the other catalog"),
    validation = Rule::new("has(self.machineImages) == has(oldSelf.machineImages) && (!has(self.machineImages) || self.machineImages == oldSelf.machineImages) && self.components == oldSelf.components")
        .message("machineImages and components never change, since every Cluster that uses this row would roll: create a new row with a higher revision"),
    validation = Rule::new("has(self.addons) == has(oldSelf.addons) && (!has(self.addons) || self.addons == oldSelf.addons)")
        .message("addons never change, since Clusters that have left them behind would not be asked again: create a new row with a higher revision")
)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesReleaseSpec {
    /// The catalog that this row belongs to. A Cluster sees the rows of one catalog: the one that the label
    /// upgrade.cluster.x-k8s.io/catalog of its ClusterClass names, or its own label where it is a classic Cluster.
    /// Rows and Clusters that name none belong to the default catalog.
    #[serde(default, skip_serializing_if = "CatalogName::is_default")]
    pub catalog: CatalogName,

    /// The Kubernetes version of this row, such as v1.34.3.
    #[schemars(schema_with = "schema::kube_version")]
    pub version: KubeVersion,

    /// The order among rows of one version: where several are fit, the highest is taken.
    #[serde(default = "first_revision")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub revision: u32,

    /// How well this row is supported. The only part that may change.
    #[serde(default)]
    pub support: Support,

    /// Which versions may be upgraded to this one, as a semver requirement such as
    /// ">=1.33.2, <1.35.0". Pre-release and build tags of the source version are not looked at.
    /// Where it is absent, any version that the rules of Kubernetes allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[0-9A-Za-z.,<>=^~* +-]+$"))]
    pub upgrades_from: Option<String>,

    /// What each kind of machine template gets. For a pool, the first entry counts that fits its
    /// template's kind, its role and its labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub machine_images: Vec<MachineImage>,

    /// The components that a kubeadm control plane runs beside Kubernetes itself.
    #[serde(default)]
    pub components: Components,

    /// What runs on the cluster beside Kubernetes and has to go along: network plugins, operators, databases. What it
    /// needs is written when the upgrade comes to it, and the upgrade goes on when it is ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub addons: Vec<Addon>,
}

const fn first_revision() -> u32 {
    1
}

/// How well a row is supported, and until when.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Support {
    /// The tier. A version prefix such as v1.36 resolves to rows of the tiers Latest, Supported
    /// and LTS only; Preview has to be asked for by its full version or name; Deprecated warns.
    #[serde(default)]
    pub tier: Tier,

    /// The day since which it has this tier. The warning of a Deprecated row says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::date")]
    pub since: Option<jiff::civil::Date>,

    /// The last day on which this row is supported. After it, the row warns as if Deprecated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::date")]
    pub end_of_life: Option<jiff::civil::Date>,
}

/// A row's place in the support matrix.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tier {
    /// To be tried out; never chosen unless it is named.
    Preview,
    /// The newest that is supported.
    Latest,
    /// Supported.
    #[default]
    Supported,
    /// Supported for long.
    LTS,
    /// Still there, and to be left.
    Deprecated,
}

impl Tier {
    /// The tier as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preview => "Preview",
            Self::Latest => "Latest",
            Self::Supported => "Supported",
            Self::LTS => "LTS",
            Self::Deprecated => "Deprecated",
        }
    }
}

/// The values that the templates of one kind get.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MachineImage {
    /// The API group of the template's kind.
    #[serde(default = "infrastructure_group")]
    #[schemars(length(min = 1, max = 253))]
    pub api_group: String,

    /// The kind of the infrastructure template, such as VSphereMachineTemplate. For a MachinePool,
    /// that of its pool template; in a classic Cluster, that of the pool itself, such as
    /// AzureMachinePool.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,

    /// Which pools it is for.
    #[serde(default)]
    pub role: PoolRole,

    /// Labels that the pool must have: those of the Cluster, over them those of the pool's class, and over them those
    /// of the pool in the Cluster's topology.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub labels: BTreeMap<String, String>,

    /// What to set in the template.
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub values: Vec<ValueAt>,
}

pub(crate) fn infrastructure_group() -> String {
    "infrastructure.cluster.x-k8s.io".to_owned()
}

/// Which pools an image is for.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PoolRole {
    /// The control plane's machines.
    ControlPlane,
    /// The machines of MachineDeployments and MachinePools.
    Worker,
    /// Both.
    #[default]
    Any,
}

/// One value and where it goes. Exactly one of value and json must be set.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("has(self.value) != has(self.json)").message("exactly one of value and json must be set")
)]
#[serde(rename_all = "camelCase")]
pub struct ValueAt {
    /// A JSON Pointer (RFC 6901) into the template, below /spec/ and through no array, such as
    /// /spec/template/spec/template.
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

/// The components of a kubeadm control plane.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Components {
    /// The etcd that runs beside the API server. Before a row with etcd 3.6, 3.5.26 or later must
    /// have run (see `etcd.io/blog/2025/zombie_members_upgrade`), and kubeadm's own default is older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<Component>,

    /// CoreDNS. Cluster API refuses a lower one than the one that runs.
    #[serde(default, rename = "coreDNS", skip_serializing_if = "Option::is_none")]
    pub core_dns: Option<Component>,
}

/// A component's image.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// The image's tag, such as 3.5.26-0.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"))]
    pub image_tag: String,

    /// The repository without the image's name, where it isn't kubeadm's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image_repository: Option<String>,
}
