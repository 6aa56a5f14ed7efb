//! Another release of the version that runs, asked for as that.

use crate::{
    decision::Waiting,
    observed::Observed,
    operation::Operation,
    snapshot::{ClusterKind, Snapshot},
};

/// Why the target is none: it isn't a release of the version that the Cluster runs.
pub(crate) fn refused(snapshot: &Snapshot) -> Option<Waiting> {
    let upgrade_spec = &snapshot.upgrade_spec;
    match upgrade_spec.operation {
        Operation::Refresh => {}
        Operation::Upgrade | Operation::Abort | Operation::Rollback(_) | Operation::Restart => return None,
    }
    let present = match &snapshot.cluster.kind {
        ClusterKind::Classic(_) => &snapshot.control_plane.as_ref().and_then(Observed::read)?.version,
        ClusterKind::Topology(topology) => &topology.read()?.version,
    };
    let target = upgrade_spec.target.as_str();
    let Some(row) = snapshot.catalog.named(target) else {
        return Some(Waiting::no_release(&snapshot.catalog, None, target));
    };
    (row.version() != present).then(|| Waiting::OtherVersion {
        release: target.to_owned(),
        version: row.version().clone(),
        present: present.clone(),
    })
}
