//! What new machines will be made of on the way to the target, for checks that look whether it is there.

use instar_capi::ManagedBy;
use instar_catalog::{Labels, Pool, Resolved, Role};
use jiff::tz::TimeZone;

use crate::{
    classic,
    observed::Observed,
    path::{Start, StartEtcd, classic_path},
    pool_image::{NOTHING, PoolImage, Stop},
    preflight::target,
    snapshot::{ClusterKind, Snapshot},
    step::Step,
};

/// What each pool that the upgrade moves gets at each release where it stops, the control plane first; absent while the
/// way isn't known, which the planner says by itself. A pool for which a release has no image isn't listed, for the same
/// reason. MachinePools aren't: what they are made of is of their provider.
#[must_use]
pub fn pool_images(snapshot: &Snapshot) -> Option<Vec<PoolImage<'_>>> {
    match &snapshot.cluster.kind {
        ClusterKind::Classic(_) => classic::pool_images(snapshot),
        ClusterKind::Topology(_) => of_topology(snapshot),
    }
}

/// By the catalog alone: which versions the class offers is known to admission.
fn of_topology(snapshot: &Snapshot) -> Option<Vec<PoolImage<'_>>> {
    let topology = snapshot.cluster.topology()?;
    let control_plane = snapshot.control_plane.as_ref()?.read()?;
    let today = snapshot.now.to_zoned(TimeZone::UTC).date();
    let wanted = match target(snapshot, &topology.version)? {
        Resolved::Unchanged => return Some(Vec::new()),
        Resolved::Release(row) => row,
    };
    let labels = |labels| Labels {
        cluster: Some(&snapshot.cluster.labels),
        pool: labels,
    };
    let start = Start {
        version: &topology.version,
        // Whether its etcd may follow is asked elsewhere.
        etcd: StartEtcd::Elsewhere,
        pool: control_plane.infrastructure.as_ref().map(|template| Pool {
            role: Role::ControlPlane,
            group: &template.group,
            kind: &template.kind,
            labels: labels(&control_plane.labels),
        }),
    };
    let path = classic_path(&start, wanted, &snapshot.catalog, today).ok()?;
    let mut images = Vec::new();
    for (at, row) in path.iter().enumerate() {
        let step = Step::from(*row);
        let reached = if at + 1 == path.len() {
            Stop::Target
        } else {
            Stop::Between
        };
        let template = control_plane.infrastructure.as_ref();
        let values = template.and_then(|template| step.control_plane(template, labels(&control_plane.labels)));
        if let Some((template, values)) = template.zip(values) {
            images.push(PoolImage::new(
                &control_plane.object,
                template,
                &step,
                reached,
                values,
                &NOTHING,
            ));
        }
    }
    let last = path.last().copied().map(Step::from)?;
    let pools = snapshot.pools.iter().filter_map(Observed::read);
    for pool in pools.filter(|pool| pool.object.managed_by == ManagedBy::Topology) {
        let (name, template) = (&pool.object.name, &pool.infrastructure);
        if let Some(values) = last.machine_deployment(name, template, labels(&pool.labels)) {
            images.push(PoolImage::new(
                &pool.object,
                template,
                &last,
                Stop::Target,
                values,
                &NOTHING,
            ));
        }
    }
    Some(images)
}
