//! The control plane's turn on the way back: one step of the upgrade at a time.

use super::{addons, refusals};
use crate::{
    classic::{
        Next,
        control_plane::{Outlook, rolling_out, swap_to},
        convergence, restore,
        route::{Route, control_plane_route, control_plane_steps},
        tried_first,
        view::{ClassicView, ExternalChange},
    },
    decision::{Action, StepBack, SwapTemplate, Waiting},
    gates,
    operation::{Rollback, RollbackScope},
    pool_id::PoolId,
    settled::control_plane_settled,
    swap::Course,
    swap_history::PoolState,
    way_back::NoWayBack,
};

pub(super) fn next(view: &ClassicView<'_>, rollback: &Rollback, waiting: &mut Vec<Waiting>) -> Next {
    let control_plane = view.control_plane;
    let template = control_plane.infrastructure.as_ref();
    let change = view.external_change(&control_plane.object, &control_plane.version, template);
    match change {
        ExternalChange::Unchanged => {}
        ExternalChange::Reverted(written) => {
            waiting.push(Waiting::Reverted {
                pool: PoolId::ControlPlane,
                written: written.clone(),
                found: control_plane.version.clone(),
            });
            return Next::Wait;
        }
        // It isn't what it was, so this isn't the end.
        ExternalChange::Advanced(_) => {
            let pool = PoolId::ControlPlane;
            waiting.push(NoWayBack::Changed { pool }.into());
            return Next::Wait;
        }
    }
    match control_plane_route(view, control_plane, rollback) {
        Route::BackTo(before) => back_to(view, rollback, before, waiting),
        Route::Changed => {
            let pool = PoolId::ControlPlane;
            waiting.push(NoWayBack::Changed { pool }.into());
            Next::Wait
        }
        Route::Untouched => Next::Done,
        Route::There => {
            let rolling = rolling_out(view, &Outlook::LAST);
            if !rolling.is_empty() {
                waiting.extend(rolling);
                return Next::Wait;
            }
            let (object, version) = (&control_plane.object, &control_plane.version);
            let write = convergence(view, PoolId::ControlPlane, object, version, template);
            write.map_or(Next::Done, |write| Next::Write(Box::new(write)))
        }
    }
}

/// What is waited for before workers go back: that its controller has seen its latest spec, since nobody knows before that
/// which versions its machines will have.
pub(super) fn unobserved(view: &ClassicView<'_>) -> Vec<Waiting> {
    let object = &view.control_plane.object;
    if object.observed_generation < object.generation {
        rolling_out(view, &Outlook::LAST)
    } else {
        Vec::new()
    }
}

/// Whether a step that is under way goes back before the workers do.
pub(super) fn turns_first(view: &ClassicView<'_>, rollback: &Rollback) -> bool {
    match (rollback.scope, control_plane_route(view, view.control_plane, rollback)) {
        (RollbackScope::All, Route::BackTo(before)) => {
            view.control_plane_rolls() && is_between(view, before) && refusals::of_next_step(view, before).is_empty()
        }
        (RollbackScope::All | RollbackScope::Workers, _) => false,
    }
}

fn back_to(view: &ClassicView<'_>, rollback: &Rollback, before: &PoolState, waiting: &mut Vec<Waiting>) -> Next {
    // A step of our own has to end, and so has one from somewhere else than where this goes to: its machines would be
    // two steps away.
    if view.swapped(&view.control_plane.object).is_some() || !is_between(view, before) {
        let rolling = rolling_out(view, &Outlook::LAST);
        if !rolling.is_empty() {
            waiting.extend(rolling);
            return Next::Wait;
        }
    }
    let refused = refusals::of_next_step(view, before);
    if !refused.is_empty() {
        waiting.extend(refused);
        return Next::Wait;
    }
    // What is under way turns around at once.
    let held = if view.control_plane_rolls() {
        Vec::new()
    } else {
        gates::before_way_back(view.snapshot, &addons::until_step(view, rollback, before))
    };
    if !held.is_empty() {
        waiting.extend(held);
        return Next::Wait;
    }
    match swap(view, before) {
        Ok(action) => Next::Write(Box::new(action)),
        Err(reason) => {
            waiting.push(reason);
            Next::Wait
        }
    }
}

/// Whether each of its machines is of its present version or of the one before.
fn is_between(view: &ClassicView<'_>, before: &PoolState) -> bool {
    let control_plane = view.control_plane;
    let machines = view.machines_of(&PoolId::ControlPlane);
    let mut versions = machines.iter().map(|machine| &machine.version);
    versions.all(|version| *version == control_plane.version || *version == before.version)
}

fn swap(view: &ClassicView<'_>, before: &PoolState) -> Result<Action, Waiting> {
    let machines = view.machines_of(&PoolId::ControlPlane);
    let has_converged = control_plane_settled(view.control_plane, &machines);
    let source = restore::control_plane(view, before)?;
    Ok(swap_to(view, Course::BackTo(before), source, has_converged))
}

/// The swap that the next step comes to as things are, to be tried before any worker goes back. Where its template has to be
/// made again first, that of another kind than kubeadm's is left out: its webhooks may ask for the template.
pub(super) fn first_step(view: &ClassicView<'_>, rollback: &Rollback) -> Option<Box<StepBack>> {
    let step = |swap, template| Some(Box::new(StepBack { swap, template }));
    match (rollback.scope, control_plane_route(view, view.control_plane, rollback)) {
        (RollbackScope::All, Route::BackTo(before)) => match swap(view, before).ok()? {
            Action::SwapControlPlane(swap) => step(swap, SwapTemplate::Exists),
            action => step(*tried_first(&action)?, SwapTemplate::ToBeMade),
        },
        (RollbackScope::All | RollbackScope::Workers, _) => None,
    }
}

/// Whether its spec is all that it will be at the end.
pub(super) fn ends_here(view: &ClassicView<'_>, rollback: &Rollback) -> bool {
    match (rollback.scope, control_plane_route(view, view.control_plane, rollback)) {
        (RollbackScope::All, Route::BackTo(_)) => false,
        (RollbackScope::All | RollbackScope::Workers, _) => true,
    }
}

/// The releases that it has still to go through, or the versions where none is known.
pub(super) fn path(view: &ClassicView<'_>, rollback: &Rollback) -> Vec<String> {
    match rollback.scope {
        RollbackScope::Workers => Vec::new(),
        RollbackScope::All => control_plane_steps(view, rollback)
            .into_iter()
            .map(|before| {
                let release = before.release.clone();
                release.unwrap_or_else(|| before.version.to_string())
            })
            .collect(),
    }
}
