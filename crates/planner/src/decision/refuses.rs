//! Which reasons end an upgrade before its spec is edited.

use super::Waiting;
use crate::path::NoPath;

impl Waiting {
    /// Whether waiting is of no use: a user has to change the spec.
    #[must_use]
    pub fn refuses(&self) -> bool {
        match self {
            Self::SourceMismatch { .. } | Self::Superseded { .. } | Self::OtherVersion { .. } => true,
            Self::NoPath(reason) => matches!(**reason, NoPath::Downgrade { .. }),
            Self::NoWayBack(reason) => reason.refuses(),
            Self::NoRestart(reason) => reason.refuses(),
            Self::Paused { .. }
            | Self::Deleting { .. }
            | Self::TopologyOwned { .. }
            | Self::Unreadable(_)
            | Self::NoControlPlane
            | Self::NotProvisioned
            | Self::NoTarget(_)
            | Self::NoRelease { .. }
            | Self::NoRow { .. }
            | Self::NoImage { .. }
            | Self::GateClosed { .. }
            | Self::AddonClosed(_)
            | Self::AddonsUnseen(_)
            | Self::ApprovalMissing { .. }
            | Self::PreflightFailed { .. }
            | Self::PreflightUnknown { .. }
            | Self::PoolHeld { .. }
            | Self::ReleaseAwaited { .. }
            | Self::PoolToFollow { .. }
            | Self::Finishing
            | Self::TemplateNotVisible { .. }
            | Self::NoBootstrapTemplate { .. }
            | Self::NameTaken { .. }
            | Self::TemplateDeleting { .. }
            | Self::TemplateRefused { .. }
            | Self::ValueDropped { .. }
            | Self::ValueMisfit { .. }
            | Self::ControlPlaneRollingOut { .. }
            | Self::ControlPlaneNotReady { .. }
            | Self::PoolRollingOut { .. }
            | Self::MachineNotReady { .. }
            | Self::ControlPlaneStuck { .. }
            | Self::NodeVersion { .. }
            | Self::NodeNotReady(_)
            | Self::NodesSettling { .. }
            | Self::NoVersion { .. }
            | Self::LeftToUser { .. }
            | Self::OnDelete { .. }
            | Self::WorkersBehind { .. }
            | Self::PoolAhead { .. }
            | Self::PinOutOfReach { .. }
            | Self::ForeignWriter { .. }
            | Self::Reverted { .. }
            | Self::Drifted { .. }
            | Self::TopologyNotReconciled { .. }
            | Self::HookBlocking { .. }
            | Self::StartBlocked { .. }
            | Self::UpgradeDeferred { .. }
            | Self::ClusterApi { .. }
            | Self::PauseAwaited { .. }
            | Self::MachinePoolRollingOut { .. }
            | Self::VersionEdited { .. }
            | Self::UpgradeUnderWay { .. }
            | Self::Refused(_)
            | Self::Retained { .. }
            | Self::RolloutPaused { .. }
            | Self::Landing { .. }
            | Self::NoLanding { .. }
            | Self::SetAgain { .. }
            | Self::Failed(_) => false,
        }
    }
}
