//! The invariants of what is written into the two objects of a MachinePool.

use std::collections::BTreeSet;

use instar_api::{LEFT_ANNOTATION, RENDERED_ANNOTATION, SWAP_HISTORY_ANNOTATION, VALUES_HISTORY_ANNOTATION};
use instar_capi::{Lifecycle, ManagedBy, labels::PAUSED};
use instar_catalog::Role;
use instar_domain::{JsonPointer, KubeVersion};
use serde_json::Value;

use super::{
    Violation, check_object, check_skew, check_version, is_open,
    patch::{Also, annotation, compares, touches_only},
    read, what_was,
};
use crate::{
    decision::{MachinePoolChange, PatchMachinePool, Swap},
    pause::{LeftMark, PauseMark, PausedBy},
    pool_id::PoolId,
    settled::machine_pool_settled,
    snapshot::{ConditionStatus, InfrastructurePool, MachinePool, Object, Snapshot},
    values::put,
    values_history::{ValuesHistory, restored},
};

/// Whether the Cluster and the upgrade let a patch through. A mark of ours goes also of what is being deleted: with it
/// nothing would ever be gone.
pub(super) fn may_be_written(snapshot: &Snapshot, patch: &PatchMachinePool) -> bool {
    match patch.change {
        MachinePoolChange::Pause
        | MachinePoolChange::SetValues { .. }
        | MachinePoolChange::RestoreValues { .. }
        | MachinePoolChange::GiveUp => is_open(snapshot),
        MachinePoolChange::Resume => {
            snapshot.cluster.lifecycle != Lifecycle::Paused && snapshot.cluster.classic().is_some()
        }
    }
}

/// Whether this is the first change of a MachinePool: neither of its objects has a mark of ours. What another upgrade has
/// paused is taken over as it is.
pub(super) fn begins(snapshot: &Snapshot, patch: &PatchMachinePool) -> bool {
    let is_marked = |paused_by: &PausedBy| paused_by.mark().is_some();
    patch.change == MachinePoolChange::Pause
        && find(snapshot, &patch.pool).is_none_or(|(pool, infrastructure)| {
            !is_marked(&pool.paused_by) && !infrastructure.is_some_and(|other| is_marked(&other.paused_by))
        })
}

/// Whether this takes back a MachinePool whose machines are not all replaced yet: it needn't wait for a window, since what
/// has begun doesn't either.
pub(super) fn turns_around(snapshot: &Snapshot, patch: &PatchMachinePool) -> bool {
    let machines = read(&snapshot.machines).filter(|machine| machine.pool.as_ref() == Some(&patch.pool));
    let machines: Vec<_> = machines.collect();
    let found = find(snapshot, &patch.pool).and_then(|(pool, infrastructure)| Some((pool, infrastructure?)));
    let is_rolling = found.is_some_and(|(pool, infrastructure)| !machine_pool_settled(pool, infrastructure, &machines));
    is_rolling && snapshot.upgrade_spec.operation.rollback().is_some()
}

pub(super) fn check(snapshot: &Snapshot, patch: &PatchMachinePool, broken: &mut Vec<Violation>) {
    let Some((pool, infrastructure)) = find(snapshot, &patch.pool) else {
        broken.push(Violation::UnknownObject);
        return;
    };
    let infrastructure_object = infrastructure.map(|other| (&other.object, &other.paused_by));
    let objects = [Some((&pool.object, &pool.paused_by)), infrastructure_object];
    let is_it = |object: &Object| {
        object.api_version == patch.api_version && object.kind == patch.kind && object.name == patch.name
    };
    let mut objects = objects.into_iter().flatten();
    let Some((object, paused_by)) = objects.find(|(object, _)| is_it(object)) else {
        broken.push(Violation::UnknownObject);
        return;
    };
    if !compares(&patch.patch, &patch.resource_version, &object.resource_version) {
        broken.push(Violation::NoCompare);
    }
    let upgrade = snapshot.upgrade_spec.id();
    let is_ours = |mark: &PauseMark| mark.is_of(&upgrade);
    let is_writable = object.lifecycle != Lifecycle::Deleting && pool.object.managed_by == ManagedBy::User;
    match &patch.change {
        MachinePoolChange::Pause => {
            if !is_writable || *paused_by == PausedBy::User {
                broken.push(Violation::Untouchable);
            }
            let mark = PausedBy::of(annotation(&patch.patch, PAUSED));
            if !mark.mark().is_some_and(is_ours) {
                broken.push(Violation::Incomplete);
            }
            if !touches_only(&patch.patch, &[PAUSED], Also::Nothing) {
                broken.push(Violation::NotOurs);
            }
        }
        MachinePoolChange::Resume => {
            let annotations = patch.patch.pointer("/metadata/annotations");
            if annotations.and_then(|all| all.get(PAUSED)) != Some(&Value::Null) {
                broken.push(Violation::Incomplete);
            }
            let of_infrastructure = infrastructure.filter(|other| is_it(&other.object));
            let is_mark_alone =
                touches_only(&patch.patch, &[PAUSED], Also::Nothing) || reads_back(patch, of_infrastructure);
            if paused_by.mark().is_none() || !is_mark_alone {
                broken.push(Violation::NotOurs);
            }
        }
        MachinePoolChange::GiveUp => {
            let left = annotation(&patch.patch, LEFT_ANNOTATION).and_then(LeftMark::from_annotation);
            if !left.is_some_and(|left| left.is_of(&upgrade)) {
                broken.push(Violation::Incomplete);
            }
            if !is_writable {
                broken.push(Violation::Untouchable);
            }
            let is_marked = paused_by.mark().is_some_and(is_ours);
            if !is_marked || !touches_only(&patch.patch, &[LEFT_ANNOTATION], Also::Nothing) {
                broken.push(Violation::NotOurs);
            }
        }
        MachinePoolChange::SetValues { release, pointers } => {
            let of_infrastructure = infrastructure.filter(|other| is_it(&other.object));
            let Some(infrastructure) = of_infrastructure else {
                broken.push(Violation::NotOurs);
                return;
            };
            if !is_writable {
                broken.push(Violation::Untouchable);
            }
            check_paused(snapshot, pool, infrastructure, broken);
            check_values(snapshot, infrastructure, pool, patch, (release, pointers), broken);
        }
        MachinePoolChange::RestoreValues { version, values: _ } => {
            let Some(infrastructure) = infrastructure.filter(|other| is_it(&other.object)) else {
                broken.push(Violation::NotOurs);
                return;
            };
            if !is_writable {
                broken.push(Violation::Untouchable);
            }
            check_paused(snapshot, pool, infrastructure, broken);
            check_skew(snapshot, version, broken);
            check_restored(snapshot, infrastructure, patch, version, broken);
        }
    }
}

