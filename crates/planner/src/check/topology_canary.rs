//! Whether a pool of a topology cluster would go before those that go first, and what is written of these.

use instar_api::SWAP_HISTORY_ANNOTATION;
use instar_capi::{Lifecycle, ManagedBy, labels::TOPOLOGY_DEPLOYMENT_NAME};
use instar_domain::{BuildOrder, KubeVersion};
use jiff::Timestamp;

use super::{
    Violation,
    patch::{Also, annotation, compares, touches_only},
    read, topology,
};
use crate::{
    decision::{Convergence, HoldPool},
    pool_id::PoolId,
    snapshot::{ConditionStatus, Machine, MachineDeployment, Node, Rollout, Snapshot},
    swap_history::{SwapEntry, SwapHistory},
};

/// Whether a pool that is let go passes one that goes first and has not arrived, isn't well or hasn't been there for
/// long enough.
pub(super) fn is_passed(snapshot: &Snapshot, hold: &HoldPool) -> bool {
    let Some(to) = topology::begins(snapshot, hold) else {
        return false;
    };
    let bake = snapshot.canary.map(|rule| rule.bake).unwrap_or_default();
    let first = first(snapshot, to);
    if first.iter().any(|pool| pool.object.name == hold.name) {
        return false;
    }
    first.into_iter().any(|pool| {
        let is_well = |kind: &str| {
            let mut conditions = pool.object.conditions.iter();
            !conditions.any(|condition| condition.kind == kind && condition.status == ConditionStatus::False)
        };
        let baked = arrived(snapshot, pool, to).and_then(|arrived| arrived.checked_add(bake).ok());
        let is_over =
            baked.is_some_and(|baked| baked <= snapshot.now) && is_well("Available") && is_well("MachinesReady");
        pool.version.compare(to) != BuildOrder::Greater && !is_over
    })
}

/// With a pool that is let go and goes first its history is written, with no other.
pub(super) fn check_history(snapshot: &Snapshot, hold: &HoldPool, broken: &mut Vec<Violation>) {
    let written = annotation(&hold.patch, SWAP_HISTORY_ANNOTATION).map(SwapHistory::from_annotation);
    let goes_first = topology::begins(snapshot, hold)
        .map(|to| first(snapshot, to))
        .and_then(|first| first.into_iter().find(|pool| pool.object.name == hold.name));
    let is_right = match (goes_first, written) {
        (None, None) => true,
        (Some(pool), Some(Some(history))) => {
            let last = history.last_of(&snapshot.upgrade_spec.id());
            last.is_some_and(|last| last.converged.is_none() && last.since == snapshot.now && is_of(last, pool))
        }
        (None, Some(_)) | (Some(_), None | Some(None)) => false,
    };
    if !is_right {
        broken.push(Violation::Incomplete);
    }
}

/// What says that a pool has arrived.
pub(super) fn check_arrival(snapshot: &Snapshot, convergence: &Convergence, broken: &mut Vec<Violation>) {
    let PoolId::Workers(name) = &convergence.pool else {
        broken.push(Violation::Untouchable);
        return;
    };
    let Some(pool) = read(&snapshot.pools).find(|pool| pool.object.name == *name) else {
        broken.push(Violation::UnknownObject);
        return;
    };
    let object = &pool.object;
    if object.managed_by != ManagedBy::Topology || object.lifecycle != Lifecycle::Active {
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
    let last = written
        .as_ref()
        .and_then(|history| history.last_of(&snapshot.upgrade_spec.id()));
    if !last.is_some_and(|last| last.converged == Some(snapshot.now) && is_of(last, pool)) {
        broken.push(Violation::Incomplete);
    }
    let is_there = |machine: &Machine| match &machine.node {
        Node::Absent | Node::Joined { version: None, .. } => false,
        Node::Joined {
            version: Some(version), ..
        } => machine.version == pool.version && version.is_same_upstream(&pool.version),
    };
    if object.observed_generation < object.generation || !machines(snapshot, pool).all(is_there) {
        broken.push(Violation::ControlPlaneMoving);
    }
}

/// The pools that go to a version before the others.
fn first<'s>(snapshot: &'s Snapshot, to: &KubeVersion) -> Vec<&'s MachineDeployment> {
    let pools = || read(&snapshot.pools).filter(|pool| pool.object.managed_by == ManagedBy::Topology);
    let Some(rule) = snapshot.canary.filter(|rule| pools().count() > rule.pools) else {
        return Vec::new();
    };
    let concurrency = snapshot
        .cluster
        .topology()
        .and_then(|topology| topology.concurrency.present.as_ref());
    let slots: usize = concurrency.and_then(|text| text.parse().ok()).unwrap_or(1);
    let rolls = |pool: &MachineDeployment| machines(snapshot, pool).any(|machine| machine.version != pool.version);
    let is_full = pools().filter(|pool| rolls(pool)).count() >= slots;
    let moves = |pool: &MachineDeployment| {
        let is_free = pool.object.lifecycle == Lifecycle::Active || pool.held.is_some();
        let gets_there = !is_full || pool.version.compare(to) != BuildOrder::Less;
        pool.rollout == Rollout::Rolling && is_free && gets_there && machines(snapshot, pool).next().is_some()
    };
    let order = &snapshot.upgrade_spec.order;
    let place = |pool: &MachineDeployment| {
        let in_topology = pool.labels.get(TOPOLOGY_DEPLOYMENT_NAME);
        let named = |name: &String| *name == pool.object.name || Some(name) == in_topology;
        order.iter().position(named).unwrap_or(order.len())
    };
    let mut first: Vec<_> = pools()
        .filter(|pool| pool.object.lifecycle != Lifecycle::Deleting)
        .filter(|pool| swap(snapshot, pool, to).is_some() || moves(pool))
        .map(|pool| {
            let gone = swap(snapshot, pool, to).map(|swap| swap.since);
            ((gone.is_none(), gone, place(pool), &pool.object.name), pool)
        })
        .collect();
    first.sort_by(|a, b| a.0.cmp(&b.0));
    first.into_iter().map(|(_, pool)| pool).take(rule.pools).collect()
}

fn arrived(snapshot: &Snapshot, pool: &MachineDeployment, to: &KubeVersion) -> Option<Timestamp> {
    swap(snapshot, pool, to).filter(|swap| is_of(swap, pool))?.converged
}

/// What this upgrade has written into a pool of a version.
fn swap<'p>(snapshot: &Snapshot, pool: &'p MachineDeployment, to: &KubeVersion) -> Option<&'p SwapEntry> {
    let history = pool.object.swap_history.as_ref();
    let last = history.and_then(|history| history.last_of(&snapshot.upgrade_spec.id()));
    last.filter(|last| last.after.version == *to)
}

/// Whether an entry says what the pool says.
fn is_of(swap: &SwapEntry, pool: &MachineDeployment) -> bool {
    swap.after.version == pool.version && swap.after.template.as_ref() == Some(&pool.infrastructure.name)
}

fn machines<'s>(snapshot: &'s Snapshot, pool: &MachineDeployment) -> impl Iterator<Item = &'s Machine> {
    let id = PoolId::Workers(pool.object.name.clone());
    read(&snapshot.machines).filter(move |machine| machine.pool.as_ref() == Some(&id))
}
