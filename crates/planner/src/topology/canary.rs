//! The pools of a topology cluster that go first, and what they hold the others by.
//!
//! When one is let go, its MachineDeployment gets the swap history in the same write, and one more write says when it
//! has arrived. It is kept there and not on the Cluster: a write of its own would leave a moment in which a pool has
//! gone and nothing says so, each write of a Cluster makes Cluster API reconcile the topology, and the history goes away
//! with the pool.

use instar_capi::Lifecycle;
use instar_domain::{BuildOrder, KubeVersion};
use jiff::Timestamp;

use super::view::TopologyView;
use crate::{
    canary::{closed, not_there, while_it_bakes},
    decision::{Action, Waiting},
    pool_id::PoolId,
    snapshot::{MachineDeployment, Rollout},
    swap::with_history,
    swap_history::{ComponentImage, Direction, PoolState, SwapEntry, SwapHistory},
    upgrade_spec::CanaryRule,
};

/// Whether some pools go first and others follow.
pub(super) fn is_wanted(view: &TopologyView<'_>) -> bool {
    rule(view).is_some()
}

/// What holds a pool that has its version: one that goes first and hasn't been there for long enough, or isn't well.
pub(super) fn before_pool(view: &TopologyView<'_>, leaving: &MachineDeployment) -> Option<Waiting> {
    let rule = rule(view)?;
    let to = &leaving.version;
    let first = first(view, rule, to);
    if first.iter().any(|pool| is_same(pool, leaving)) {
        return None;
    }
    first.into_iter().find_map(|pool| holds(view, rule, pool, to))
}

/// The history of a pool that is let go, goes first, and has machines to replace.
pub(super) fn begun(view: &TopologyView<'_>, pool: &MachineDeployment) -> Option<SwapHistory> {
    let to = &pool.version;
    let goes_first = first(view, rule(view)?, to).iter().any(|first| is_same(first, pool));
    let entry = || entry(view, pool, None);
    (goes_first && view.is_rolling(pool)).then(|| SwapHistory::with(pool.object.swap_history.as_ref(), entry()))
}

/// Writes down that a pool that went first has arrived. One that went without being let go, since its user resumed it or
/// the rule is new, counts from now on, if others wait.
pub(super) fn record(view: &TopologyView<'_>, due: &[&MachineDeployment]) -> Option<Action> {
    let rule = rule(view)?;
    let arrived = view.pools.iter().copied().find(|pool| {
        let to = &pool.version;
        let others_wait = due.iter().any(|due| due.version == *to);
        let goes_first = || others_wait && first(view, rule, to).iter().any(|first| is_same(first, pool));
        (swap_to(view, pool, to).is_some() || goes_first())
            && arrival(view, pool, to).is_none()
            && pool.object.lifecycle == Lifecycle::Active
            && view.pool_settled(pool)
    })?;
    let history = arrived.object.swap_history.as_ref();
    let entry = entry(view, arrived, Some(view.snapshot.now));
    let history = match (history, swap_to(view, arrived, &arrived.version)) {
        (Some(history), Some(swap)) => history.with_last(SwapEntry {
            since: swap.since,
            before: swap.before.clone(),
            ..entry
        }),
        (history, _) => SwapHistory::with(history, entry),
    };
    let id = PoolId::Workers(arrived.object.name.clone());
    Some(Action::RecordConvergence(with_history(id, &arrived.object, &history)))
}

/// Whether a pool that went first isn't held for the next step yet: while it is paused, its status says neither that it
/// has arrived nor that it isn't well.
pub(super) fn is_watched(view: &TopologyView<'_>, pool: &MachineDeployment) -> bool {
    let Some(rule) = rule(view).filter(|_| view.is_moving()) else {
        return false;
    };
    if swap_to(view, pool, &pool.version).is_none() {
        return false;
    }
    let ends = arrival(view, pool, &pool.version).and_then(|arrived| arrived.checked_add(rule.bake).ok());
    ends.is_none_or(|ends| ends > view.snapshot.now)
}

/// What holds a pool that is to follow to another release of its version: one that has followed before it and hasn't been
/// there for long enough, or isn't well.
pub(super) fn before_following(
    view: &TopologyView<'_>,
    has_followed: impl Fn(&MachineDeployment) -> bool,
) -> Option<Waiting> {
    let rule = rule(view)?;
    let first = followed(view, rule, has_followed);
    if first.len() < rule.pools {
        return None;
    }
    first
        .into_iter()
        .find_map(|pool| holds(view, rule, pool, &pool.version))
}

/// Writes down that such a pool has arrived.
pub(super) fn record_followed(
    view: &TopologyView<'_>,
    has_followed: impl Fn(&MachineDeployment) -> bool,
) -> Option<Action> {
    let first = followed(view, rule(view)?, has_followed);
    let mut first = first.into_iter();
    let arrived = first.find(|pool| arrival(view, pool, &pool.version).is_none() && view.pool_settled(pool))?;
    let history = SwapHistory::with(
        arrived.object.swap_history.as_ref(),
        entry(view, arrived, Some(view.snapshot.now)),
    );
    let id = PoolId::Workers(arrived.object.name.clone());
    Some(Action::RecordConvergence(with_history(id, &arrived.object, &history)))
}