/// The version, which goes with the ledger and while both are paused.
pub(super) fn check_swap(snapshot: &Snapshot, name: &str, swap: &Swap, broken: &mut Vec<Violation>) {
    let Some((pool, Some(infrastructure))) = find(snapshot, &PoolId::MachinePool(name.to_owned())) else {
        broken.push(Violation::UnknownObject);
        return;
    };
    if pool.object.managed_by != ManagedBy::User || pool.object.lifecycle == Lifecycle::Deleting {
        broken.push(Violation::Untouchable);
    }
    check_object(snapshot, &pool.object, swap, broken);
    match snapshot.upgrade_spec.operation.rollback() {
        Some(rollback) => what_was::check_target(&pool.object, swap, rollback, broken),
        None => check_version(&pool.version, swap, broken),
    }
    check_skew(snapshot, &swap.version, broken);
    check_paused(snapshot, pool, infrastructure, broken);
    let mut spec = swap.patch.get("spec").cloned().unwrap_or_default();
    let rest = put(&mut spec, "/template/spec/version", Value::Null);
    let mut expected = Value::Null;
    let version = put(&mut expected, "/template/spec/version", Value::Null);
    let is_version_alone = rest.is_some() && version.is_some() && spec == expected;
    if !is_version_alone || !touches_only(&swap.patch, &[SWAP_HISTORY_ANNOTATION], Also::Spec) {
        broken.push(Violation::NotOurs);
    }
}

fn find<'s>(snapshot: &'s Snapshot, pool: &PoolId) -> Option<(&'s MachinePool, Option<&'s InfrastructurePool>)> {
    let PoolId::MachinePool(name) = pool else { return None };
    let pool = read(&snapshot.machine_pools).find(|pool| pool.object.name == *name)?;
    let infrastructure = read(&snapshot.infrastructure_pools).find(|other| other.is(&pool.infrastructure));
    Some((pool, infrastructure))
}

/// Both have the mark of this upgrade, and say that they are paused.
fn check_paused(
    snapshot: &Snapshot,
    pool: &MachinePool,
    infrastructure: &InfrastructurePool,
    broken: &mut Vec<Violation>,
) {
    let upgrade = snapshot.upgrade_spec.id();
    let is_paused = |object: &Object, paused_by: &PausedBy| {
        let status = object.paused().map(|paused| paused.status);
        status == Some(ConditionStatus::True) && paused_by.mark_of(&upgrade).is_some()
    };
    if !is_paused(&pool.object, &pool.paused_by) || !is_paused(&infrastructure.object, &infrastructure.paused_by) {
        broken.push(Violation::NotPaused);
    }
}

