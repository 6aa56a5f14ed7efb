//! The writes of a release change: another release of the version that a topology Cluster runs.

use instar_domain::KubeVersion;
use jiff::Timestamp;
use serde_json::Value;

use crate::{pool_id::PoolId, snapshot::ResourceVersion};

/// A merge patch of a topology Cluster's pins: pools are taken off the list of those that still have another release.
#[derive(Debug, Clone, PartialEq)]
pub struct FollowRelease {
    /// The Cluster.
    pub name: String,
    /// What the write compares with; it stands in the patch too.
    pub resource_version: ResourceVersion,
    /// The version that the Cluster runs.
    pub version: KubeVersion,
    /// The release whose values the pools get.
    pub release: String,
    /// The pools; none where the list goes, since all of them have followed.
    pub pools: Vec<PoolId>,
    /// The JSON merge patch.
    pub patch: Value,
}

/// A Machine of a topology cluster's control plane that never joined, to delete. Its uid and its version are read just
/// before, when all that was decided is looked at again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteMachine {
    pub name: String,
    /// When it was made: another one of the same name is another one.
    pub created: Timestamp,
    /// What the control plane says.
    pub version: KubeVersion,
}
