//! Pools that wait for their gates. Cluster API gives a pool its version when the control plane has arrived; while its
//! MachineDeployment has `spec.paused`, it replaces no machine. So each pool is held before the version is edited, or
//! before Cluster API comes to it, and is let go when its gates are open, in the order of the upgrade.
//!
//! A pool that is held with its new version counts as one that is being upgraded, and Cluster API upgrades one at a time:
//! `upgrade-concurrency` is raised meanwhile, so that a pool that is held doesn't hold the next one.

use instar_api::{ApprovalPoint, CONCURRENCY_ANNOTATION, HELD_ANNOTATION, SWAP_HISTORY_ANNOTATION};
use instar_capi::{Lifecycle, labels::UPGRADE_CONCURRENCY};
use instar_catalog::Release;
use instar_domain::KubeVersion;
use serde_json::{Value, json};

use super::{canary, view::TopologyView};
use crate::{
    approval::AfterEdit,
    canary::Leaving,
    decision::{Action, EditVersion, Hold, HoldPool, SetConcurrency, Waiting},
    gates,
    pause::PauseMark,
    pool_id::PoolId,
    snapshot::{MachineDeployment, RaisedConcurrency, Rollout, RuntimeHooks, UpgradeConcurrency},
    swap_history::SwapHistory,
    upgrade_spec::{Gate, Origin},
};

/// What becomes of the workers after an edit to a version. MachinePools have no field by which they could be held, so
/// only hooks hold them, and what goes to other values at the same version goes at once.
pub(super) fn after_edit(view: &TopologyView<'_>, row: &Release) -> AfterEdit {
    let has_workers = !view.pools.is_empty() || !view.machine_pools.is_empty();
    let are_held = view.machine_pools.is_empty() || view.topology.hooks == RuntimeHooks::On;
    let are_pools_held = view.pools.is_empty() || is_wanted(view, row.version(), Some(row.name()));
    let goes = *row.version() != view.topology.version;
    // The pools of another release of the version follow one by one. Those of an adopted one may go at once.
    if !goes && view.topology.release_of(row.version()).is_some() {
        return AfterEdit::Held;
    }
    if !has_workers || (goes && are_held && are_pools_held) {
        AfterEdit::Held
    } else {
        AfterEdit::Follow
    }
}

/// What is written before the version is edited.
pub(super) fn before_edit(view: &TopologyView<'_>, row: &Release, edit: &EditVersion) -> Option<Action> {
    if *row.version() == view.topology.version || !is_wanted(view, row.version(), Some(row.name())) {
        return None;
    }
    match prepare(view)? {
        Action::HoldPool(hold) => Some(Action::HoldPool(HoldPool {
            before: Some(Box::new(edit.clone())),
            ..hold
        })),
        action => Some(action),
    }
}

/// What is written while the cluster moves, and when it has arrived.
pub(super) fn next(view: &TopologyView<'_>, waiting: &mut Vec<Waiting>) -> Option<Action> {
    if !view.is_moving() {
        return end(view);
    }
    let version = &view.topology.version;
    let is_wanted = is_wanted(view, version, view.topology.release_of(version));
    let prepared = if is_wanted { prepare(view) } else { None };
    prepared
        .or_else(|| canary::record(view, &due(view)))
        .or_else(|| release(view, waiting))
}

/// Nothing moves: what is held is let go, and the user's value is put back, if it is still ours that stands there.
pub(super) fn end(view: &TopologyView<'_>) -> Option<Action> {
    let marked = view.pools.iter().find(|pool| pool.held.is_some() && is_writable(pool));
    let restored = || {
        let UpgradeConcurrency { present, raised } = &view.topology.concurrency;
        let RaisedConcurrency { before, to } = raised.as_ref()?;
        let is_ours = present.as_ref() == Some(to);
        let back = if is_ours { before } else { present };
        Some(set_concurrency(view, back.clone(), None))
    };
    marked.map(|pool| let_go(pool, None)).or_else(restored)
}

