//! `ClusterUpgrade`: one upgrade of one Cluster, its spec and its record.
#![allow(clippy::duplicated_attributes, reason = "each printer column has a type of its own")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Approval, Canary, FailurePolicy, HealthStatus, Operation, PreflightSpec, PreflightStatus, RuntimeHooksStatus,
    ValueAt, WindowOverride, WindowStatus, schema,
};

/// One upgrade of a Cluster: where to, in which order, and how far it has come.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[kube(
    group = "upgrade.cluster.x-k8s.io",
    version = "v1alpha1",
    kind = "ClusterUpgrade",
    plural = "clusterupgrades",
    shortname = "cu",
    category = "cluster-api",
    namespaced,
    status = "ClusterUpgradeStatus",
    derive = "PartialEq",
    // `clusterctl move` takes along what has these labels.
    label("clusterctl.cluster.x-k8s.io", ""),
    label("clusterctl.cluster.x-k8s.io/move", ""),
    doc = "ClusterUpgrade is one upgrade of one Cluster in its namespace: the wish and the record.",
    // By it the upgrades of one Cluster are listed without those of the others.
    selectable = ".spec.clusterName",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterName"),
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.target"),
    printcolumn(name = "Operation", type_ = "string", json_path = ".spec.operation", priority = 1),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Machines", type_ = "string", json_path = ".status.machines"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.health[0].reason"),
    printcolumn(name = "Object", type_ = "string", json_path = ".status.health[0].name"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Paused", type_ = "boolean", json_path = ".spec.paused", priority = 1),
    printcolumn(name = "Path", type_ = "string", json_path = ".status.path", priority = 1),
    printcolumn(name = "Step", type_ = "string", json_path = ".status.step", priority = 1),
    printcolumn(name = "Level", type_ = "string", json_path = ".status.health[0].level", priority = 1),
    printcolumn(name = "Since", type_ = "date", json_path = ".status.health[0].since", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.health[0].message", priority = 1)
)]
#[x_kube(
    validation = Rule::new("self.clusterName == oldSelf.clusterName")
        .message("clusterName never changes, since this is the record of one Cluster's upgrade: create another ClusterUpgrade"),
    validation = Rule::new("has(self.rollbackOf) == (has(self.operation) && self.operation.startsWith('Rollback'))")
        .message("rollbackOf names the ClusterUpgrade that is taken back: it must be set with the operations Rollback and RollbackWorkers, and with no other"),
    validation = Rule::new("has(self.rollbackOf) != (has(self.target) && self.target != '')")
        .message("target must be set, but for the operations Rollback and RollbackWorkers, which go to what was there before"),
    validation = Rule::new("has(self.rollbackOf) == has(oldSelf.rollbackOf) && (!has(self.rollbackOf) || self.rollbackOf == oldSelf.rollbackOf)")
        .message("rollbackOf never changes, since this is the record of one rollback: create another ClusterUpgrade"),
    validation = Rule::new("!has(self.rollbackOf) || (!has(self.source) && (!has(self.controlPlane) || !has(self.controlPlane.patches)) && (!has(self.pools) || self.pools.all(pool, has(pool.hold) && pool.hold)))")
        .message("a rollback sets what was there before: of source, controlPlane.patches and pools it takes pools with hold: true alone"),
    validation = Rule::new("!has(self.keepAddons) || has(self.rollbackOf)")
        .message("keepAddons is for the operations Rollback and RollbackWorkers alone: leave it out, or set rollbackOf"),
    validation = Rule::new("!has(self.retry) || self.retry == 0 || !has(self.rollbackOf)")
        .message("retry asks again for an upgrade that was taken back: leave it out of a rollback, and create another one to take back what is left"),
    validation = Rule::new("!has(self.operation) || self.operation != 'Restart' || (has(oldSelf.operation) && oldSelf.operation == 'Restart')")
        .message("operation can't become Restart, since a restart replaces the machines that were there when its ClusterUpgrade was created: create another ClusterUpgrade"),
    validation = Rule::new("!has(self.operation) || self.operation != 'Restart' || ((!has(self.controlPlane) || !has(self.controlPlane.patches)) && (!has(self.pools) || self.pools.all(pool, has(pool.hold) && pool.hold)))")
        .message("a restart changes no template and no version: of controlPlane.patches and pools it takes pools with hold: true alone")
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterUpgradeSpec {
    /// The Cluster in this namespace.
    #[schemars(length(min = 1, max = 63))]
    pub cluster_name: String,

    /// What it is to do. Upgrade: it brings the Cluster to the target. Abort: the step of the control plane that is under
    /// way ends, the workers follow it, and the upgrade ends there; of a topology Cluster between its steps, that needs
    /// Runtime Hooks. Rollback: it takes another upgrade back, first the
    /// workers, then the control plane. `RollbackWorkers`: the same for the workers alone. Refresh: it
    /// brings the Cluster to another release of the version that it runs, forward or back; target is its name. Restart: a
    /// classic Cluster gets new machines of the templates and the versions that it has; target is the version that it runs.
    #[serde(default)]
    pub operation: Operation,

    /// The ClusterUpgrade that a rollback takes back: the one that is under way, or the last one of the Cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub rollback_of: Option<String>,

    /// Where to: a version (v1.34.3), a prefix (v1.34), or the name of a `KubernetesRelease`. What
    /// already satisfies a version or a prefix stays as it is. It may be edited at any time: Instar
    /// plans the path again from the version that the control plane has. A rollback has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub target: String,

    /// Where from: a version or a prefix that the control plane must run when this upgrade begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        regex(
            pattern = r"^v(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?)?$"
        )
    )]
    pub source: Option<String>,

    /// How many pools of workers are replaced at a time.
    #[serde(default)]
    pub strategy: UpgradeStrategy,

    /// The MachineDeployments that go first, in this order; the others follow by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "atomic"))]
    pub order: Vec<String>,

    /// What is asked of the control plane beside its release.
    #[serde(default)]
    pub control_plane: ControlPlaneRule,

    /// The MachineDeployments that don't simply follow the control plane.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub pools: Vec<PoolRule>,

    /// What is asked of the checks before it begins.
    #[serde(default, skip_serializing_if = "PreflightSpec::is_empty")]
    pub preflight: PreflightSpec,

    /// That it goes on outside of maintenance windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_window: Option<WindowOverride>,

    /// What was approved, where an UpgradePolicy asks for approvals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["before", "version", "target"]))]
    pub approvals: Vec<Approval>,

    /// What becomes of it when it fails, beside what UpgradePolicies say: the one that takes the least back counts, and the
    /// longest deadline. Of a rollback it says nothing.
    #[serde(default, skip_serializing_if = "FailurePolicy::is_empty")]
    pub rollback: FailurePolicy,

    /// Whether nothing is to be written until this is false again.
    #[serde(default)]
    pub paused: bool,

    /// The add-ons that a rollback leaves as they are, by name, beside those whose releases say so. It may be edited while
    /// one of them holds the rollback.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub keep_addons: Vec<String>,

    /// How many times this was asked for again after it had been taken back. A target that was taken back is not gone to
    /// again before this is higher than it was then; without a rollback before, it does nothing. A restart that was refused
    /// since its Cluster had been moved begins again with it.
    #[serde(default, skip_serializing_if = "is_first_try")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub retry: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_first_try(retry: &u32) -> bool {
    *retry == 0
}

