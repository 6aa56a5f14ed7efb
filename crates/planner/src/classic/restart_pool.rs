//! A pool that is restarted: where it is, and the one write to it.
//!
//! Whether Cluster API has replaced what was made before follows from when Machines and MachineSets were made, since nothing
//! else of them differs. What was made by a MachineSet from before is replaced whenever it was made: so it is MachineSets
//! that count of a MachineDeployment.

use instar_capi::{Lifecycle, ManagedBy};
use jiff::Timestamp;

use super::{
    arrival::arrival,
    place::Place,
    view::{ClassicView, blocking_reason, stopped},
};
use crate::{
    cluster_api::{makes_none, said},
    decision::{Action, Waiting},
    pool_id::PoolId,
    restart::{NoRestart, is_before},
    settled::{converged, unready},
    snapshot::{Machine, MachineDeployment, Object, Rollout},
    swap::{self, Course, Destination, Origin},
};

/// What is restarted.
pub(super) struct Restart {
    /// What was made before is replaced.
    pub(super) after: Timestamp,
    /// The release that the control plane is at, where it is known: its add-ons are asked as in an upgrade.
    pub(super) release: Option<String>,
}

/// Where an object is.
pub(super) enum Standing {
    /// All of it was made afterwards.
    New,
    /// It has still to be written.
    Due,
    /// Cluster API replaces it.
    Rolls,
}

/// Whether a pool is the user's, and isn't left out.
pub(super) fn is_asked_for(view: &ClassicView<'_>, pool: &MachineDeployment) -> bool {
    let is_left_out = view.snapshot.upgrade_spec.pools.contains_key(&pool.object.name);
    pool.object.managed_by == ManagedBy::User && !is_left_out
}

fn has_old(view: &ClassicView<'_>, pool: &MachineDeployment, after: Timestamp) -> bool {
    let machines = view.machines_of(&PoolId::Workers(pool.object.name.clone()));
    has_old_set(view, pool, after) || machines.iter().any(|machine| is_before(machine, after))
}

pub(super) fn has_old_set(view: &ClassicView<'_>, pool: &MachineDeployment, after: Timestamp) -> bool {
    let name = &pool.object.name;
    let mut sets = view.machine_sets.iter().filter(|set| set.pool.as_ref() == Some(name));
    sets.any(|set| set.replicas > 0 && set.created.is_some_and(|created| created < after))
}

impl Restart {
    /// Whether Cluster API still has to be told, or why it can't be. It replaces nothing for a time that has not come, and
    /// a user's own is not overwritten.
    pub(super) fn standing(
        &self,
        view: &ClassicView<'_>,
        pool: &PoolId,
        object: &Object,
        present: Option<Timestamp>,
        has_old: bool,
    ) -> Result<Standing, Waiting> {
        if !has_old {
            return Ok(Standing::New);
        }
        let (pool, after) = (pool.clone(), self.after);
        match present {
            Some(present) if present > view.snapshot.now => Err(NoRestart::Scheduled { pool, after: present }.into()),
            Some(present) if present >= after => Ok(Standing::Rolls),
            // Once is enough: another client would set it back again.
            Some(_) | None if view.swapped(object).is_some() => Err(NoRestart::Unset { pool, after }.into()),
            Some(_) | None => Ok(Standing::Due),
        }
    }

    /// Where a pool of workers is.
    pub(super) fn place<'a>(
        &self,
        view: &ClassicView<'a>,
        pool: &'a MachineDeployment,
        waiting: &mut Vec<Waiting>,
    ) -> Result<Place<'a>, Waiting> {
        if !is_asked_for(view, pool) {
            return Ok(Place::There);
        }
        let id = PoolId::Workers(pool.object.name.clone());
        let has_old = has_old(view, pool, self.after);
        match self.standing(view, &id, &pool.object, pool.rollout_after, has_old)? {
            Standing::New => Ok(arrival(view, pool, &id, waiting)),
            Standing::Rolls => Ok(self.rolls(view, pool, id, waiting)),
            // What is under way ends first, so that no machine of it is replaced twice.
            Standing::Due if !view.rolled_out(pool) => Ok(arrival(view, pool, &id, waiting)),
            Standing::Due => match blocking_reason(&pool.object) {
                None => Ok(Place::Due(Course::Restart(&pool.version, self.after))),
                Some(reason @ Waiting::Deleting { .. }) => {
                    waiting.push(reason);
                    Ok(Place::There)
                }
                Some(reason) => Err(reason),
            },
        }
    }

    fn rolls<'a>(
        &self,
        view: &ClassicView<'a>,
        pool: &MachineDeployment,
        id: PoolId,
        waiting: &mut Vec<Waiting>,
    ) -> Place<'a> {
        let machines = view.machines_of(&id);
        let (old, new): (Vec<&Machine>, Vec<&Machine>) =
            machines.iter().partition(|machine| is_before(machine, self.after));
        let missing: Vec<Waiting> = unready(new.iter().copied(), &pool.version).collect();
        match (pool.object.lifecycle, pool.rollout) {
            (Lifecycle::Deleting, _) => {
                waiting.extend(stopped(&pool.object));
                return Place::There;
            }
            (Lifecycle::Active, Rollout::OnDelete) if !old.is_empty() && missing.is_empty() => {
                waiting.push(Waiting::OnDelete {
                    pool: id,
                    machines: old.iter().map(|machine| machine.name.clone()).collect(),
                });
                return Place::Stuck;
            }
            (Lifecycle::Active | Lifecycle::Paused, Rollout::OnDelete | Rollout::Rolling) => {}
        }
        waiting.extend(stopped(&pool.object));
        waiting.push(Waiting::PoolRollingOut {
            pool: id,
            version: pool.version.clone(),
            converged: new.iter().filter(|machine| converged(machine, &pool.version)).count(),
            machines: machines.len().max(usize::try_from(pool.replicas).unwrap_or_default()),
        });
        waiting.extend(crate::cluster_api::deletions(machines));
        waiting.extend(missing);
        waiting.extend(said(&pool.object));
        waiting.extend(makes_none(pool, view.machine_sets.iter().copied()));
        match pool.object.lifecycle {
            Lifecycle::Paused => Place::Stuck,
            Lifecycle::Active | Lifecycle::Deleting => Place::Moving,
        }
    }
}

/// The one write by which a pool's machines become new.
pub(super) fn swap_workers(view: &ClassicView<'_>, pool: &MachineDeployment, after: Timestamp) -> Action {
    let template = &pool.infrastructure;
    let destination = Destination {
        upgrade: view.snapshot.upgrade_spec.id(),
        now: view.snapshot.now,
        to: Course::Restart(&pool.version, after),
        template: Some(template.clone()),
        bootstrap: None,
        origin: Origin {
            release: view.release_of(&pool.object, &pool.version, Some(template)),
            has_converged: false,
        },
    };
    Action::SwapWorkers(swap::restart_workers(pool, destination))
}
