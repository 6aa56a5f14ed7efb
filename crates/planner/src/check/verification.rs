//! Whether an upgrade would be complete before its Nodes are known to be Ready for long enough.

use instar_capi::Lifecycle;

use super::{control_plane, read};
use crate::{
    decision::{Decision, Stage},
    operation::Operation,
    pool_id::PoolId,
    snapshot::{MachineDeployment, NodeReadiness, Object, Snapshot},
    swap_history::SwapHistory,
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
    let is_rollback = snapshot.upgrade_spec.operation.rollback().is_some();
    let is_swapped = |object: &Object| {
        let last = object.swap_history.as_ref().and_then(SwapHistory::last);
        !is_rollback || last.is_some_and(|last| last.upgrade == snapshot.upgrade_spec.id())
    };
    let mut of_upgrade = read(&snapshot.machines).filter(|machine| match &machine.pool {
        Some(PoolId::ControlPlane) => {
            control_plane(snapshot).is_none_or(|control_plane| is_swapped(&control_plane.object))
        }
        Some(PoolId::Workers(name)) => {
            read(&snapshot.pools).any(|pool| pool.object.name == *name && is_moved(pool) && is_swapped(&pool.object))
        }
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