/// How many pools of workers are replaced at a time.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("self.type == 'Parallel' || !has(self.limit)").message("limit is for the type Parallel alone")
)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeStrategy {
    /// Ordered: one after the other. Parallel: as many as limit says. All: all of them.
    #[serde(default, rename = "type")]
    pub kind: StrategyType,

    /// How many pools at a time, for Parallel; 2 where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub limit: Option<u16>,

    /// Pools that go first, and how long they run before the others follow: beside what UpgradePolicies ask for, the most
    /// pools and the longest time count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
}

/// Which strategy.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StrategyType {
    /// One pool after the other.
    #[default]
    Ordered,
    /// Several at a time.
    Parallel,
    /// All at once.
    All,
}

/// What is asked of the control plane beside its release. The configuration of kubeadm stands in
/// the KubeadmControlPlane itself, and is not patched.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ControlPlaneRule {
    /// What is set in its machine template beside the release's image: CPUs, memory, disk. Each
    /// goes over what the release sets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub patches: Vec<ValueAt>,
}

/// What is asked of one pool.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("!(has(self.hold) && self.hold && has(self.release))").message("hold: true and release must not both be set, since a pool that stays goes to no release"),
    validation = Rule::new("(has(self.hold) && self.hold) || has(self.release) || has(self.patches) || has(self.bootstrapPatches)").message("at least one of hold: true, release, patches and bootstrapPatches must be set")
)]
#[serde(rename_all = "camelCase")]
pub struct PoolRule {
    /// The MachineDeployment.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Whether it stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<bool>,

