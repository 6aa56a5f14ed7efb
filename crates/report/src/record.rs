//! Which ClusterUpgrade is the one to show.

use std::cmp::Reverse;

use instar_api::{ClusterUpgrade, STARTED_ANNOTATION, UpgradePhase, VERSION_ANNOTATION};
use instar_capi::Cluster;
use jiff::Timestamp;
use kube::ResourceExt;

/// The upgrade of a Cluster that is under way, else the one that began last. Of several that wait, as one does while
/// another goes on, the one that has come furthest. One that was refused has done nothing, and comes after all others.
#[must_use]
pub fn current(upgrades: &[ClusterUpgrade]) -> Option<&ClusterUpgrade> {
    let under_way = upgrades.iter().filter(|upgrade| upgrade.finished_phase().is_none());
    let furthest = under_way.max_by_key(|upgrade| (progress(upgrade), Reverse(began(upgrade))));
    let was_done = |upgrade: &ClusterUpgrade| upgrade.finished_phase() != Some(UpgradePhase::Refused);
    furthest.or_else(|| {
        upgrades
            .iter()
            .max_by_key(|upgrade| (was_done(upgrade), began(upgrade)))
    })
}

/// From the one that began last to the one that began first.
#[must_use]
pub fn newest_first(upgrades: &[ClusterUpgrade]) -> Vec<&ClusterUpgrade> {
    let mut sorted: Vec<&ClusterUpgrade> = upgrades.iter().collect();
    sorted.sort_by_key(|upgrade| (Reverse(began(upgrade)), upgrade.metadata.name.clone()));
    sorted
}

/// Where it goes; of a rollback the ClusterUpgrade that it takes back.
#[must_use]
pub fn target(upgrade: &ClusterUpgrade) -> &str {
    let spec = &upgrade.spec;
    spec.rollback_of.as_deref().unwrap_or(&spec.target)
}

/// The version that the Cluster is asked to have, where no ClusterUpgrade goes there, or ever went: `runs` is what its
/// control plane says. While one goes on, an edit is that one's.
pub(crate) fn requested(cluster: &Cluster, runs: &str, upgrades: &[ClusterUpgrade]) -> Option<String> {
    let asked = match &cluster.spec.topology {
        Some(topology) => &topology.version,
        None => cluster.annotations().get(VERSION_ANNOTATION)?,
    };
    let is_covered = upgrades
        .iter()
        .any(|upgrade| upgrade.finished_phase().is_none() || upgrade.spec.target == *asked);
    let is_due = !asked.is_empty() && !runs.is_empty() && asked != runs && !is_covered;
    is_due.then(|| asked.clone())
}

/// Whether its status describes its spec as it is now.
pub(crate) fn is_observed(upgrade: &ClusterUpgrade) -> bool {
    let observed = upgrade.status.as_ref().map(|status| status.observed_generation);
    upgrade.metadata.generation.unwrap_or_default() == observed.unwrap_or_default()
}

/// When it was first seen by the controller, or else when it was created.
pub(crate) fn began(upgrade: &ClusterUpgrade) -> Option<Timestamp> {
    let annotations = upgrade.metadata.annotations.as_ref();
    let started = annotations.and_then(|annotations| annotations.get(STARTED_ANNOTATION));
    let started = started.and_then(|text| text.parse().ok());
    started.or_else(|| upgrade.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

/// How far it has come: one that does something is further than one that waits for its turn.
fn progress(upgrade: &ClusterUpgrade) -> u8 {
    match upgrade
        .status
        .as_ref()
        .map_or_else(UpgradePhase::default, |status| status.phase)
    {
        UpgradePhase::Verifying => 4,
        UpgradePhase::Workers => 3,
        UpgradePhase::ControlPlane => 2,
        UpgradePhase::Held => 1,
        UpgradePhase::Pending
        | UpgradePhase::Completed
        | UpgradePhase::Refused
        | UpgradePhase::RollingBack
        | UpgradePhase::RolledBack
        | UpgradePhase::Aborted
        | UpgradePhase::Failed => 0,
    }
}
