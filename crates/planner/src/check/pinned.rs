//! The invariants of what is written beside the swaps of a classic Cluster: its pins, and the ends of the swaps.

use instar_api::{PATH_ANNOTATION, Pins, RELEASES_ANNOTATION, SWAP_HISTORY_ANNOTATION};

use super::{
    Violation, control_plane, is_ours,
    patch::{Also, annotation, compares, touches_only},
    read,
};
use crate::{
    decision::{Convergence, PinPath},
    pool_id::PoolId,
    snapshot::{Object, PinnedPath, Snapshot},
    swap_history::SwapHistory,
};

pub(super) fn check_path(snapshot: &Snapshot, pin: &PinPath, broken: &mut Vec<Violation>) {
    let Some(classic) = snapshot.cluster.classic().filter(|_| snapshot.cluster.name == pin.name) else {
        broken.push(Violation::UnknownObject);
        return;
    };
    if !compares(&pin.patch, &pin.resource_version, &classic.resource_version) {
        broken.push(Violation::NoCompare);
    }
    if !touches_only(&pin.patch, &[PATH_ANNOTATION, RELEASES_ANNOTATION], Also::Nothing) {
        broken.push(Violation::NotOurs);
    }
    let path = annotation(&pin.patch, PATH_ANNOTATION).and_then(PinnedPath::from_annotation);
    let pins = annotation(&pin.patch, RELEASES_ANNOTATION).map(Pins::from_annotation);
    let (Some(path), Some(Ok(pins))) = (path, pins) else {
        broken.push(Violation::Incomplete);
        return;
    };
    let is_pinned = |name: &String| pins.releases.values().any(|pin| pin.release == *name);
    if path.upgrade != snapshot.upgrade_spec.id()
        || path.releases != pin.releases
        || !path.releases.iter().all(is_pinned)
    {
        broken.push(Violation::Incomplete);
    }
    let before = classic.path.as_ref().and_then(|path| path.takes_back.as_ref());
    let is_kept = match (snapshot.upgrade_spec.operation.rollback(), &path.takes_back) {
        (Some(rollback), Some(taken_back)) => {
            taken_back.upgrade == rollback.of
                && taken_back.by == path.upgrade
                && taken_back.scope == rollback.scope
                && taken_back.retry == rollback.retry
        }
        (Some(_), None) => false,
        (None, Some(taken_back)) => before == Some(taken_back),
        // Only what is asked for once more is forgotten.
        (None, None) => before.is_none_or(|before| {
            let upgrade_spec = &snapshot.upgrade_spec;
            before.upgrade.name == path.upgrade.name
                && (before.target == path.target || before.reached.as_deref() == Some(&path.target))
                && upgrade_spec.retry > before.retry
        }),
    };
    if !is_kept {
        broken.push(Violation::Incomplete);
    }
    // Another row of a version may be named; the values of one stay.
    let before = classic.pins.as_ref().map(|pins| &pins.releases);
    let rewritten = before.into_iter().flatten().any(|(version, before)| {
        let after = pins.releases.get(version);
        after.is_some_and(|after| {
            after.release == before.release
                && (after.kubeadm != before.kubeadm || after.control_plane != before.control_plane)
        })
    });
    if rewritten {
        broken.push(Violation::PinRewritten);
    }
}

pub(super) fn check_convergence(snapshot: &Snapshot, convergence: &Convergence, broken: &mut Vec<Violation>) {
    let Some(object) = object(snapshot, &convergence.pool) else {
        broken.push(Violation::UnknownObject);
        return;
    };
    if !is_ours(object) {
        broken.push(Violation::Untouchable);
    }
    if !compares(
        &convergence.patch,
        &convergence.resource_version,
        &object.resource_version,
    ) {
        broken.push(Violation::NoCompare);
    }
    if !touches_only(&convergence.patch, &[SWAP_HISTORY_ANNOTATION], Also::Nothing) {
        broken.push(Violation::NotOurs);
    }
    let written = annotation(&convergence.patch, SWAP_HISTORY_ANNOTATION).and_then(SwapHistory::from_annotation);
    let expected = object
        .swap_history
        .as_ref()
        .map(|history| history.converged(snapshot.now));
    if written.is_none() || written != expected {
        broken.push(Violation::Incomplete);
    }
    if object.observed_generation < object.generation {
        broken.push(Violation::ControlPlaneMoving);
    }
}

fn object<'s>(snapshot: &'s Snapshot, pool: &PoolId) -> Option<&'s Object> {
    match pool {
        PoolId::ControlPlane => control_plane(snapshot).map(|control_plane| &control_plane.object),
        PoolId::Workers(name) => read(&snapshot.pools)
            .map(|pool| &pool.object)
            .find(|object| object.name == *name),
        PoolId::MachinePool(name) => read(&snapshot.machine_pools)
            .map(|pool| &pool.object)
            .find(|object| object.name == *name),
    }
}
