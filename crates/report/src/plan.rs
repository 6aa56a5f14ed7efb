//! What an upgrade would do: one value, made of a forecast.

mod of;

use instar_api::{HealthLevel, PreflightResult, RollbackExtent};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

pub use of::{PlanSubject, is_unasked};

use crate::{ClusterKind, PoolKindName};

/// What an upgrade of one Cluster would do. Fields are added to it, and keep their names and meanings.
#[derive(Serialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The Cluster.
    pub cluster: PlannedCluster,
    /// Where it would go, as it was asked for.
    pub target: String,
    /// Whether it can.
    pub outcome: PlanOutcome,
    /// The releases that the control plane goes through.
    pub path: Vec<PlannedRelease>,
    /// What admission says to the edit that asks for it.
    pub findings: Vec<PlanFinding>,
    /// What the checks before an upgrade come to now; empty where none is asked any more.
    pub checks: Vec<PlanCheck>,
    /// What is written, in this order.
    pub steps: Vec<PlanStep>,
    /// What holds the end, once all machines are there; where something stands in the way, what else holds it there.
    pub before_completion: Vec<PlanHold>,
    /// The control plane, then the pools by kind and name: also those that stay as they are.
    pub pools: Vec<PlannedPool>,
    /// What stands in the way, so that it doesn't come to its end. After the steps that it takes all the same.
    pub blocked_by: Vec<PlanHold>,
    /// What is to be known of it, and holds nothing: workers that are left to their user, for example.
    pub notes: Vec<String>,
    /// What couldn't be read or told, each with the reason: the plan is without it.
    pub unread: Vec<String>,
    /// The command that comes next; empty where there is none.
    pub next: String,
}

/// The Cluster.
#[derive(Serialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PlannedCluster {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who rolls its machines.
    #[serde(rename = "type")]
    pub kind: ClusterKind,
    /// The version that it is at: its topology's, or that of its control plane. Empty where it isn't known.
    pub version: String,
}

/// Whether an upgrade can go.
#[derive(Serialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanOutcome {
    /// It can begin now, and nothing that is known now holds it on its way.
    CanGo,
    /// It can go. Something holds it on its way that opens by time, by an approval, or once an add-on is ready.
    Waits,
    /// It is where it should be.
    NothingToDo,
    /// A topology Cluster goes there already: `kubectl instar status` says how far it is.
    UnderWay,
    /// A check holds it, and a user has to mend what that found.
    Held,
    /// Admission refuses it, or something stands in the way.
    Blocked,
    /// That can't be said.
    Unknown,
}

/// A release on the path.
#[derive(Serialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PlannedRelease {
    /// The KubernetesRelease.
    pub release: String,
    /// Its version; empty where the catalog doesn't say it.
    pub version: String,
    /// Why the control plane stops there.
    pub why: String,
}

/// What admission says to an edit.
#[derive(Serialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PlanFinding {
    /// Whether the edit is refused.
    pub effect: FindingEffect,
    /// What it says.
    pub message: String,
}

/// What becomes of an edit by a finding.
#[derive(Serialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingEffect {
    /// It is refused.
    Refused,
    /// It is taken, with a warning.
    Warned,
}

/// A check before an upgrade.
#[derive(Serialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PlanCheck {
    /// Its name.
    pub check: String,
    /// What it came to; absent where it reads the workload cluster, a vCenter or snapshots of etcd, which only the controller
    /// does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<PreflightResult>,
    /// What is wrong, or why there is nothing to look at; empty where it passes.
    pub message: String,
}

/// One write.
#[derive(Serialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlanStep {
    /// What kind of write.
    #[serde(rename = "type")]
    pub kind: StepKind,
    /// The pool that it is for.
    pub pool: PoolName,
    /// What holds it, and is closed now.
    pub holds: Vec<PlanHold>,
    /// Of an upgrade, the version that the pool has.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// Of an upgrade, the version that it gets.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub to: String,
    /// The release that it is for; empty where it isn't known.
    pub release: String,
    /// The template that is created, or that the pool gets. Empty where Cluster API chooses its name, and where the pool has
    /// none.
    pub template: String,
    /// Of an upgrade, the bootstrap template that the pool gets; empty where that stays.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub bootstrap: String,
    /// Of a template that is created, the one that it takes the place of.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub replaces: String,
    /// The values that change, by pointer.
    pub changes: Vec<PlannedValue>,
    /// How many machines are replaced by it.
    pub machines: u32,
    /// What the way back is once these machines are there; absent where nothing is replaced, or where it can't be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way_back: Option<PlannedWayBack>,
}