    /// The `KubernetesRelease` that it goes to, and no further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub release: Option<String>,

    /// What is set in its machine template beside the release's image: CPUs, memory, disk. Each
    /// goes over what the release sets, and comes with it: what already runs its version is left
    /// as it is, unless the target is a release by its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub patches: Vec<ValueAt>,

    /// The same for the template of its bootstrap configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub bootstrap_patches: Vec<ValueAt>,
}

/// What is known of an upgrade. It is a record only: nothing is decided by it but which of several
/// upgrades of a Cluster is the one that goes on.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterUpgradeStatus {
    /// What it is at.
    pub phase: UpgradePhase,

    /// The releases that the control plane goes through, those that it has passed included.
    #[schemars(length(max = 64), inner(length(max = 253)), extend("x-kubernetes-list-type" = "atomic"))]
    pub path: Vec<String>,

    /// The write that was decided last.
    #[schemars(length(max = 512))]
    pub step: String,

    /// How many machines have got where they go, of how many there are: 5/7.
    #[schemars(length(max = 32))]
    pub machines: String,

    /// How many pools there are, also those that the list of pools leaves out.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub pool_count: u32,

    /// The pools, the control plane first, then by name; the first 256 of them.
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub pools: Vec<PoolStatus>,

    /// What it waits for and what isn't well: the highest level first, at most 32 rows.
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub health: Vec<HealthStatus>,

    /// Where its maintenance windows stand; absent where no UpgradePolicy has any, where they are overridden, and once it
    /// has finished.
    pub window: Option<WindowStatus>,

    /// What a rollback would do now; absent while it isn't known. Of an upgrade that has
    /// finished it says what was so at its end.
    pub rollback: Option<RollbackStatus>,

    /// Whether Cluster API asks Instar before each step of a topology Cluster; absent for other Clusters, and once it has
    /// finished.
    pub runtime_hooks: Option<RuntimeHooksStatus>,

    /// What the checks found before it began; once it has begun, they are not asked again.
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["check"]))]
    pub preflight: Vec<PreflightStatus>,

    /// The templates that were minted for the Cluster and are there, in its newest record; the first
    /// 256.
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "atomic"))]
    pub templates: Vec<MintedTemplate>,

    /// The conditions Progressing, Completed and Healthy.
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// The generation of the spec that this status describes.
    #[schemars(range(min = 0))]
    pub observed_generation: i64,
}

/// What a rollback would do, and whether it can.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct RollbackStatus {
    /// How much of the upgrade can be taken back.
    pub possible: RollbackExtent,

    /// Why not all of it can, and what to do about it; empty where all can.
    #[schemars(length(max = 1024))]
    pub why: String,

    /// What would be done, a pool or an add-on each, in this order, and which add-ons stay: the first 32.
    #[schemars(length(max = 32), inner(length(max = 512)), extend("x-kubernetes-list-type" = "atomic"))]
    pub what: Vec<String>,
}

/// How much of an upgrade can be taken back.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RollbackExtent {
    /// Nothing of it.
    #[default]
    Nothing,
    /// The workers, by the operation `RollbackWorkers`.
    Workers,
    /// All of it, by the operation Rollback.
    All,
}

/// What an upgrade is at.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UpgradePhase {
    /// Nothing has been looked at yet.
    #[default]
    Pending,
    /// It can't go on before a user acts, as `health` says.
    Held,
    /// The control plane's machines are replaced.
    ControlPlane,
    /// The workers' machines are replaced.
    Workers,
    /// Every machine that should move has got there. It is completed when the cluster works too: each Node has been Ready
    /// for a minute, and add-ons, gates and what is verified are ready.
    Verifying,
    /// Every machine that should move has got there, and the cluster works.
    Completed,
    /// It isn't done, as `health` says, before its spec is edited.
    Refused,
    /// Another ClusterUpgrade takes it back. Once that has ended, it begins again for another target or a higher retry.
    RollingBack,
    /// Another ClusterUpgrade has taken it back. It begins again for another target or a higher retry.
    RolledBack,
    /// It was aborted, and has ended where the control plane stood. It begins again when its spec is edited.
    Aborted,
    /// An add-on or a gate with `onTimeout: Fail` has timed out, as `health` says, and nothing more is written for it. It
    /// begins again when its spec is edited.
    Failed,
}

