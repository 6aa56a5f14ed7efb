//! Cluster API finds the Cluster available.

use instar_planner::{Cluster, Condition, ConditionStatus, Snapshot};

use crate::finding::Finding;

const AVAILABLE: &str = "Available";
const WORKERS_AVAILABLE: &str = "WorkersAvailable";

pub(super) fn look(snapshot: &Snapshot) -> Finding {
    let cluster = &snapshot.cluster;
    let says = |kind: &str| cluster.conditions.iter().find(|condition| condition.kind == kind);
    let Some(available) = says(AVAILABLE) else {
        return Finding::Pass;
    };
    let is_unknown = |condition: &Condition| condition.status == ConditionStatus::Unknown;
    let of_pools = !snapshot.machine_pools.is_empty() && says(WORKERS_AVAILABLE).is_some_and(is_unknown);
    if is_unknown(available) && of_pools {
        return but_for_workers(cluster);
    }
    Finding::of_condition("Cluster", &cluster.name, cluster.generation, available)
}

/// Cluster API v1.14 writes no condition `Available` of a MachinePool, so that of its Cluster stays Unknown.
/// Source: `machinepool_controller_status.go`.
fn but_for_workers(cluster: &Cluster) -> Finding {
    let others = cluster
        .conditions
        .iter()
        .filter(|condition| condition.kind != AVAILABLE && condition.kind != WORKERS_AVAILABLE);
    let of_others =
        others.map(|condition| Finding::of_condition("Cluster", &cluster.name, cluster.generation, condition));
    match Finding::of_all(of_others) {
        Finding::Pass => Finding::NotApplicable(format!(
            "Cluster API doesn't say whether MachinePools are available, and all else of Cluster {} is",
            cluster.name
        )),
        found => found,
    }
}
