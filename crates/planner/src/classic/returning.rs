//! A MachineDeployment's turn on the way back.

use instar_capi::Lifecycle;

use super::{
    arrival::{arrival, has_arrived},
    place::Place,
    restore,
    route::{Reach, Route, pool_route},
    view::{ClassicView, blocking_reason},
};
use crate::{
    decision::{Action, Waiting},
    operation::Rollback,
    pool_id::PoolId,
    snapshot::{JoinRule, MachineDeployment, TemplateRef},
    swap::{self, Course, Destination, Origin},
    swap_history::PoolState,
    upgrade_spec::PoolOverride,
    way_back::NoWayBack,
};

/// Where a pool is, seen from where it was before.
pub(super) fn place<'a>(
    view: &ClassicView<'a>,
    pool: &'a MachineDeployment,
    rollback: &Rollback,
    waiting: &mut Vec<Waiting>,
) -> Result<Place<'a>, Waiting> {
    let id = PoolId::Workers(pool.object.name.clone());
    match view.snapshot.upgrade_spec.pools.get(&pool.object.name) {
        Some(PoolOverride::Hold) => return Ok(Place::There),
        // The schema takes none of these in a rollback.
        Some(PoolOverride::Pin(_)) | None => {}
    }
    view.told_change(&id, &pool.object, &pool.version, Some(&pool.infrastructure), waiting)?;
    match pool_route(view, pool, rollback, Reach::Now) {
        Route::Untouched => Ok(Place::There),
        Route::Changed => {
            waiting.push(NoWayBack::Changed { pool: id }.into());
            Ok(Place::There)
        }
        Route::There => {
            let place = arrival(view, pool, &id, waiting);
            if let Place::Moving = place {
                waiting.extend(lacks_machines(view, pool));
            }
            Ok(place)
        }
        Route::BackTo(before) => match blocking_reason(&pool.object) {
            None => Ok(Place::Due(Course::BackTo(before))),
            // It goes away, and nothing waits for it.
            Some(reason @ Waiting::Deleting { .. }) => {
                waiting.push(reason);
                Ok(Place::There)
            }
            Some(reason) => Err(reason),
        },
    }
}

/// What is said of a pool that is back in its spec, and that lost old machines while that was decided.
fn lacks_machines(view: &ClassicView<'_>, pool: &MachineDeployment) -> Option<Waiting> {
    let id = PoolId::Workers(pool.object.name.clone());
    let control_plane = &view.control_plane.version;
    let machines = view.machines_of(&id);
    let there = machines
        .iter()
        .filter(|machine| machine.version.minor() == pool.version.minor() && machine.lifecycle != Lifecycle::Deleting);
    let is_short = u32::try_from(there.count()).unwrap_or(u32::MAX) < pool.replicas;
    match pool.joins {
        JoinRule::SameMinor if is_short && pool.version.minor() < control_plane.minor() => Some(
            NoWayBack::OlderMachines {
                pool: id,
                before: pool.version.clone(),
                control_plane: control_plane.clone(),
            }
            .into(),
        ),
        JoinRule::SameMinor | JoinRule::AnyMinor => None,
    }
}

/// The write that takes a pool back, or makes a template for it that is gone.
pub(super) fn swap(view: &ClassicView<'_>, pool: &MachineDeployment, before: &PoolState) -> Result<Action, Waiting> {
    let machines = restore::machines(view, pool, before)?;
    let bootstrap = restore::bootstrap(view, pool, before)?;
    let other = |bootstrap: &TemplateRef| pool.bootstrap.as_ref() != Some(bootstrap);
    let destination = Destination {
        upgrade: view.snapshot.upgrade_spec.id(),
        now: view.snapshot.now,
        to: Course::BackTo(before),
        template: Some(machines.reference()),
        bootstrap: bootstrap.filter(other),
        origin: Origin {
            release: view.release_of(&pool.object, &pool.version, Some(&pool.infrastructure)),
            has_converged: has_arrived(view, pool),
        },
    };
    let swap = swap::workers(pool, destination);
    let mint = machines.mint_for(Some(&swap));
    Ok(mint.unwrap_or(Action::SwapWorkers(swap)))
}
