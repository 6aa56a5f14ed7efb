//! The writes of a topology cluster.

use std::collections::BTreeMap;

use instar_api::HookAnswer;
use instar_domain::KubeVersion;
use serde_json::Value;

use crate::{
    pool_id::PoolId,
    snapshot::{MachineDeployment, ResourceVersion},
};

/// A merge patch of a topology Cluster's version.
#[derive(Debug, Clone, PartialEq)]
pub struct EditVersion {
    /// The Cluster.
    pub name: String,
    /// What the write compares with; it stands in the patch too.
    pub resource_version: ResourceVersion,
    /// The version as it is written: admission resolves it.
    pub target: String,
    /// The JSON merge patch.
    pub patch: Value,
}

/// A merge patch of a topology Cluster's pins.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletePins {
    /// The Cluster.
    pub name: String,
    /// What the write compares with; it stands in the patch too.
    pub resource_version: ResourceVersion,
    /// The releases that are named, by version: admission fills in their values.
    pub releases: BTreeMap<KubeVersion, String>,
    /// The JSON merge patch.
    pub patch: Value,
}

/// A merge patch of a MachineDeployment: of a topology cluster's its `spec.paused` with our mark, of any the annotation
/// [`instar_capi::labels::PAUSED`] with our mark as its value.
#[derive(Debug, Clone, PartialEq)]
pub struct HoldPool {
    pub pool: PoolId,
    /// The version of the API at which to write.
    pub api_version: String,
    pub kind: String,
    pub name: String,
    /// What the write compares with; it stands in the patch too.
    pub resource_version: ResourceVersion,
    pub change: Hold,
    /// The edit of the version for which it is held. It is tried in a dry run first: where it would be refused, nothing
    /// is held.
    pub before: Option<Box<EditVersion>>,
    /// The JSON merge patch.
    pub patch: Value,
}

impl HoldPool {
    /// What the patch has to have beside its members is the object's `resourceVersion`.
    pub(crate) fn of(pool: &MachineDeployment, change: Hold, patch: Value) -> Self {
        let object = &pool.object;
        Self {
            pool: PoolId::Workers(object.name.clone()),
            api_version: object.api_version.clone(),
            kind: object.kind.clone(),
            name: object.name.clone(),
            resource_version: object.resource_version.clone(),
            change,
            before: None,
            patch,
        }
    }
}

/// What becomes of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// It replaces no machine, whatever its spec says.
    Hold,
    /// It goes to what its spec says.
    Release,
    /// It stops in the middle of its rollout: what its MachineSets have begun, they finish.
    PauseRollout,
    /// It goes on.
    ResumeRollout,
}

/// A merge patch of a topology Cluster's annotations.
#[derive(Debug, Clone, PartialEq)]
pub struct SetConcurrency {
    /// The Cluster.
    pub name: String,
    /// What the write compares with; it stands in the patch too.
    pub resource_version: ResourceVersion,
    /// The new value; absent where there was none before.
    pub to: Option<String>,
    /// The JSON merge patch.
    pub patch: Value,
}

/// A merge patch of what the Runtime Hooks answer, in an annotation of a topology Cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerHook {
    /// The Cluster.
    pub name: String,
    /// What the write compares with; it stands in the patch too.
    pub resource_version: ResourceVersion,
    /// The answer; absent where it is taken off, since nothing is asked any more.
    pub answer: Option<HookAnswer>,
    /// The JSON merge patch.
    pub patch: Value,
}

/// A merge patch that takes off Cluster API's annotation which switches off its check of version edits, where admission has
/// set it for a landing.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoreVersionCheck {
    /// The Cluster.
    pub name: String,
    /// What the write compares with; it stands in the patch too.
    pub resource_version: ResourceVersion,
    /// The JSON merge patch.
    pub patch: Value,
}

/// Why a pool stands in the middle of its rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutPausedBy {
    /// The maintenance windows are closed.
    Windows,
    /// A rollback that is asked for keeps its machines.
    Rollback,
}
