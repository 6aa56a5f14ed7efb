//! Whether a pool would go before those that go first.

use instar_capi::{Lifecycle, ManagedBy};
use instar_domain::{BuildOrder, KubeVersion};

use super::{machine_pool, read, release_change, topology_canary};
use crate::{
    decision::Action,
    pool_id::PoolId,
    snapshot::{ConditionStatus, MachineDeployment, Snapshot},
};

/// A begin with a MachinePool names no version: what has arrived is all that is asked of it.
pub(super) fn is_passed(snapshot: &Snapshot, action: &Action) -> bool {
    let Some(rule) = snapshot.canary else {
        return false;
    };
    if let Action::HoldPool(hold) = action {
        return topology_canary::is_passed(snapshot, hold);
    }
    if let Action::FollowRelease(follow) = action {
        return release_change::passes_first(snapshot, follow);
    }
    let (pool, to) = match action {
        Action::SwapWorkers(swap) => match &swap.pool {
            PoolId::Workers(name) => {
                let mut pools = read(&snapshot.pools);
                let from = pools.find(|pool| pool.object.name == *name).map(|pool| &pool.version);
                (Some(name), from.map(|from| (from, &swap.version)))
            }
            // What has begun with one goes on.
            PoolId::ControlPlane | PoolId::MachinePool(_) => return false,
        },
        Action::PatchMachinePool(patch) if machine_pool::begins(snapshot, patch) => (None, None),
        Action::PatchMachinePool(_)
        | Action::SwapControlPlane(_)
        | Action::MintTemplate(_)
        | Action::PinPath(_)
        | Action::RecordConvergence(_)
        | Action::DeleteTemplate(_)
        | Action::EditVersion(_)
        | Action::CompletePins(_)
        | Action::HoldPool(_)
        | Action::FollowRelease(_)
        | Action::DeleteMachine(_)
        | Action::SetConcurrency(_)
        | Action::BeginGates(_)
        | Action::AnswerHook(_)
        | Action::RestoreVersionCheck(_)
        | Action::Nothing => return false,
    };
    let asked = &snapshot.upgrade_spec;
    let rank = |pool: &MachineDeployment| {
        let name = &pool.object.name;
        let named = asked.order.iter().position(|first| first == name);
        (named.unwrap_or(asked.order.len()), name.clone())
    };
    let mut first: Vec<&MachineDeployment> = read(&snapshot.pools)
        .filter(|pool| pool.object.managed_by == ManagedBy::User && pool.object.lifecycle != Lifecycle::Deleting)
        .filter(|pool| !asked.pools.contains_key(&pool.object.name))
        .collect();
    first.sort_by_key(|pool| rank(pool));
    first.truncate(rule.pools);
    if first.iter().any(|canary| Some(&canary.object.name) == pool) {
        return false;
    }
    first.iter().any(|canary| {
        let stands = |at: &KubeVersion| canary.version.compare(at);
        if to.is_some_and(|(from, to)| {
            from != to && stands(to) == BuildOrder::Less && stands(from) != BuildOrder::Greater
        }) {
            return true;
        }
        let history = canary.object.swap_history.as_ref();
        let Some(swap) = history.and_then(|history| history.last_of(&asked.id())) else {
            return false;
        };
        let says = &swap.after;
        if says.version != canary.version || says.template.as_ref() != Some(&canary.infrastructure.name) {
            return false;
        }
        let baked = swap
            .converged
            .and_then(|converged| converged.checked_add(rule.bake).ok());
        let is_well = |kind: &str| {
            let mut conditions = canary.object.conditions.iter();
            !conditions.any(|condition| condition.kind == kind && condition.status == ConditionStatus::False)
        };
        baked.is_none_or(|baked| baked > snapshot.now) || !is_well("Available") || !is_well("MachinesReady")
    })
}
