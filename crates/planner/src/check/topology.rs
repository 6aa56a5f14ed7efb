//! The invariants of what is written into a topology Cluster.

use std::collections::BTreeMap;

use instar_api::{CONCURRENCY_ANNOTATION, HELD_ANNOTATION, Pins, RELEASES_ANNOTATION, SWAP_HISTORY_ANNOTATION};
use instar_capi::{Lifecycle, ManagedBy, labels::UPGRADE_CONCURRENCY};
use instar_domain::{BuildOrder, KubeVersion};
use serde_json::Value;

use super::{
    Violation,
    patch::{Also, annotation, compares, touches_only},
    read,
};
use crate::{
    decision::{CompletePins, EditVersion, Hold, HoldPool, SetConcurrency},
    observed::Observed,
    pause::PauseMark,
    pool_id::PoolId,
    snapshot::{MachineDeployment, RaisedConcurrency, ResourceVersion, Snapshot, Topology},
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

/// The version to which a pool's machines go when it is let go; absent where they are all there.
pub(super) fn begins<'s>(snapshot: &'s Snapshot, hold: &HoldPool) -> Option<&'s KubeVersion> {
    let pool = pool(snapshot, hold).filter(|_| hold.change == Hold::Release)?;
    is_moving(snapshot, pool).then_some(&pool.version)
}

/// Whether every MachineDeployment is held, so that none follows the edit of the version by itself.
pub(super) fn holds_all_pools(snapshot: &Snapshot) -> bool {
    let mut pools = read(&snapshot.pools).filter(|pool| pool.object.managed_by == ManagedBy::Topology);
    pools.all(|pool| pool.object.lifecycle != Lifecycle::Active)
}

/// Whether an edit names another release of the version that the pins have: then its pools follow one by one.
pub(super) fn changes_release(snapshot: &Snapshot, edit: &EditVersion) -> bool {
    let row = snapshot.catalog.named_anywhere(&edit.target);
    let topology = snapshot.cluster.topology();
    topology.zip(row).is_some_and(|(topology, row)| {
        *row.version() == topology.version && topology.release_of(row.version()).is_some()
    })
}

pub(super) fn has_machine_pools(snapshot: &Snapshot) -> bool {
    let mut pools = read(&snapshot.machine_pools);
    pools.any(|pool| pool.object.managed_by == ManagedBy::Topology)
}

pub(super) fn check_hold(snapshot: &Snapshot, hold: &HoldPool, broken: &mut Vec<Violation>) {
    let Some(pool) = pool(snapshot, hold) else {
        broken.push(Violation::UnknownObject);
        return;
    };
    let object = &pool.object;
    if !compares(&hold.patch, &hold.resource_version, &object.resource_version) {
        broken.push(Violation::NoCompare);
    }
    // The one field of the topology controller's objects that is written, and only with the mark.
    if object.managed_by != ManagedBy::Topology || snapshot.cluster.topology().is_none() {
        broken.push(Violation::Untouchable);
    }
    let mark = annotation(&hold.patch, HELD_ANNOTATION).and_then(PauseMark::from_annotation);
    let paused = hold.patch.pointer("/spec/paused");
    let (is_written, is_free) = match hold.change {
        Hold::Hold => (
            mark.is_some_and(|mark| mark.is_of(&snapshot.upgrade_spec.id())) && paused == Some(&Value::Bool(true)),
            object.lifecycle == Lifecycle::Active && !snapshot.upgrade_spec.paused && !is_moving(snapshot, pool),
        ),
        Hold::Release => (
            mark.is_none() && paused == Some(&Value::Null),
            object.lifecycle != Lifecycle::Deleting && !snapshot.upgrade_spec.paused,
        ),
        Hold::PauseRollout | Hold::ResumeRollout => (false, false),
    };
    if !is_written {
        broken.push(Violation::Incomplete);
    }
    if !is_free {
        broken.push(Violation::Untouchable);
    }
    if hold.change == Hold::Release && pool.held.is_none() {
        broken.push(Violation::NotOurs);
    }
    let with_history = [HELD_ANNOTATION, SWAP_HISTORY_ANNOTATION];
    let is_touched = |annotations: &[&str]| touches_only(&hold.patch, annotations, Also::Paused);
    if !is_touched(&[HELD_ANNOTATION]) && !is_touched(&with_history) {
        broken.push(Violation::NotOurs);
    }
}

pub(super) fn check_concurrency(snapshot: &Snapshot, set: &SetConcurrency, broken: &mut Vec<Violation>) {
    let Some(topology) = compared(snapshot, &set.name, &set.resource_version, &set.patch, broken) else {
        return;
    };
    let concurrency = &topology.concurrency;
    let number = |text: Option<&String>| text.map_or(Ok(1), |text| text.parse::<usize>()).unwrap_or(usize::MAX);
    let written = annotation(&set.patch, CONCURRENCY_ANNOTATION).map(RaisedConcurrency::from_annotation);
    let is_right = match (&written, &concurrency.raised) {
        // Raised: what the user had is kept, and no pool goes by it.
        (Some(kept), None) => {
            let is_behind =
                |pool: &MachineDeployment| pool.version != topology.version || is_at_rest(snapshot, topology);
            let mut pools = read(&snapshot.pools).filter(|pool| pool.object.managed_by == ManagedBy::Topology);
            kept.before == concurrency.present
                && Some(&kept.to) == set.to.as_ref()
                && number(set.to.as_ref()) > number(concurrency.present.as_ref())
                && !pools.any(|pool| pool.object.lifecycle == Lifecycle::Active && is_behind(pool))
        }
        // Put back, or left as somebody else has set it.
        (None, Some(raised)) if concurrency.present.as_ref() == Some(&raised.to) => set.to == raised.before,
        (None, Some(_)) => set.to == concurrency.present,
        (Some(_), Some(_)) | (None, None) => false,
    };
    if !is_right || annotation(&set.patch, UPGRADE_CONCURRENCY) != set.to.as_deref() {
        broken.push(Violation::Incomplete);
    }
    if !touches_only(
        &set.patch,
        &[UPGRADE_CONCURRENCY, CONCURRENCY_ANNOTATION],
        Also::Nothing,
    ) {
        broken.push(Violation::NotOurs);
    }
}

pub(super) fn pool<'s>(snapshot: &'s Snapshot, hold: &HoldPool) -> Option<&'s MachineDeployment> {
    let mut pools = read(&snapshot.pools);
    pools.find(|pool| {
        let object = &pool.object;
        object.api_version == hold.api_version && object.kind == hold.kind && object.name == hold.name
    })
}

/// Whether the control plane is at the Cluster's version: the edit is still to come, or all has arrived.
fn is_at_rest(snapshot: &Snapshot, topology: &Topology) -> bool {
    let control_plane = snapshot.control_plane.as_ref().and_then(Observed::read);
    let mut pools = read(&snapshot.pools).filter(|pool| pool.object.managed_by == ManagedBy::Topology);
    control_plane.is_none_or(|control_plane| control_plane.version == topology.version)
        && pools.all(|pool| pool.version == topology.version && !is_moving(snapshot, pool))
}

/// Whether a machine of the pool is at another version than the pool says.
fn is_moving(snapshot: &Snapshot, pool: &MachineDeployment) -> bool {
    let id = PoolId::Workers(pool.object.name.clone());
    let mut machines = read(&snapshot.machines).filter(|machine| machine.pool.as_ref() == Some(&id));
    machines.any(|machine| machine.version != pool.version)
}

pub(super) fn compared<'s>(
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
