//! Pools that wait for their gates. Cluster API gives a pool its version when the control plane has arrived; while its
//! MachineDeployment has `spec.paused`, it replaces no machine. So each pool is held before the version is edited, or
//! before Cluster API comes to it, and is let go when its gates are open, in the order of the upgrade.
//!
//! A pool that is held with its new version counts as one that is being upgraded, and Cluster API upgrades one at a time:
//! `upgrade-concurrency` is raised meanwhile, so that a pool that is held doesn't hold the next one.

use instar_api::{ApprovalPoint, CONCURRENCY_ANNOTATION, HELD_ANNOTATION};
use instar_capi::{
    Lifecycle,
    labels::{TOPOLOGY_DEPLOYMENT_NAME, UPGRADE_CONCURRENCY},
};
use serde_json::{Value, json};

use super::view::TopologyView;
use crate::{
    approval::AfterEdit,
    canary::Leaving,
    decision::{Action, Hold, HoldPool, SetConcurrency, Waiting},
    gates,
    pause::PauseMark,
    pool_id::PoolId,
    snapshot::{MachineDeployment, UpgradeConcurrency},
    upgrade_spec::Gate,
};

/// What becomes of the workers after the edit. MachinePools have no field by which they could be held.
pub(super) fn after_edit(view: &TopologyView<'_>) -> AfterEdit {
    if is_wanted(view) && view.machine_pools.is_empty() {
        AfterEdit::Held
    } else {
        AfterEdit::Follow
    }
}

/// What is written before the version is edited.
pub(super) fn before_edit(view: &TopologyView<'_>) -> Option<Action> {
    if is_wanted(view) { prepare(view) } else { None }
}

/// What is written while the cluster moves, and when it has arrived.
pub(super) fn next(view: &TopologyView<'_>, waiting: &mut Vec<Waiting>) -> Option<Action> {
    if !view.is_moving() {
        return end(view);
    }
    let prepared = if is_wanted(view) { prepare(view) } else { None };
    prepared.or_else(|| release(view, waiting))
}

/// Nothing moves: what is held is let go, and the user's value is put back.
pub(super) fn end(view: &TopologyView<'_>) -> Option<Action> {
    let marked = view.pools.iter().find(|pool| pool.held.is_some() && is_writable(pool));
    let restored = || match &view.topology.concurrency {
        UpgradeConcurrency { users: None, .. } => None,
        UpgradeConcurrency { users: Some(users), .. } => {
            let to = Some(users.clone()).filter(|users| !users.is_empty());
            Some(set_concurrency(view, to, &Value::Null))
        }
    };
    marked.map(|pool| let_go(pool)).or_else(restored)
}

/// Whether a policy has something that may hold the workers.
fn is_wanted(view: &TopologyView<'_>) -> bool {
    let snapshot = view.snapshot;
    let may_close = snapshot.gates.contains_key(&Gate::Window);
    !view.pools.is_empty() && (may_close || snapshot.approvals.required.contains(&ApprovalPoint::Workers))
}

/// Pools that have still to go, and that nothing holds or moves yet, are held.
fn prepare(view: &TopologyView<'_>) -> Option<Action> {
    let to_hold = || view.pools.iter().find(|pool| has_to_be_held(view, pool));
    raise(view).or_else(|| to_hold().map(|pool| hold(view, pool)))
}

fn has_to_be_held(view: &TopologyView<'_>, pool: &MachineDeployment) -> bool {
    // Before the edit, every pool is at the Cluster's version.
    let is_to_go = pool.version != view.topology.version || !view.is_moving();
    // What its user has paused, or let go, stays the user's.
    let is_free = pool.held.is_none() && pool.object.lifecycle == Lifecycle::Active;
    is_to_go && is_free && !is_rolling(view, pool)
}

/// Whether some machine is at another version than the pool says.
fn is_rolling(view: &TopologyView<'_>, pool: &MachineDeployment) -> bool {
    let id = PoolId::Workers(pool.object.name.clone());
    view.machines_of(&id).any(|machine| machine.version != pool.version)
}