/// How far a pool has come. The counts are of all its machines; the list may leave some out.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct PoolStatus {
    /// The MachineDeployment's name; empty for the control plane.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The version that its spec says.
    #[schemars(length(max = 64))]
    pub version: String,
    /// How many machines it has.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub machines: u32,
    /// How many of them have got where the pool goes: those that are Running.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub converged: u32,
    /// How many of them are Upgrading.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub upgrading: u32,
    /// How many of them are Failed.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub failed: u32,
    /// How many of them the list below leaves out; 0 in an upgrade that has finished.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub unlisted: u32,
    /// Its machines: those that are not Running first, then by name. At most 32 of a pool, and 256
    /// of all pools; none in an upgrade that has finished.
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub machine_details: Vec<MachineDetail>,
}

/// How far a machine has come.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MachineDetail {
    /// The Machine.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its node; absent where it hasn't joined.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub node: String,
    /// How far it has come.
    pub phase: MachineUpgradePhase,
    /// The version that its node's kubelet runs; absent where that isn't known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub version: String,
}

/// How far a machine has come, seen from where its pool goes. Where that can't be said, because
/// the target means nothing, the pool's own spec is taken for it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineUpgradePhase {
    /// It is to be replaced, and nothing of that has begun: it isn't what its pool's spec says, or
    /// that spec has a step to go.
    Pending,
    /// It is on its way: of the new version and template and not there yet, or old and being
    /// deleted.
    Upgrading,
    /// It is of the version and the template where its pool goes, it runs, and its node's kubelet
    /// is of that version.
    Running,
    /// Cluster API says that it failed.
    Failed,
}

/// A template that was minted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MintedTemplate {
    /// Its kind.
    #[schemars(length(max = 63))]
    pub kind: String,
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The release that it was minted for.
    #[schemars(length(max = 63))]
    pub release: String,
    /// What it is there for.
    pub state: TemplateUse,
    /// When it goes, if it is Kept or Unused; absent before the upgrade is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub kept_until: Option<Time>,
}

/// What a minted template is there for.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateUse {
    /// The control plane or a MachineDeployment refers to it.
    InUse,
    /// Only a MachineSet refers to it, one that isn't being deleted: of a rollout, or one that
    /// stands alone.
    InMachineSet,
    /// What is in use was made from it: it is kept for a rollback.
    Kept,
    /// Nothing refers to it, and nothing in use was made from it: it was minted for a step that is
    /// past, for another target, or for a pool that is gone.
    Unused,
}

impl ClusterUpgradeStatus {
    /// Whether this upgrade will do nothing more of its own.
    #[must_use]
    pub fn is_finished(&self, generation: i64) -> bool {
        self.phase.is_finished() && self.observed_generation == generation
    }
}

impl UpgradePhase {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Pending,
        Self::Held,
        Self::ControlPlane,
        Self::Workers,
        Self::Verifying,
        Self::Completed,
        Self::Refused,
        Self::RollingBack,
        Self::RolledBack,
        Self::Aborted,
        Self::Failed,
    ];

    /// Whether an upgrade in this phase does nothing more of its own.
    #[must_use]
    pub const fn is_finished(self) -> bool {
        match self {
            Self::Completed | Self::Refused | Self::RollingBack | Self::RolledBack | Self::Aborted | Self::Failed => {
                true
            }
            Self::Pending | Self::Held | Self::ControlPlane | Self::Workers | Self::Verifying => false,
        }
    }

    /// The phase as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Held => "Held",
            Self::ControlPlane => "ControlPlane",
            Self::Workers => "Workers",
            Self::Verifying => "Verifying",
            Self::Completed => "Completed",
            Self::Refused => "Refused",
            Self::RollingBack => "RollingBack",
            Self::RolledBack => "RolledBack",
            Self::Aborted => "Aborted",
            Self::Failed => "Failed",
        }
    }

    /// The phase of an upgrade that is over, from the text of [`FINISHED_ANNOTATION`](crate::FINISHED_ANNOTATION). What
    /// isn't known, such as a newer Instar's, counts as refused: nothing is done for it.
    #[must_use]
    pub fn of_finished(text: &str) -> Self {
        let finished = [
            Self::Completed,
            Self::Refused,
            Self::RollingBack,
            Self::RolledBack,
            Self::Aborted,
            Self::Failed,
        ];
        let mut finished = finished.into_iter();
        finished.find(|phase| phase.as_str() == text).unwrap_or(Self::Refused)
    }
}
