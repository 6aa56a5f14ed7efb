//! Since when a reason holds.

use jiff::Timestamp;

use super::Waiting;
use crate::{
    observed::Observed,
    pool_id::PoolId,
    snapshot::{Machine, Object, Snapshot},
};

impl Waiting {
    /// Since when it holds, as far as the swap history or an object's own time says; absent where neither does. The
    /// snapshot is the one that the reason was found in.
    #[must_use]
    pub fn since(&self, snapshot: &Snapshot) -> Option<Timestamp> {
        match self {
            Self::ControlPlaneRollingOut { .. } => pool_swapped(snapshot, &PoolId::ControlPlane),
            Self::PoolRollingOut { pool, .. } => pool_swapped(snapshot, pool),
            Self::MachinePoolRollingOut { name, .. } => machine_pool_swapped(snapshot, name),
            Self::AddonClosed(closed) => {
                let upgrade_spec = &snapshot.upgrade_spec;
                upgrade_spec
                    .gate_history
                    .begun(upgrade_spec.target.as_str(), &closed.id)
            }
            Self::MachineNotReady { name, .. } => machine(snapshot, name)?.created,
            Self::ControlPlaneStuck { since, .. }
            | Self::PoolHeld { since, .. }
            | Self::RolloutPaused { since, .. } => Some(*since),
            Self::Failed(failed) => failed.failure.since(),
            Self::Paused { .. }
            | Self::Deleting { .. }
            | Self::TopologyOwned { .. }
            | Self::Unreadable(_)
            | Self::NoControlPlane
            | Self::NotProvisioned
            | Self::SourceMismatch { .. }
            | Self::NoTarget(_)
            | Self::NoRelease { .. }
            | Self::NoRow { .. }
            | Self::NoPath(_)
            | Self::NoImage { .. }
            | Self::GateClosed { .. }
            | Self::AddonsUnseen(_)
            | Self::ApprovalMissing { .. }
            | Self::PreflightFailed { .. }
            | Self::PreflightUnknown { .. }
            | Self::Finishing
            | Self::TemplateNotVisible { .. }
            | Self::NoBootstrapTemplate { .. }
            | Self::NameTaken { .. }
            | Self::TemplateDeleting { .. }
            | Self::TemplateRefused { .. }
            | Self::ValueDropped { .. }
            | Self::ValueMisfit { .. }
            | Self::ControlPlaneNotReady { .. }
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
            | Self::NoWayBack(_)
            | Self::NoRestart(_)
            | Self::Drifted { .. }
            | Self::TopologyNotReconciled { .. }
            | Self::HookBlocking { .. }
            | Self::StartBlocked { .. }
            | Self::UpgradeDeferred { .. }
            | Self::ClusterApi { .. }
            | Self::PauseAwaited { .. }
            | Self::VersionEdited { .. }
            | Self::Superseded { .. }
            | Self::UpgradeUnderWay { .. }
            | Self::Refused(_)
            | Self::Retained { .. }
            | Self::Landing { .. }
            | Self::NoLanding { .. }
            | Self::SetAgain { .. }
            | Self::ReleaseAwaited { .. }
            | Self::OtherVersion { .. }
            | Self::PoolToFollow { .. } => None,
        }
    }
}

fn pool_swapped(snapshot: &Snapshot, pool: &PoolId) -> Option<Timestamp> {
    match pool {
        PoolId::ControlPlane => {
            let control_plane = snapshot.control_plane.as_ref().and_then(Observed::read);
            swapped(snapshot, &control_plane?.object)
        }
        PoolId::Workers(name) => {
            let mut pools = snapshot.pools.iter().filter_map(Observed::read);
            swapped(snapshot, &pools.find(|pool| pool.object.name == *name)?.object)
        }
        PoolId::MachinePool(name) => machine_pool_swapped(snapshot, name),
    }
}

fn machine_pool_swapped(snapshot: &Snapshot, name: &str) -> Option<Timestamp> {
    let mut pools = snapshot.machine_pools.iter().filter_map(Observed::read);
    swapped(snapshot, &pools.find(|pool| pool.object.name == name)?.object)
}

/// When this upgrade swapped it last.
fn swapped(snapshot: &Snapshot, object: &Object) -> Option<Timestamp> {
    let swap = object.swap_history.as_ref()?.last_of(&snapshot.upgrade_spec.id())?;
    Some(swap.since)
}

fn machine<'s>(snapshot: &'s Snapshot, name: &str) -> Option<&'s Machine> {
    let mut machines = snapshot.machines.iter().filter_map(Observed::read);
    machines.find(|machine| machine.name == name)
}
