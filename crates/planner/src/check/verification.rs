//! Whether an upgrade would be complete before its Nodes are known to be Ready for long enough.

use instar_capi::Lifecycle;

use super::read;
use crate::{
    decision::{Decision, Stage},
    operation::Operation,
    pool_id::PoolId,
    snapshot::{MachineDeployment, NodeReadiness, Snapshot},
};

pub(super) fn is_missing(snapshot: &Snapshot, decision: &Decision) -> bool {
    let Some(ready_for) = snapshot
        .nodes_ready_for
        .filter(|_| decision.progress.stage == Stage::Complete)
        // What ends where it stands may not be well.
        .filter(|_| snapshot.upgrade_spec.operation != Operation::Abort)
    else {
        return false;
    };
    let is_topology = snapshot.cluster.classic().is_none();
    let is_moved =
        |pool: &MachineDeployment| (pool.object.managed_by == instar_capi::ManagedBy::Topology) == is_topology;
    let mut of_upgrade = read(&snapshot.machines).filter(|machine| match &machine.pool {
        Some(PoolId::ControlPlane) => true,
        Some(PoolId::Workers(name)) => read(&snapshot.pools).any(|pool| pool.object.name == *name && is_moved(pool)),
        Some(PoolId::MachinePool(_)) | None => false,
    });
    of_upgrade.any(|machine| {
        let is_ready = match machine.node_readiness {
            NodeReadiness::Ready { since } => snapshot.now.duration_since(since) >= ready_for,
            NodeReadiness::NotReady { .. } | NodeReadiness::Unknown { .. } => false,
        };
        machine.lifecycle == Lifecycle::Active && !is_ready
    })
}