/// Whether something may hold the workers that go to a release.
fn is_wanted(view: &TopologyView<'_>, to: &KubeVersion, release: Option<&str>) -> bool {
    let snapshot = view.snapshot;
    let may_close = snapshot.gates.contains_key(&Gate::Window)
        || snapshot.approvals.required.contains(&ApprovalPoint::Workers)
        || canary::is_wanted(view)
        || gates::may_hold_workers(snapshot, to, release);
    !view.pools.is_empty() && may_close
}

/// Pools that have still to go, and that nothing holds or moves yet, are held. Only then more of them may get their
/// version at a time: raised before, Cluster API would give it to those that aren't held yet.
fn prepare(view: &TopologyView<'_>) -> Option<Action> {
    let to_hold = view.pools.iter().find(|pool| has_to_be_held(view, pool));
    to_hold.map(|pool| hold(view, pool)).or_else(|| raise(view))
}

fn has_to_be_held(view: &TopologyView<'_>, pool: &MachineDeployment) -> bool {
    // What its user has paused stays the user's. One that was resumed goes on, but not before there is anywhere to go.
    let is_free = pool.object.lifecycle == Lifecycle::Active && (pool.held.is_none() || !view.is_moving());
    is_to_go(view, pool) && is_free && !view.is_rolling(pool) && !canary::is_watched(view, pool)
}

/// Before the edit, every pool is at the Cluster's version.
fn is_to_go(view: &TopologyView<'_>, pool: &MachineDeployment) -> bool {
    pool.version != view.topology.version || !view.is_moving()
}

/// The next pool that is let go, where the strategy has room for one more on its way.
fn release(view: &TopologyView<'_>, waiting: &mut Vec<Waiting>) -> Option<Action> {
    let mut due = due(view);
    // They come by name, and the sort is stable.
    due.sort_by_key(|pool| view.place(pool));
    // Where they go through a version in between, all of them do.
    let version = &due.first()?.version;
    let moving = view.pools.iter().filter(|pool| is_on_its_way(view, pool)).count();
    let has_room = moving < limit(view);
    let mut held = gates::before_workers(view.snapshot, version, view.topology.release_of(version));
    if !has_room {
        held.retain(gates::is_of_addon);
    }
    if !has_room || !held.is_empty() {
        waiting.extend(held);
        return None;
    }
    for pool in due {
        let id = PoolId::Workers(pool.object.name.clone());
        let leaving = Leaving {
            pool: &id,
            from: &pool.version,
            to: &pool.version,
            due: &[],
        };
        match gates::before_pool(view.snapshot, &leaving).or_else(|| canary::before_pool(view, pool)) {
            None => return Some(let_go(pool, canary::begun(view, pool).as_ref())),
            Some(held) if waiting.contains(&held) => {}
            Some(held) => waiting.push(held),
        }
    }
    None
}

/// Whether a pool that nothing stops has its version, and is not all that it says. One that is paused, or replaces machines
/// only when a user deletes them, isn't waited for.
fn is_on_its_way(view: &TopologyView<'_>, pool: &MachineDeployment) -> bool {
    let moves = pool.object.lifecycle == Lifecycle::Active && pool.rollout == Rollout::Rolling;
    moves && (view.is_rolling(pool) || (pool.version == view.topology.version && !view.pool_settled(pool)))
}

/// How many pools may be on their way: an edit by hand has the number that the Cluster's user gave Cluster API.
pub(super) fn limit(view: &TopologyView<'_>) -> usize {
    let upgrade_spec = &view.snapshot.upgrade_spec;
    match upgrade_spec.origin {
        Origin::Upgrade => upgrade_spec.strategy.limit(),
        Origin::Cluster => {
            let UpgradeConcurrency { present, raised } = &view.topology.concurrency;
            let ours = raised.as_ref().filter(|raised| present.as_ref() == Some(&raised.to));
            let users = ours.map_or(present.as_ref(), |raised| raised.before.as_ref());
            users.and_then(|text| text.parse().ok()).unwrap_or(1)
        }
    }
}

