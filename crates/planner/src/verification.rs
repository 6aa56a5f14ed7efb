//! What has to hold once all machines are there: the upgrade isn't complete before.

use instar_capi::{Lifecycle, ManagedBy};

use crate::{
    decision::{NodeIs, UnreadyNode, Waiting},
    observed::Observed,
    pool_id::PoolId,
    snapshot::{ClusterKind, Machine, Node, NodeReadiness, Object, Snapshot},
};

/// What holds the end for the Nodes' sake. Machines that Cluster API is deleting don't count, nor those that the upgrade
/// leaves to the user; those of MachinePools are in the counts of ready replicas.
pub(crate) fn nodes(snapshot: &Snapshot) -> Vec<Waiting> {
    let Some(ready_for) = snapshot.nodes_ready_for else {
        return Vec::new();
    };
    let machines = snapshot.machines.iter().filter_map(Observed::read);
    let mut machines: Vec<&Machine> = machines.filter(|machine| counts(snapshot, machine)).collect();
    machines.sort_by(|a, b| a.name.cmp(&b.name));
    let not_ready: Vec<Waiting> = machines.iter().copied().filter_map(not_ready).collect();
    if !not_ready.is_empty() {
        return not_ready;
    }
    let since = machines.iter().filter_map(|machine| match machine.node_readiness {
        NodeReadiness::Ready { since } => Some(since),
        NodeReadiness::NotReady { .. } | NodeReadiness::Unknown { .. } => None,
    });
    // Nothing is later than the end of time.
    let until = since.max().and_then(|since| since.checked_add(ready_for).ok());
    let until = until.filter(|until| *until > snapshot.now);
    until
        .map(|until| Waiting::NodesSettling { ready_for, until })
        .into_iter()
        .collect()
}

fn not_ready(machine: &Machine) -> Option<Waiting> {
    let (is, message) = match &machine.node_readiness {
        NodeReadiness::Ready { .. } => return None,
        NodeReadiness::NotReady { message, .. } => (NodeIs::NotReady, message),
        NodeReadiness::Unknown { message } => (NodeIs::Unknown, message),
    };
    // Why a machine has no node yet is its provider's to tell, and changes with each step that it takes.
    let message = if machine.node == Node::Absent { "" } else { message };
    Some(Waiting::NodeNotReady(Box::new(UnreadyNode {
        machine: machine.name.clone(),
        is,
        message: message.to_owned(),
    })))
}

/// Whether it is the upgrade's to make this pool well: a rollback's are those that it swapped.
fn is_swapped(snapshot: &Snapshot, object: &Object) -> bool {
    let history = object.swap_history.as_ref();
    snapshot.upgrade_spec.operation.rollback().is_none()
        || history.is_some_and(|history| history.last_of(&snapshot.upgrade_spec.id()).is_some())
}

fn counts(snapshot: &Snapshot, machine: &Machine) -> bool {
    let moved_by = match &snapshot.cluster.kind {
        ClusterKind::Classic(_) => ManagedBy::User,
        ClusterKind::Topology(_) => ManagedBy::Topology,
    };
    let is_of_upgrade = |name: &String| {
        let mut pools = snapshot.pools.iter().filter_map(Observed::read);
        pools.any(|pool| {
            pool.object.name == *name && pool.object.managed_by == moved_by && is_swapped(snapshot, &pool.object)
        })
    };
    let control_plane = snapshot.control_plane.as_ref().and_then(Observed::read);
    machine.lifecycle == Lifecycle::Active
        && match &machine.pool {
            Some(PoolId::ControlPlane) => {
                control_plane.is_some_and(|control_plane| is_swapped(snapshot, &control_plane.object))
            }
            Some(PoolId::Workers(name)) => is_of_upgrade(name),
            Some(PoolId::MachinePool(_)) | None => false,
        }
}
