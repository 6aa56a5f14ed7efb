//! What a topology Cluster says.

use instar_api::{
    CONCURRENCY_ANNOTATION, HOOK_ANSWER_ANNOTATION, LandingMark, Pins, RELEASES_ANNOTATION, SWAP_HISTORY_ANNOTATION,
};
use instar_capi as capi;
use instar_domain::KubeVersion;
use instar_planner::{RaisedConcurrency, ResourceVersion, RuntimeHooks, Topology, UpgradeConcurrency, VersionSetBy};
use kube::ResourceExt;

use crate::fields::{condition, version};

pub(super) fn read(cluster: &capi::Cluster, topology: &capi::Topology) -> Result<Topology, String> {
    let status = cluster.status.clone().unwrap_or_default();
    let annotations = cluster.annotations();
    let pins = annotations
        .get(RELEASES_ANNOTATION)
        .map(|text| Pins::from_annotation(text));
    let set_by = annotations.get(SWAP_HISTORY_ANNOTATION);
    Ok(Topology {
        resource_version: ResourceVersion(cluster.resource_version().unwrap_or_default()),
        version: version(&topology.version)?,
        pins: pins.transpose().map_err(|garbled| garbled.to_string())?,
        control_plane_plan: versions(&status.control_plane.upgrade_plan)?,
        workers_plan: versions(&status.workers.upgrade_plan)?,
        version_set_by: set_by.and_then(|text| VersionSetBy::from_annotation(text)),
        landing_mark: annotations
            .get(capi::labels::UNSAFE_VERSION)
            .and_then(|text| LandingMark::from_annotation(text)),
        concurrency: UpgradeConcurrency {
            present: annotations.get(capi::labels::UPGRADE_CONCURRENCY).cloned(),
            raised: annotations
                .get(CONCURRENCY_ANNOTATION)
                .map(|text| RaisedConcurrency::from_annotation(text)),
        },
        // Whether it is asked is known outside of the caches.
        hooks: RuntimeHooks::Unknown(String::new()),
        hook_answer: annotations.get(HOOK_ANSWER_ANNOTATION).cloned(),
        conditions: status.conditions.iter().map(condition).collect(),
    })
}

fn versions(planned: &[capi::PlannedVersion]) -> Result<Vec<KubeVersion>, String> {
    planned.iter().map(|planned| version(&planned.version)).collect()
}
