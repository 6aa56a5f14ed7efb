//! What a topology Cluster says.

use instar_api::{Pins, RELEASES_ANNOTATION, SWAP_HISTORY_ANNOTATION};
use instar_domain::KubeVersion;
use instar_planner::{Condition, ConditionStatus, ResourceVersion, Topology, VersionSetBy};
use kube::ResourceExt;

use super::version;
use crate::views;

pub(super) fn read(cluster: &views::Cluster, topology: &views::Topology) -> Result<Topology, String> {
    let status = cluster.status.clone().unwrap_or_default();
    let annotations = cluster.annotations();
    let pins = annotations
        .get(RELEASES_ANNOTATION)
        .map(|text| Pins::from_annotation(text));
    let set_by = annotations.get(SWAP_HISTORY_ANNOTATION);
    Ok(Topology {
        resource_version: ResourceVersion(cluster.resource_version().unwrap_or_default()),
        generation: cluster.metadata.generation.unwrap_or_default(),
        version: version(&topology.version)?,
        pins: pins.transpose().map_err(|garbled| garbled.to_string())?,
        control_plane_plan: versions(&status.control_plane)?,
        workers_plan: versions(&status.workers)?,
        version_set_by: set_by.and_then(|text| VersionSetBy::from_annotation(text)),
        conditions: status.conditions.iter().map(condition).collect(),
    })
}

fn versions(planned: &views::Planned) -> Result<Vec<KubeVersion>, String> {
    let plan = planned.upgrade_plan.iter();
    plan.map(|planned| version(&planned.version)).collect()
}

pub(super) fn condition(condition: &views::Condition) -> Condition {
    Condition {
        kind: condition.kind.clone(),
        status: match condition.status.as_str() {
            "True" => ConditionStatus::True,
            "False" => ConditionStatus::False,
            _ => ConditionStatus::Unknown,
        },
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        observed_generation: condition.observed_generation,
    }
}
