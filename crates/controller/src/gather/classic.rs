//! What Instar wrote into a classic Cluster.

use instar_api::{PATH_ANNOTATION, Pins, RELEASES_ANNOTATION};
use instar_capi as capi;
use instar_planner::{ClassicCluster, PinnedPath, ResourceVersion};
use kube::ResourceExt;

pub(super) fn read(cluster: &capi::Cluster) -> ClassicCluster {
    let annotations = cluster.annotations();
    let pins = annotations.get(RELEASES_ANNOTATION);
    let path = annotations.get(PATH_ANNOTATION);
    ClassicCluster {
        resource_version: ResourceVersion(cluster.resource_version().unwrap_or_default()),
        pins: pins.and_then(|text| Pins::from_annotation(text).ok()),
        path: path.and_then(|text| PinnedPath::from_annotation(text)),
    }
}
