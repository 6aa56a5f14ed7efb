//! Cluster API finds the Cluster available.

use instar_planner::Snapshot;

use crate::finding::Finding;

pub(super) fn look(snapshot: &Snapshot) -> Finding {
    let cluster = &snapshot.cluster;
    cluster.unavailable.as_ref().map_or(Finding::Pass, |condition| {
        Finding::of_condition("Cluster", &cluster.name, cluster.generation, condition)
    })
}
