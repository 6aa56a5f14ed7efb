//! What is written into the two objects of a MachinePool, and why one is left to its user.

use std::{collections::BTreeSet, fmt};

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
    /// Writes into an object that did not become paused that the pool is left to its user for that.
    GiveUp,
    /// Takes our mark off the object.
    Resume,
}

/// Why a MachinePool is left to its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeftBecause {
    /// Its infrastructure isn't there.
    Missing { kind: String, name: String },
    /// Its infrastructure can't be read.
    Unreadable { kind: String, name: String, reason: String },
    /// Its infrastructure has no condition `Paused`, so nothing says when it is safe to write.
    NoPause { kind: String },
    /// The kind and the name of the object that did not say that it is paused.
    NotPaused { object: String },
    /// The release sets nothing in the kind of its infrastructure.
    NoImage { release: String, kind: String },
    /// The catalog has no row of the version.
    NoRow { version: KubeVersion },
}

impl fmt::Display for LeftBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { kind, name } => write!(f, "{kind} {name}, its infrastructureRef, was not found"),
            Self::Unreadable { kind, name, reason } => write!(f, "{kind} {name} can't be read: {reason}"),
            Self::NoPause { kind } => write!(
                f,
                "{kind} has no condition Paused, so its provider doesn't say when it may be changed"
            ),
            Self::NotPaused { object } => write!(f, "{object} was not paused within 5 minutes"),
            Self::NoImage { release, kind } => write!(f, "release {release} has no machineImages entry for {kind}"),
            Self::NoRow { version } => write!(f, "the catalog has no release of {version}"),
        }
    }
}
