//! The value from objects.

mod machines;
mod objects;
mod pools;
mod upgrade;

use instar_api::{Pins, RELEASES_ANNOTATION};
use instar_capi::Cluster;
use kube::ResourceExt;

use crate::{ClusterKind, ClusterSection, Report, record};

pub use objects::{ClusterObjects, Unreadable, all, read_all};

impl Report {
    /// What is to be said of a Cluster.
    #[must_use]
    pub fn of(objects: &ClusterObjects) -> Self {
        let record = record::current(&objects.upgrades);
        let pins = pins(&objects.cluster);
        let mut machines = machines::of(objects, record);
        let sections = pools::of(objects, record, &machines);
        let upgrade = record.map(|record| {
            let arrivals = machines::arrivals(objects, record, &machines);
            upgrade::of(record, pins.as_ref(), sections.control_plane.as_ref(), arrivals)
        });
        machines.sort_by(machines::by_need);
        let status = record.and_then(|record| record.status.as_ref());
        Self {
            cluster: cluster(objects, &sections),
            upgrade,
            control_plane: sections.control_plane,
            pools: sections.workers,
            machines,
            unread: objects.unread.clone(),
            health: status.map(|status| status.health.clone()).unwrap_or_default(),
        }
    }
}

fn cluster(objects: &ClusterObjects, sections: &pools::Sections) -> ClusterSection {
    let cluster = &objects.cluster;
    let topology = cluster.spec.topology.as_ref();
    let own = || sections.control_plane.as_ref().map(|pool| pool.version.clone());
    ClusterSection {
        namespace: cluster.namespace().unwrap_or_default(),
        name: cluster.name_any(),
        kind: topology.map_or(ClusterKind::Classic, |_| ClusterKind::Topology),
        class: topology.map(|topology| topology.class_ref.name.clone()),
        version: topology.map_or_else(|| own().unwrap_or_default(), |topology| topology.version.clone()),
        requested: own().and_then(|version| record::requested(cluster, &version, &objects.upgrades)),
        paused: cluster.spec.paused,
        deleting: cluster.metadata.deletion_timestamp.is_some(),
    }
}

/// What a newer Instar has written, or a hand has broken, names no versions: the path is shown without them.
fn pins(cluster: &Cluster) -> Option<Pins> {
    let text = cluster.annotations().get(RELEASES_ANNOTATION)?;
    Pins::from_annotation(text).ok()
}
