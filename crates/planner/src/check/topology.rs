//! The invariants of what is written into a topology Cluster.

use std::collections::BTreeMap;

use instar_api::{Pins, RELEASES_ANNOTATION, SWAP_HISTORY_ANNOTATION};
use instar_domain::{BuildOrder, KubeVersion};
use serde_json::Value;

use super::{
    Violation,
    patch::{Also, annotation, compares, touches_only},
};
use crate::{
    decision::{CompletePins, EditVersion},
    snapshot::{ResourceVersion, Snapshot, Topology},
    upgrade_spec::Origin,
};

pub(super) fn check_edit(snapshot: &Snapshot, edit: &EditVersion, broken: &mut Vec<Violation>) {
    let Some(topology) = compared(snapshot, &edit.name, &edit.resource_version, &edit.patch, broken) else {
        return;
    };
    if snapshot.upgrade_spec.origin != Origin::Upgrade {
        broken.push(Violation::Untouchable);
    }
    let catalog = &snapshot.catalog;
    let text = edit.patch.pointer("/spec/topology/version").and_then(Value::as_str);
    if text != Some(edit.target.as_str()) || annotation(&edit.patch, SWAP_HISTORY_ANNOTATION).is_none() {
        broken.push(Violation::Incomplete);
    }
    // A name may look like a version, with a revision that reads as a pre-release.
    let version: Option<KubeVersion> = match catalog.named_anywhere(&edit.target) {
        Some(row) => Some(row.version().clone()),
        None => edit.target.parse().ok(),
    };
    if version.is_some_and(|version| version.compare(&topology.version) == BuildOrder::Less) {
        broken.push(Violation::Lowered);
    }
    if !touches_only(&edit.patch, &[SWAP_HISTORY_ANNOTATION], Also::Version) {
        broken.push(Violation::NotOurs);
    }
}

pub(super) fn check_pins(snapshot: &Snapshot, complete: &CompletePins, broken: &mut Vec<Violation>) {
    let (name, version) = (&complete.name, &complete.resource_version);
    let Some(topology) = compared(snapshot, name, version, &complete.patch, broken) else {
        return;
    };
    let written = annotation(&complete.patch, RELEASES_ANNOTATION).map(Pins::from_annotation);
    let (Some(before), Some(Ok(after))) = (&topology.pins, written) else {
        broken.push(Violation::Incomplete);
        return;
    };
    let stays = before
        .releases
        .iter()
        .all(|(version, pin)| after.releases.get(version) == Some(pin));
    if !stays || before.adopted != after.adopted {
        broken.push(Violation::PinRewritten);
    }
    let added: BTreeMap<_, _> = after
        .releases
        .iter()
        .filter(|(version, _)| !before.covers(version))
        .map(|(version, pin)| (version.clone(), pin.release.clone()))
        .collect();
    let is_row = |(version, release): (&_, &String)| {
        let row = snapshot.catalog.named(release);
        row.is_some_and(|row| row.version() == version)
    };
    if added != complete.releases || added.is_empty() || !added.iter().all(is_row) {
        broken.push(Violation::Incomplete);
    }
    if !touches_only(&complete.patch, &[RELEASES_ANNOTATION], Also::Nothing) {
        broken.push(Violation::NotOurs);
    }
}

fn compared<'s>(
    snapshot: &'s Snapshot,
    name: &str,
    resource_version: &ResourceVersion,
    patch: &Value,
    broken: &mut Vec<Violation>,
) -> Option<&'s Topology> {
    let Some(topology) = snapshot.cluster.topology().filter(|_| snapshot.cluster.name == name) else {
        broken.push(Violation::UnknownObject);
        return None;
    };
    if !compares(patch, resource_version, &topology.resource_version) {
        broken.push(Violation::NoCompare);
    }
    Some(topology)
}
