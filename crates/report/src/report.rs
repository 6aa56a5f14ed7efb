//! The value.

use instar_api::{
    HealthStatus, MachineUpgradePhase, Operation, PreflightStatus, RollbackStatus, UpgradePhase, WindowStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{ShownUpgrade, TimeLeft};

/// What is to be said of one Cluster. Fields are added to it, and keep their names and meanings.
#[derive(Serialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The Cluster.
    pub cluster: ClusterSection,
    /// Its upgrade: the one that is under way, else the last one; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<UpgradeSection>,
    /// Its control plane; absent where it has none, or where that can't be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<PoolSection>,
    /// Its MachineDeployments and MachinePools, by kind and name.
    pub pools: Vec<PoolSection>,
    /// All its Machines: those that are not Running first, by pool, the control plane's first, then by name.
    pub machines: Vec<MachineRow>,
    /// What the upgrade waits for and what isn't well, the highest level first, one row for each cause.
    pub health: Vec<HealthStatus>,
    /// What couldn't be read, each with the reason: the report is without it.
    pub unread: Vec<String>,
}

/// The Cluster.
#[derive(Serialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSection {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who rolls its machines.
    #[serde(rename = "type")]
    pub kind: ClusterKind,
    /// Its ClusterClass, of a topology Cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The version that it is asked to have: `spec.topology.version`, or that of its control plane. Empty where it isn't known.
    pub version: String,
    /// The version that an edit of the Cluster asks for and no ClusterUpgrade goes to yet: the controller makes one a moment
    /// after the edit. Absent where none is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested: Option<String>,
    /// Whether `spec.paused` is set.
    pub paused: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// Who rolls the machines of a Cluster.
#[derive(Serialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterKind {
    /// It has `spec.topology`: Cluster API's topology controller does.
    Topology,
    /// It has none: Instar does.
    Classic,
}

/// The upgrade.
#[derive(Serialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeSection {
    /// The ClusterUpgrade.
    pub name: String,
    /// By what a form of the page knows it again: no part of the value that is printed.
    #[serde(skip)]
    pub shown: ShownUpgrade,
    /// What it does.
    pub operation: Operation,
    /// Where it goes; of a rollback the ClusterUpgrade that it takes back.
    pub target: String,
    /// What it is at.
    pub phase: UpgradePhase,
    /// Whether `spec.paused` is set.
    pub paused: bool,
    /// Whether the status describes the spec as it is now. If not, it is that of an earlier one.
    pub observed: bool,
    /// Since when it is known; absent where no status says it yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Time>,
    /// The releases that the control plane goes through.
    pub path: Vec<PathStep>,
    /// The write that was decided last; empty before the first.
    pub step: String,
    /// How many machines are where they go.
    pub converged: u32,
    /// Of how many.
    pub machines: u32,
    /// How long the machines that are left may take; absent before the first of this upgrade is there, while it is held,
    /// and when nothing is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_left: Option<TimeLeft>,
    /// Where its maintenance windows stand; absent where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowStatus>,
    /// What the checks found before it began.
    pub preflight: Vec<PreflightStatus>,
    /// What a rollback would do; absent where that isn't known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackStatus>,
}

/// A release on the path.
#[derive(Serialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PathStep {
    /// The KubernetesRelease.
    pub release: String,
    /// Its version; empty where no pin of the Cluster says it.
    pub version: String,
    /// Whether the control plane has been there.
    pub state: PathStepState,
}

/// Whether the control plane has been at a release.
#[derive(Serialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathStepState {
    /// It has.
    Done,
    /// It goes there now.
    Current,
    /// It will go there.
    ToCome,
}

/// A control plane or a pool of workers.
#[derive(Serialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PoolSection {
    /// Its kind.
    pub kind: PoolKindName,
    /// The name of the object.
    pub name: String,
    /// The version that its spec says; empty where it says none.
    pub version: String,
    /// How many machines there should be; absent where its spec doesn't say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// How many there are.
    pub machines: u32,
    /// How many are where they go.
    pub converged: u32,
    /// How many are on their way.
    pub upgrading: u32,
    /// How many have failed.
    pub failed: u32,
    /// How it is.
    pub assessment: Assessment,
}

/// The kind of a pool: one of Cluster API's, or that of a control plane of any provider.
#[derive(Serialize, JsonSchema, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
pub struct PoolKindName(pub String);

/// How a pool is, the first that holds.
#[derive(Serialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assessment {
    /// It has no machines, and shall have none.
    Empty,
    /// A machine of it has failed.
    Degraded,
    /// All its machines are where they go.
    UpToDate,
    /// A row of health of level Error is about it: it doesn't go on before a user acts.
    Stalled,
    /// The upgrade is held or paused, and no machine of it is on its way.
    Held,
    /// Machines of it are on their way, or some are there and others are not yet.
    Progressing,
    /// Its turn has not come.
    Pending,
}

/// A Machine.
#[derive(Serialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MachineRow {
    /// The name of its pool's object; empty for a Machine that no pool has made.
    pub pool: String,
    /// Whether it is one of the control plane.
    pub control_plane: bool,
    /// Its name.
    pub name: String,
    /// Its node; empty where it hasn't joined.
    pub node: String,
    /// The version that its node's kubelet runs; empty where that isn't known.
    pub version: String,
    /// How far it has come.
    pub phase: MachineUpgradePhase,
    /// When it was created; absent in an object from a file that doesn't say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Time>,
    /// What its deletion or its node waits for; empty where nothing says it.
    pub message: String,
}

impl Assessment {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Degraded => "Degraded",
            Self::UpToDate => "UpToDate",
            Self::Stalled => "Stalled",
            Self::Held => "Held",
            Self::Progressing => "Progressing",
            Self::Pending => "Pending",
        }
    }
}