/// What kind of write.
#[derive(Serialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// A template is created.
    CreateTemplate,
    /// The infrastructure of a MachinePool gets values.
    SetValues,
    /// A pool is pointed at a version, and its machines are replaced.
    Upgrade,
}

/// A pool.
#[derive(Serialize, JsonSchema, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct PoolName {
    /// Its kind.
    pub kind: PoolKindName,
    /// The name of the object.
    pub name: String,
}

/// A value that changes.
#[derive(Serialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlannedValue {
    /// Where: a JSON pointer into the object's spec, of a control plane into its `clusterConfiguration`.
    pub pointer: String,
    /// What is there now; absent where nothing is, or where that isn't known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What will be there; absent where nothing will.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// What the way back is.
#[derive(Serialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PlannedWayBack {
    /// How much of the upgrade can be taken back.
    pub possible: RollbackExtent,
    /// Why not all of it, each reason by itself; empty where all can.
    pub why: Vec<String>,
}

/// What holds an upgrade, or stands in its way.
#[derive(Serialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PlanHold {
    /// The reason, as `status.health` of a ClusterUpgrade has it.
    pub reason: String,
    /// How bad it is.
    pub level: HealthLevel,
    /// What it is.
    pub message: String,
    /// What to do about it; empty where there is nothing to do but wait.
    pub next: String,
}

/// A pool, all in all.
#[derive(Serialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PlannedPool {
    /// Which.
    pub pool: PoolName,
    /// The version that it has now.
    pub from: String,
    /// The version that it has at the end.
    pub to: String,
    /// How many machines it has.
    pub replicas: u32,
    /// How often its machines are replaced.
    pub rollouts: u32,
    /// How many machines are replaced in all of them.
    pub machines: u32,
}

impl PlanOutcome {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CanGo => "CanGo",
            Self::Waits => "Waits",
            Self::NothingToDo => "NothingToDo",
            Self::UnderWay => "UnderWay",
            Self::Held => "Held",
            Self::Blocked => "Blocked",
            Self::Unknown => "Unknown",
        }
    }
}

/// A version that a Cluster could go to, or what stands in the way.
#[derive(Serialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PlanTarget {
    /// The version.
    pub version: String,
    /// The KubernetesRelease of it that would be taken.
    pub release: String,
    /// Whether the Cluster can go there.
    pub outcome: PlanOutcome,
    /// How many releases the control plane goes through.
    pub steps: u32,
    /// How many machines are replaced.
    pub machines: u32,
    /// What stands in the way, or what holds it first; empty where nothing does.
    pub why: String,
}

impl PlanTarget {
    /// What a plan says of its target.
    #[must_use]
    pub fn of(version: &str, release: &str, plan: &Plan) -> Self {
        let refused = plan
            .findings
            .iter()
            .find(|finding| finding.effect == FindingEffect::Refused)
            .map(|finding| &finding.message);
        let holds = plan.steps.iter().flat_map(|step| &step.holds);
        let held = holds.chain(&plan.before_completion).next();
        let why = refused
            .or_else(|| plan.blocked_by.first().map(|hold| &hold.message))
            .or_else(|| held.map(|hold| &hold.message))
            .or_else(|| plan.unread.first());
        let machines = plan.pools.iter().map(|pool| pool.machines);
        Self {
            version: version.to_owned(),
            release: release.to_owned(),
            outcome: plan.outcome,
            steps: u32::try_from(plan.path.len()).unwrap_or(u32::MAX),
            machines: machines.fold(0, u32::saturating_add),
            why: why.cloned().unwrap_or_default(),
        }
    }
}
