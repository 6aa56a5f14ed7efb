//! What is written into the two objects of a MachinePool.

use std::collections::BTreeSet;

use instar_api::Values;
use instar_domain::{JsonPointer, KubeVersion};
use serde_json::Value;

use crate::{pool_id::PoolId, snapshot::ResourceVersion};

/// A merge patch of a MachinePool or of its infrastructure, beside the one that sets the version.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchMachinePool {
    /// The MachinePool, whichever of the two objects is written.
    pub pool: PoolId,
    pub change: MachinePoolChange,
    /// The version of the API at which to write.
    pub api_version: String,
    pub kind: String,
    pub name: String,
    /// What the write compares with; it stands in the patch too.
    pub resource_version: ResourceVersion,
    /// The JSON merge patch.
    pub patch: Value,
}

/// What such a patch does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MachinePoolChange {
    /// Puts our mark on the object, by which Cluster API pauses it.
    Pause,
    /// Sets a release's values in the infrastructure.
    SetValues {
        /// The release's name.
        release: String,
        /// Where values are set.
        pointers: BTreeSet<JsonPointer>,
    },
    /// Sets back in the infrastructure what was there before an upgrade set values.
    RestoreValues {
        /// The version that the pool had then.
        version: KubeVersion,
        /// What is set; null where nothing was.
        values: Values,
    },
    /// Writes into an object that did not become paused that the pool is left to its user for that.
    GiveUp,
    /// Takes our mark off the object.
    Resume,
}
