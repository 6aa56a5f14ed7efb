//! What a `ClusterUpgrade` is to do beside going on, and what policies say of the way back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::FailurePolicy;

/// What a `ClusterUpgrade` is to do.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Operation {
    /// The Cluster is brought to the target.
    #[default]
    Upgrade,
    /// The step of the control plane that is under way ends, the workers follow it, and the upgrade ends there.
    Abort,
    /// Another upgrade of the Cluster is taken back: first the workers, then the control plane.
    Rollback,
    /// The same for the workers alone.
    RollbackWorkers,
    /// The Cluster is brought to another release of the version that it runs, forward or back.
    Refresh,
    /// The Cluster gets new machines of the templates and the versions that it has.
    Restart,
}

impl Operation {
    /// Whether it takes another upgrade back.
    #[must_use]
    pub const fn is_rollback(self) -> bool {
        match self {
            Self::Upgrade | Self::Abort | Self::Refresh | Self::Restart => false,
            Self::Rollback | Self::RollbackWorkers => true,
        }
    }

    /// The operation as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upgrade => "Upgrade",
            Self::Abort => "Abort",
            Self::Rollback => "Rollback",
            Self::RollbackWorkers => "RollbackWorkers",
            Self::Refresh => "Refresh",
            Self::Restart => "Restart",
        }
    }
}

/// What policies say of upgrades that are taken back.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RollbackPolicy {
    /// Whether a control plane may go down a minor version after an API server of the newer one has run: Kubernetes
    /// doesn't support it, and what the newer one has stored the older one may not read. Refuse where no policy says
    /// it; if several policies select a Cluster, one that says Refuse counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane_minor: Option<MinorRollback>,

    /// What becomes of an upgrade that fails.
    #[serde(flatten)]
    pub failure: FailurePolicy,
}

/// Whether a control plane may go down a minor version.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinorRollback {
    /// It may not.
    #[default]
    Refuse,
    /// It may.
    Allow,
}

impl RollbackPolicy {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl MinorRollback {
    /// What all policies of a Cluster come to.
    pub fn of_all(policies: impl IntoIterator<Item = RollbackPolicy>) -> Self {
        let said: Vec<Self> = policies
            .into_iter()
            .filter_map(|policy| policy.control_plane_minor)
            .collect();
        if said.contains(&Self::Allow) && !said.contains(&Self::Refuse) {
            Self::Allow
        } else {
            Self::Refuse
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_refuses_counts() {
        let policy = |control_plane_minor| RollbackPolicy {
            control_plane_minor,
            ..RollbackPolicy::default()
        };
        let (allow, refuse) = (Some(MinorRollback::Allow), Some(MinorRollback::Refuse));
        for (said, comes_to) in [
            (vec![], MinorRollback::Refuse),
            (vec![None], MinorRollback::Refuse),
            (vec![allow], MinorRollback::Allow),
            (vec![None, allow], MinorRollback::Allow),
            (vec![allow, refuse], MinorRollback::Refuse),
            (vec![refuse, allow, allow], MinorRollback::Refuse),
        ] {
            assert_eq!(
                MinorRollback::of_all(said.iter().copied().map(policy)),
                comes_to,
                "{said:?}"
            );
        }
    }
}