/// The next pool that is let go, where the strategy has room for one more on its way.
fn release(view: &TopologyView<'_>, waiting: &mut Vec<Waiting>) -> Option<Action> {
    let mut due: Vec<&MachineDeployment> = view.pools.iter().copied().filter(|pool| is_due(view, pool)).collect();
    if due.is_empty() {
        return None;
    }
    let upgrade_spec = &view.snapshot.upgrade_spec;
    // They come by name, and the sort is stable.
    due.sort_by_key(|pool| {
        let named = upgrade_spec.order.iter().position(|name| is_called(pool, name));
        named.unwrap_or(usize::MAX)
    });
    let moves = |pool: &&&MachineDeployment| !pool.is_held() && is_rolling(view, pool);
    let moving = view.pools.iter().filter(moves).count();
    if moving >= upgrade_spec.strategy.limit() {
        return None;
    }
    let held = gates::before_workers(view.snapshot);
    if !held.is_empty() {
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
        match gates::before_pool(view.snapshot, &leaving) {
            None => return Some(let_go(pool)),
            Some(held) if waiting.contains(&held) => {}
            Some(held) => waiting.push(held),
        }
    }
    None
}

/// Whether a pool that is held has its version, and waits for nothing but us.
fn is_due(view: &TopologyView<'_>, pool: &MachineDeployment) -> bool {
    pool.is_held() && (pool.version == view.topology.version || is_rolling(view, pool))
}

/// By its name in the topology, or its own.
fn is_called(pool: &MachineDeployment, name: &str) -> bool {
    pool.object.name == name
        || pool
            .labels
            .get(TOPOLOGY_DEPLOYMENT_NAME)
            .is_some_and(|called| called == name)
}

const fn is_writable(pool: &MachineDeployment) -> bool {
    match pool.object.lifecycle {
        Lifecycle::Active | Lifecycle::Paused => true,
        Lifecycle::Deleting => false,
    }
}

fn hold(view: &TopologyView<'_>, pool: &MachineDeployment) -> Action {
    let mark = PauseMark::new(&view.snapshot.upgrade_spec.id(), view.snapshot.now);
    patched(pool, Hold::Hold, &json!(mark.to_annotation()), &json!(true))
}

/// One that its user has resumed only loses the mark.
fn let_go(pool: &MachineDeployment) -> Action {
    patched(pool, Hold::Release, &Value::Null, &Value::Null)
}

fn patched(pool: &MachineDeployment, change: Hold, mark: &Value, paused: &Value) -> Action {
    let object = &pool.object;
    Action::HoldPool(HoldPool {
        pool: PoolId::Workers(object.name.clone()),
        api_version: object.api_version.clone(),
        kind: object.kind.clone(),
        name: object.name.clone(),
        resource_version: object.resource_version.clone(),
        change,
        patch: json!({
            "metadata": {
                "resourceVersion": object.resource_version,
                "annotations": { HELD_ANNOTATION: mark },
            },
            "spec": { "paused": paused },
        }),
    })
}

/// Raises the number of pools that are upgraded at a time to all of them, if it is lower.
fn raise(view: &TopologyView<'_>) -> Option<Action> {
    let UpgradeConcurrency { present, users } = &view.topology.concurrency;
    let all = view.pools.len();
    let now = present.as_ref().map_or(Some(1), |text| text.parse::<usize>().ok());
    // Cluster API refuses what isn't a number; what is there all the same is the user's matter.
    if now.is_none_or(|now| now >= all) {
        return None;
    }
    let keep = users.clone().or_else(|| present.clone()).unwrap_or_default();
    Some(set_concurrency(view, Some(all.to_string()), &json!(keep)))
}

fn set_concurrency(view: &TopologyView<'_>, to: Option<String>, keep: &Value) -> Action {
    let resource_version = view.topology.resource_version.clone();
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
