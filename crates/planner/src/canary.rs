//! The pools that go first, and what they hold the others by.

use instar_capi::{self as capi, Lifecycle, ManagedBy};
use instar_domain::{BuildOrder, KubeVersion};
use jiff::Timestamp;

use crate::{
    decision::Waiting,
    observed::Observed,
    pool_id::PoolId,
    snapshot::{Condition, ConditionStatus, MachineDeployment, Object, Snapshot},
    upgrade_spec::{CanaryRule, Gate},
};

/// The conditions of a pool that has to be well.
const WELL: [&str; 2] = ["Available", capi::Condition::MACHINES_READY];

/// A pool that is to go.
pub(crate) struct Leaving<'a> {
    pub(crate) pool: &'a PoolId,
    pub(crate) from: &'a KubeVersion,
    pub(crate) to: &'a KubeVersion,
    /// All that have still to go in this rollout.
    pub(crate) due: &'a [PoolId],
}

/// What holds a pool that is to go: a canary that hasn't been there for long enough, or isn't well.
pub(crate) fn before_pool(snapshot: &Snapshot, leaving: &Leaving<'_>) -> Option<Waiting> {
    let rule = snapshot.canary?;
    let canaries = canaries(snapshot, rule);
    let id = |canary: &MachineDeployment| PoolId::Workers(canary.object.name.clone());
    if canaries.iter().any(|canary| id(canary) == *leaving.pool) {
        return None;
    }
    canaries
        .into_iter()
        .find_map(|canary| holds(snapshot, rule, canary, leaving))
}

/// The same ones in every pass: by the order that is asked for, then by name, whatever they are at.
pub(crate) fn canaries(snapshot: &Snapshot, rule: CanaryRule) -> Vec<&MachineDeployment> {
    let upgrade_spec = &snapshot.upgrade_spec;
    let mut pools: Vec<&MachineDeployment> = snapshot
        .pools
        .iter()
        .filter_map(Observed::read)
        .filter(|pool| {
            let object = &pool.object;
            let is_left = upgrade_spec.pools.contains_key(&object.name);
            object.managed_by == ManagedBy::User && object.lifecycle != Lifecycle::Deleting && !is_left
        })
        .collect();
    pools.sort_by_key(|pool| {
        let named = upgrade_spec.order.iter().position(|name| *name == pool.object.name);
        (named.unwrap_or(usize::MAX), &pool.object.name)
    });
    pools.truncate(rule.pools);
    pools
}

fn holds(snapshot: &Snapshot, rule: CanaryRule, canary: &MachineDeployment, leaving: &Leaving<'_>) -> Option<Waiting> {
    let object = &canary.object;
    let not_there = || Some(not_there(object));
    let is_due = leaving.due.contains(&PoolId::Workers(object.name.clone()));
    // One that stands further on needs no rollout yet.
    // A pool that stays at its version asks for none either.
    let is_behind = leaving.from != leaving.to
        && canary.version.compare(leaving.to) == BuildOrder::Less
        && canary.version.compare(leaving.from) != BuildOrder::Greater;
    if is_due || is_behind {
        return not_there();
    }
    // One that this upgrade has not moved was there before.
    let swap = object.swap_history.as_ref()?.last_of(&snapshot.upgrade_spec.id())?;
    // What another client has changed since never converges, and its time isn't known: the status names it.
    let is_ours = swap.after.is_at(&canary.version, Some(&canary.infrastructure.name));
    if !is_ours {
        return None;
    }
    let Some(converged) = swap.converged else {
        return not_there();
    };
    while_it_bakes(rule, object, converged, snapshot.now)
}

/// What a pool that has arrived holds the others by: it isn't well, or hasn't been there for long enough.
pub(crate) fn while_it_bakes(
    rule: CanaryRule,
    object: &Object,
    converged: Timestamp,
    now: Timestamp,
) -> Option<Waiting> {
    let name = &object.name;
    if let Some(condition) = object.conditions.iter().find(|condition| is_ill(condition)) {
        let Condition { kind, message, .. } = condition;
        let because = if message.is_empty() { "" } else { ": " };
        return Some(closed(
            format!(
                "MachineDeployment {name} went first and isn't well, its condition {kind} is False{because}{message}"
            ),
            None,
        ));
    }
    // A time beyond what can be written is never reached.
    let until = converged.checked_add(rule.bake).ok();
    if until.is_some_and(|until| until <= now) {
        return None;
    }
    Some(closed(
        format!("MachineDeployment {name} went first and has been there since {converged}"),
        until,
    ))
}

/// A pool that goes first and isn't there yet.
pub(crate) fn not_there(object: &Object) -> Waiting {
    closed(format!("MachineDeployment {} has to arrive first", object.name), None)
}

pub(crate) const fn closed(reason: String, until: Option<Timestamp>) -> Waiting {
    Waiting::GateClosed {
        gate: Gate::Canary,
        reason,
        until,
    }
}

fn is_ill(condition: &Condition) -> bool {
    condition.status == ConditionStatus::False && WELL.contains(&condition.kind.as_str())
}
