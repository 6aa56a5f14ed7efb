//! What reports snapshots of etcd, looked at in a round.

use std::sync::Arc;

use instar_addons::{SnapshotQuery, SnapshotReading, SnapshotsSeen};
use instar_api::ClusterSide;
use instar_watch::Key;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    gates::{Found, Sides, evaluated, objects},
    lanes::Lanes,
};

/// Where the roles for it are.
const PRESETS: &str = "config/etcd-snapshots";

/// Whether it needs the workload cluster.
pub(super) fn is_in_workload(query: &SnapshotQuery) -> bool {
    match query.side() {
        ClusterSide::Management => false,
        ClusterSide::Workload => true,
    }
}

/// Looks at each. Their expressions see the Cluster as it is now.
pub(super) async fn look_at_all(
    sides: Sides<'_>,
    cluster: &Key,
    read: &Result<Arc<Value>, String>,
    queries: &[SnapshotQuery],
    lanes: &Lanes,
) -> Vec<SnapshotReading> {
    let mut readings = Vec::with_capacity(queries.len());
    for query in queries {
        let found = match read {
            Ok(read) => look(sides, cluster, read, query, lanes).await,
            Err(message) => Err(message.clone()),
        };
        readings.push(reading(query, found));
    }
    readings
}

/// They took longer than the policy lets them.
pub(super) fn too_slow(queries: &[SnapshotQuery], deadline: SignedDuration) -> Vec<SnapshotReading> {
    let message = format!(
        "what reports snapshots of etcd was not read within the check's deadline of {deadline:#}: see why it is slow, or \
         set a longer one"
    );
    queries
        .iter()
        .map(|query| reading(query, Err(message.clone())))
        .collect()
}

pub(super) fn reading(query: &SnapshotQuery, found: Result<SnapshotsSeen, String>) -> SnapshotReading {
    SnapshotReading {
        of: query.clone(),
        at: Timestamp::now(),
        found,
    }
}

async fn look(
    sides: Sides<'_>,
    cluster: &Key,
    read: &Arc<Value>,
    query: &SnapshotQuery,
    lanes: &Lanes,
) -> Result<SnapshotsSeen, String> {
    let objects = match objects(sides, cluster, query.objects(), PRESETS).await? {
        Found::Objects(objects) => objects,
        Found::NotServed(message) => return Err(message),
    };
    let (query, cluster) = (query.clone(), Arc::clone(read));
    evaluated(lanes, move || query.judge(&objects, &cluster, Timestamp::now())).await?
}