/// Only what the release or the upgrade sets is changed, and no release that the workers may not have.
fn check_values(
    snapshot: &Snapshot,
    infrastructure: &InfrastructurePool,
    pool: &MachinePool,
    patch: &PatchMachinePool,
    (release, pointers): (&str, &BTreeSet<JsonPointer>),
    broken: &mut Vec<Violation>,
) {
    let annotations = [RENDERED_ANNOTATION, VALUES_HISTORY_ANNOTATION];
    if !touches_only(&patch.patch, &annotations, Also::Spec) {
        broken.push(Violation::NotOurs);
    }
    let history = annotation(&patch.patch, VALUES_HISTORY_ANNOTATION).and_then(ValuesHistory::from_annotation);
    if !history.is_some_and(|history| history.is_of(&snapshot.upgrade_spec.id())) {
        broken.push(Violation::Incomplete);
    }
    let mut after = infrastructure.spec.clone();
    json_patch::merge(&mut after, patch.patch.get("spec").unwrap_or(&Value::Null));
    let mut before = infrastructure.spec.clone();
    for pointer in pointers {
        let below = pointer.as_str().strip_prefix("/spec").unwrap_or_default();
        let erased = [&mut before, &mut after].map(|spec| put(spec, below, Value::Null));
        if below.is_empty() || erased.contains(&None) {
            broken.push(Violation::NotOurs);
        }
    }
    if before != after {
        broken.push(Violation::NotOurs);
    }
    match version_of(snapshot, release) {
        Some(version) => check_skew(snapshot, version, broken),
        None => broken.push(Violation::Incomplete),
    }
    let allowed = allowed(snapshot, infrastructure, pool, release);
    if pointers.iter().any(|pointer| !allowed.contains(pointer)) {
        broken.push(Violation::NotOurs);
    }
}

/// Whether what is written beside the end of the pause is what reads back of the values.
fn reads_back(patch: &PatchMachinePool, infrastructure: Option<&InfrastructurePool>) -> bool {
    let expected = infrastructure.and_then(|infrastructure| {
        let history = infrastructure.values_history.as_ref()?;
        history.with_standing(&infrastructure.spec)
    });
    let written = annotation(&patch.patch, VALUES_HISTORY_ANNOTATION).and_then(ValuesHistory::from_annotation);
    expected.is_some()
        && written == expected
        && touches_only(&patch.patch, &[PAUSED, VALUES_HISTORY_ANNOTATION], Also::Nothing)
}

/// What was there is set back once, unless another client has changed it, as the infrastructure itself says, and nothing else.
fn check_restored(
    snapshot: &Snapshot,
    infrastructure: &InfrastructurePool,
    patch: &PatchMachinePool,
    version: &KubeVersion,
    broken: &mut Vec<Violation>,
) {
    let annotations = [RENDERED_ANNOTATION, VALUES_HISTORY_ANNOTATION];
    if !touches_only(&patch.patch, &annotations, Also::Spec) {
        broken.push(Violation::NotOurs);
    }
    let rollback = snapshot.upgrade_spec.operation.rollback();
    let history = infrastructure.values_history.as_ref();
    let by = snapshot.upgrade_spec.id();
    let written = annotation(&patch.patch, VALUES_HISTORY_ANNOTATION).and_then(ValuesHistory::from_annotation);
    if written != history.map(|history| history.with_restored(&by, version)) {
        broken.push(Violation::Incomplete);
    }
    let is_foreign =
        |before| history.is_some_and(|history| history.changed_since(&infrastructure.spec, before).is_some());
    let is_done = history.is_some_and(|history| history.is_restored(&by, version));
    let before = rollback.and_then(|rollback| history?.before(&rollback.of, version));
    let mut after = infrastructure.spec.clone();
    json_patch::merge(&mut after, patch.patch.get("spec").unwrap_or(&Value::Null));
    let is_theirs = is_done || before.as_ref().is_some_and(is_foreign);
    if is_theirs || before.and_then(|before| restored(&infrastructure.spec, &before)) != Some(after) {
        broken.push(Violation::NotWhatWas);
    }
}

/// The version of a release that is pinned, or in the catalog.
fn version_of<'s>(snapshot: &'s Snapshot, release: &str) -> Option<&'s KubeVersion> {
    let pins = snapshot.cluster.classic().and_then(|classic| classic.pins.as_ref());
    let pinned = pins.and_then(|pins| pins.releases.iter().find(|(_, pin)| pin.release == release));
    let row = snapshot
        .catalog
        .named_anywhere(release)
        .map(instar_catalog::Release::version);
    pinned.map(|(version, _)| version).or(row)
}

/// Where a release, or a patch of the upgrade, may set something.
fn allowed(
    snapshot: &Snapshot,
    infrastructure: &InfrastructurePool,
    pool: &MachinePool,
    release: &str,
) -> BTreeSet<JsonPointer> {
    let name = &pool.object.name;
    let pins = snapshot.cluster.classic().and_then(|classic| classic.pins.as_ref());
    let pins = pins.into_iter().flat_map(|pins| pins.releases.values());
    let pinned = pins
        .filter(|pin| pin.release == release)
        .filter_map(|pin| pin.machine_pools.get(name));
    let (group, kind) = (&pool.infrastructure.group, &infrastructure.object.kind);
    let row = snapshot.catalog.named_anywhere(release).into_iter();
    let rows = row.flat_map(|row| row.images_of_kind(Role::Worker, group, kind));
    let patches = snapshot.upgrade_spec.patches.get(&PoolId::Workers(name.clone()));
    let values = pinned.chain(rows).chain(patches);
    values.flat_map(|values| values.keys().cloned()).collect()
}
