//! What an upgrade is to do: go on, end where it stands, or take another one back.

use serde::{Deserialize, Serialize};

use crate::swap_history::UpgradeId;

/// What an upgrade is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Bring the Cluster to the target.
    Upgrade,
    /// End where the control plane stands: its step under way ends, and the workers follow it.
    Abort,
    /// Bring the Cluster to where it was before another upgrade.
    Rollback(Rollback),
    /// Bring the Cluster to another release of the version that it runs.
    Refresh,
    /// New machines of the templates and versions that are there.
    Restart,
}

/// Which upgrade is taken back, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollback {
    /// The upgrade. What it changed stands in the swap histories of the objects.
    pub of: UpgradeId,
    /// Its target as it was written.
    pub target: String,
    /// How many times that had been asked for again.
    pub retry: u32,
    pub scope: RollbackScope,
}

/// How much of an upgrade is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RollbackScope {
    /// The workers, then the control plane.
    All,
    /// The workers alone.
    Workers,
}

impl Operation {
    /// The way back that is asked for, if one is.
    #[must_use]
    pub const fn rollback(&self) -> Option<&Rollback> {
        match self {
            Self::Rollback(rollback) => Some(rollback),
            Self::Upgrade | Self::Abort | Self::Refresh | Self::Restart => None,
        }
    }
}