fn followed<'a>(
    view: &TopologyView<'a>,
    rule: CanaryRule,
    has_followed: impl Fn(&MachineDeployment) -> bool,
) -> Vec<&'a MachineDeployment> {
    let pools = view.pools.iter().copied().filter(|pool| {
        let goes = pool.object.lifecycle == Lifecycle::Active && pool.rollout == Rollout::Rolling;
        let id = PoolId::Workers(pool.object.name.clone());
        goes && has_followed(pool) && view.machines_of(&id).next().is_some()
    });
    let mut pools: Vec<&MachineDeployment> = pools.collect();
    pools.sort_by_key(|pool| {
        let arrived = arrival(view, pool, &pool.version).unwrap_or(Timestamp::MAX);
        (arrived, view.place(pool))
    });
    pools.truncate(rule.pools);
    pools
}

fn rule(view: &TopologyView<'_>) -> Option<CanaryRule> {
    view.snapshot.canary.filter(|rule| view.pools.len() > rule.pools)
}

/// Those that were let go to a version first, then by the order that is asked for and by name.
fn first<'a>(view: &TopologyView<'a>, rule: CanaryRule, to: &KubeVersion) -> Vec<&'a MachineDeployment> {
    let pools = view.pools.iter().copied();
    let mut pools: Vec<&MachineDeployment> = pools.filter(|pool| may_go_first(view, pool, to)).collect();
    // They come by name, and the sort is stable.
    pools.sort_by_key(|pool| {
        let since = swap_to(view, pool, to).map_or(Timestamp::MAX, |swap| swap.since);
        (since, view.place(pool))
    });
    pools.truncate(rule.pools);
    pools
}

/// One that its user has paused, or that replaces machines only when they are deleted, would hold the others until its
/// user acts; one without machines shows nothing. What has gone stays first.
fn may_go_first(view: &TopologyView<'_>, pool: &MachineDeployment, to: &KubeVersion) -> bool {
    let goes = match (pool.object.lifecycle, pool.rollout) {
        (Lifecycle::Deleting, _) => return false,
        (_, Rollout::OnDelete) => false,
        (Lifecycle::Active, Rollout::Rolling) => true,
        (Lifecycle::Paused, Rollout::Rolling) => pool.is_held(),
    };
    let has_machines = || {
        let id = PoolId::Workers(pool.object.name.clone());
        view.machines_of(&id).next().is_some()
    };
    swap_to(view, pool, to).is_some() || (goes && has_machines() && comes_to(view, pool, to))
}

/// Whether a pool has a version, or Cluster API gives it that while the others wait: a pool that is held counts as one
/// that is being upgraded.
fn comes_to(view: &TopologyView<'_>, pool: &MachineDeployment, to: &KubeVersion) -> bool {
    let present = view.topology.concurrency.present.as_ref();
    let limit = present.map_or(1, |text| text.parse().unwrap_or(1));
    let upgrading = view.pools.iter().filter(|pool| view.is_rolling(pool)).count();
    pool.version.compare(to) != BuildOrder::Less || upgrading < limit
}

fn holds(view: &TopologyView<'_>, rule: CanaryRule, pool: &MachineDeployment, to: &KubeVersion) -> Option<Waiting> {
    let object = &pool.object;
    if pool.version.compare(to) == BuildOrder::Greater {
        return None;
    }
    if let Some(arrived) = arrival(view, pool, to) {
        return while_it_bakes(rule, object, arrived, view.snapshot.now);
    }
    let name = &object.name;
    Some(match (object.lifecycle, pool.rollout) {
        (Lifecycle::Paused, _) if !pool.is_held() => closed(
            format!("MachineDeployment {name} went first and was paused before it arrived: resume it"),
            None,
        ),
        (Lifecycle::Active, Rollout::OnDelete) => closed(
            format!(
                "MachineDeployment {name} went first and is OnDelete, so it replaces no machine by itself: delete its old \
                 machines"
            ),
            None,
        ),
        (Lifecycle::Active | Lifecycle::Paused | Lifecycle::Deleting, _) => not_there(object),
    })
}

/// When a pool was there, as it is now: templates that were exchanged since make it arrive again.
fn arrival(view: &TopologyView<'_>, pool: &MachineDeployment, to: &KubeVersion) -> Option<Timestamp> {
    let swap = swap_to(view, pool, to)?;
    let stands = swap.after.is_at(&pool.version, Some(&pool.infrastructure.name));
    swap.converged.filter(|_| stands)
}

/// What this upgrade wrote into a pool that went to a version.
fn swap_to<'p>(view: &TopologyView<'_>, pool: &'p MachineDeployment, to: &KubeVersion) -> Option<&'p SwapEntry> {
    let history = pool.object.swap_history.as_ref()?;
    let swap = history.last_of(&view.snapshot.upgrade_spec.id())?;
    (swap.after.version == *to).then_some(swap)
}

fn entry(view: &TopologyView<'_>, pool: &MachineDeployment, converged: Option<Timestamp>) -> SwapEntry {
    let id = PoolId::Workers(pool.object.name.clone());
    let lowest = view.machines_of(&id).map(|machine| &machine.version).min();
    let state = |version: &KubeVersion, template| PoolState {
        version: version.clone(),
        release: None,
        template,
        bootstrap: None,
        etcd: ComponentImage::default(),
        core_dns: ComponentImage::default(),
    };
    SwapEntry {
        upgrade: view.snapshot.upgrade_spec.id(),
        since: view.snapshot.now,
        // Cluster API has exchanged the templates already, and deletes the old ones.
        before: state(lowest.unwrap_or(&pool.version), None),
        after: state(&pool.version, Some(pool.infrastructure.name.clone())),
        converged,
        direction: Direction::Forward,
    }
}

fn is_same(pool: &MachineDeployment, other: &MachineDeployment) -> bool {
    pool.object.name == other.object.name
}