fn due<'a>(view: &TopologyView<'a>) -> Vec<&'a MachineDeployment> {
    view.pools.iter().copied().filter(|pool| is_due(view, pool)).collect()
}

/// Whether a pool that is held has its version, and waits for nothing but us.
fn is_due(view: &TopologyView<'_>, pool: &MachineDeployment) -> bool {
    pool.is_held() && (pool.version == view.topology.version || view.is_rolling(pool))
}

const fn is_writable(pool: &MachineDeployment) -> bool {
    match pool.object.lifecycle {
        Lifecycle::Active | Lifecycle::Paused => true,
        Lifecycle::Deleting => false,
    }
}

fn hold(view: &TopologyView<'_>, pool: &MachineDeployment) -> Action {
    let mark = PauseMark::new(&view.snapshot.upgrade_spec.id(), view.snapshot.now);
    let annotations = json!({ HELD_ANNOTATION: mark.to_annotation() });
    patched(pool, Hold::Hold, &annotations, &json!(true))
}

/// One that its user has resumed only loses the mark. With it goes what is kept of one that goes first.
fn let_go(pool: &MachineDeployment, history: Option<&SwapHistory>) -> Action {
    let annotations = match history {
        None => json!({ HELD_ANNOTATION: null }),
        Some(history) => json!({ HELD_ANNOTATION: null, SWAP_HISTORY_ANNOTATION: history.to_annotation() }),
    };
    patched(pool, Hold::Release, &annotations, &Value::Null)
}

fn patched(pool: &MachineDeployment, change: Hold, annotations: &Value, paused: &Value) -> Action {
    let patch = json!({
        "metadata": {
            "resourceVersion": pool.object.resource_version,
            "annotations": annotations,
        },
        "spec": { "paused": paused },
    });
    Action::HoldPool(HoldPool::of(pool, change, patch))
}

/// Raises the number of pools that are upgraded at a time to all of them, if it is lower and no pool would go by that. It
/// is raised once: what somebody else sets then stands. MachinePools, which go by the same number, can't be held, so it
/// stays where there are some: the pools then get their version one after the other. Where all have it, it does nothing.
fn raise(view: &TopologyView<'_>) -> Option<Action> {
    let UpgradeConcurrency { present, raised } = &view.topology.concurrency;
    let to_go: Vec<_> = view.pools.iter().filter(|pool| is_to_go(view, pool)).collect();
    let would_go = to_go.iter().any(|pool| pool.object.lifecycle == Lifecycle::Active);
    if raised.is_some() || !view.machine_pools.is_empty() || to_go.is_empty() || would_go {
        return None;
    }
    let all = view.pools.len();
    let now = present.as_ref().map_or(Some(1), |text| text.parse::<usize>().ok());
    // Cluster API refuses what isn't a number; what is there all the same is the user's matter.
    if now.is_none_or(|now| now >= all) {
        return None;
    }
    let to = all.to_string();
    let keep = RaisedConcurrency {
        before: present.clone(),
        to: to.clone(),
    };
    Some(set_concurrency(view, Some(to), Some(&keep)))
}

fn set_concurrency(view: &TopologyView<'_>, to: Option<String>, keep: Option<&RaisedConcurrency>) -> Action {
    let resource_version = view.topology.resource_version.clone();
    let keep = keep.map(RaisedConcurrency::to_annotation);
    Action::SetConcurrency(SetConcurrency {
        patch: json!({
            "metadata": {
                "resourceVersion": resource_version,
                "annotations": { UPGRADE_CONCURRENCY: to, CONCURRENCY_ANNOTATION: keep },
            },
        }),
        name: view.snapshot.cluster.name.clone(),
        resource_version,
        to,
    })
}
