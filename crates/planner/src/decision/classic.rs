//! The writes of a classic Cluster.

use std::collections::BTreeSet;

use instar_domain::{JsonPointer, KubeVersion};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    pool_id::PoolId,
    snapshot::{ResourceVersion, TemplateRef},
};

/// A template to create. Where an object of this name is there, [`accept`](crate::accept) decides.
#[derive(Debug, Clone, PartialEq)]
pub struct MintTemplate {
    /// The pool that it is for.
    pub pool: PoolId,
    /// What it will be.
    pub template: TemplateRef,
    pub object: Value,
    /// Where the release and the upgrade set values in it.
    pub pointers: BTreeSet<JsonPointer>,
    /// The swap for which it is made, where Cluster API's own webhooks judge that. It is tried in a dry run first: where
    /// it would be refused, nothing is made.
    pub before: Option<Box<Swap>>,
}

/// A merge patch of a control plane, a MachineDeployment or a MachinePool.
#[derive(Debug, Clone, PartialEq)]
pub struct Swap {
    pub pool: PoolId,
    /// The version of the API at which to write.
    pub api_version: String,
    pub kind: String,
    pub name: String,
    /// What the write compares with; it stands in the patch too.
    pub resource_version: ResourceVersion,
    /// The version that the pool gets.
    pub version: KubeVersion,
    /// The release that it gets; absent where that isn't known, since Instar hadn't set what it goes back to.
    pub release: Option<String>,
    /// The machine template that it gets.
    pub template: Option<TemplateRef>,
    /// The bootstrap template that it gets, where that changes.
    pub bootstrap: Option<TemplateRef>,
    /// Of a restart, which changes nothing else: the time before which Cluster API replaces what was made.
    pub rollout_after: Option<Timestamp>,
    /// The JSON merge patch.
    pub patch: Value,
}

impl Swap {
    /// Where the pool goes, in words.
    #[must_use]
    pub fn destination(&self) -> String {
        match (&self.release, self.rollout_after) {
            (_, Some(after)) => format!(
                "new machines of {}, in the place of those from before {after}",
                self.version
            ),
            (Some(release), None) => format!("release {release}"),
            (None, None) => format!("{}, where it was before", self.version),
        }
    }
}

/// A merge patch of a classic Cluster's pins.
#[derive(Debug, Clone, PartialEq)]
pub struct PinPath {
    /// The Cluster.
    pub name: String,
    /// What the write compares with; it stands in the patch too.
    pub resource_version: ResourceVersion,
    /// The names of the releases that the control plane goes through.
    pub releases: Vec<String>,
    /// The name of the upgrade that is taken back, if one is.
    pub takes_back: Option<String>,
    /// The swap that comes next, where Cluster API's own webhooks judge that: as in [`MintTemplate`].
    pub before: Option<Box<Swap>>,
    /// Of a way back that the control plane goes too: its first step, which comes after the workers. It is tried in a dry
    /// run as well: where it would be refused, nothing goes back.
    pub way_back: Option<Box<StepBack>>,
    /// The JSON merge patch.
    pub patch: Value,
}

/// The control plane's first step of a way back.
#[derive(Debug, Clone, PartialEq)]
pub struct StepBack {
    pub swap: Swap,
    pub template: SwapTemplate,
}

/// Whether the template is there to which a swap leads. Where it isn't, what is refused of the reference alone says
/// nothing: a policy may ask that the template exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwapTemplate {
    Exists,
    ToBeMade,
}

/// A merge patch of the annotation of a control plane, a MachineDeployment or a MachinePool.
#[derive(Debug, Clone, PartialEq)]
pub struct Convergence {
    pub pool: PoolId,
    /// The version of the API at which to write.
    pub api_version: String,
    pub kind: String,
    pub name: String,
    /// What the write compares with; it stands in the patch too.
    pub resource_version: ResourceVersion,
    /// The JSON merge patch.
    pub patch: Value,
}

/// A template to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteTemplate {
    /// The version of the API at which to write.
    pub api_version: String,
    /// Which.
    pub template: TemplateRef,
    /// The precondition.
    pub resource_version: ResourceVersion,
}
