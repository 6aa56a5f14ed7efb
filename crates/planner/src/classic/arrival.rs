//! Whether a pool has come to what its spec says, and what is said of it until then.

use instar_capi::Lifecycle;

use super::{
    place::Place,
    view::{ClassicView, stopped},
};
use crate::{
    cluster_api::{deletions, makes_none, said},
    decision::Waiting,
    pool_id::PoolId,
    settled::{converged, matches_spec, unready},
    snapshot::{Machine, MachineDeployment, Rollout},
};

/// A pool whose spec is as it should be: are its machines?
pub(super) fn arrival<'a>(
    view: &ClassicView<'a>,
    pool: &MachineDeployment,
    id: &PoolId,
    waiting: &mut Vec<Waiting>,
) -> Place<'a> {
    let (same, old) = machines(view, pool);
    let unready: Vec<Waiting> = unready(same, &pool.version).collect();
    if unready.is_empty() && view.rolled_out(pool) {
        return Place::Arrived;
    }
    let place = match (pool.object.lifecycle, pool.rollout) {
        // It goes away, and the upgrade doesn't wait for it.
        (Lifecycle::Deleting, _) => {
            waiting.extend(stopped(&pool.object));
            return Place::There;
        }
        (Lifecycle::Paused, _) => {
            waiting.extend(rolling_out(view, pool));
            Place::Stuck
        }
        (Lifecycle::Active, Rollout::OnDelete) if !old.is_empty() && unready.is_empty() => {
            waiting.push(Waiting::OnDelete {
                pool: id.clone(),
                machines: old.iter().map(|machine| machine.name.clone()).collect(),
            });
            Place::Stuck
        }
        (Lifecycle::Active, Rollout::OnDelete | Rollout::Rolling) => {
            waiting.extend(rolling_out(view, pool));
            Place::Moving
        }
    };
    waiting.extend(unready);
    waiting.extend(said(&pool.object));
    waiting.extend(makes_none(pool, view.machine_sets.iter().copied()));
    place
}

/// Whether all machines of a pool are as its spec says, and ready.
pub(super) fn has_arrived(view: &ClassicView<'_>, pool: &MachineDeployment) -> bool {
    unready(machines(view, pool).0, &pool.version).next().is_none() && view.rolled_out(pool)
}

/// The machines of a pool: those that are as its spec says, and the others.
fn machines<'a>(view: &ClassicView<'a>, pool: &MachineDeployment) -> (Vec<&'a Machine>, Vec<&'a Machine>) {
    let machines = view.machines_of(&PoolId::Workers(pool.object.name.clone()));
    machines
        .into_iter()
        .partition(|machine| matches_spec(machine, &pool.version, Some(&pool.infrastructure)))
}

/// What is said of a pool that hasn't got to what its spec says: first that it can't go on, where that is so, and last
/// what its old machines wait for.
pub(super) fn rolling_out(view: &ClassicView<'_>, pool: &MachineDeployment) -> impl Iterator<Item = Waiting> {
    let id = PoolId::Workers(pool.object.name.clone());
    let machines = view.machines_of(&id);
    let there = machines
        .iter()
        .filter(|machine| matches_spec(machine, &pool.version, Some(&pool.infrastructure)))
        .filter(|machine| converged(machine, &pool.version));
    let rolling = Waiting::PoolRollingOut {
        version: pool.version.clone(),
        converged: there.count(),
        machines: machines.len().max(usize::try_from(pool.replicas).unwrap_or_default()),
        pool: id,
    };
    let stopped = stopped(&pool.object).into_iter();
    stopped.chain([rolling]).chain(deletions(machines))
}
