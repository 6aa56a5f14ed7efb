//! The way back: what an upgrade changed is set to what was there before, the workers first, since no kubelet may be
//! newer than an API server.
//!
//! The swap histories of the objects say what was there. Cluster API lets a classic control plane go anywhere, also where
//! etcd can't follow, so what is refused is refused here.

mod addons;
mod control_plane;
mod refusals;
mod stuck;

use instar_api::RollbackExtent;
use instar_domain::KubeVersion;

pub use self::addons::ReturningAddon;
pub(super) use self::stuck::next as take_stuck_step_back;
use super::{
    Next, ending, pin,
    progress::Ends,
    returning_in_place,
    route::{Reach, Route, control_plane_steps, pool_route},
    view::ClassicView,
    workers::{Heading, WorkerRollout},
};
use crate::{
    decision::{Action, Decision, PinPath, Stage, Waiting},
    gates,
    operation::{Rollback, RollbackScope},
    pool_id::PoolId,
    snapshot::{MachineDeployment, Snapshot},
    swap_history::{PoolState, UpgradeId},
    way_back::NoWayBack,
};

/// What a rollback would do now, and what stands in its way.
#[must_use]
pub fn way_back(snapshot: &Snapshot, of: &UpgradeId) -> Option<WayBack> {
    let view = ClassicView::read(snapshot).ok()?;
    let rollback = |scope| Rollback {
        of: of.clone(),
        target: snapshot.upgrade_spec.target.as_str().to_owned(),
        retry: snapshot.upgrade_spec.retry,
        scope,
    };
    let (all, workers) = (rollback(RollbackScope::All), rollback(RollbackScope::Workers));
    let pools = view
        .pools
        .iter()
        .filter_map(|pool| match pool_route(&view, pool, &workers, Reach::AtTheEnd) {
            Route::BackTo(before) => Some(Returning::new(
                PoolId::Workers(pool.object.name.clone()),
                &pool.version,
                before,
            )),
            Route::Untouched | Route::There | Route::Changed => None,
        });
    let machine_pools = view.machine_pools.iter().filter_map(|pool| {
        let before = returning_in_place::returning(&view, pool, &workers)?;
        Some(Returning::new(returning_in_place::id(pool), &pool.version, before))
    });
    let mut back = WayBack {
        refused: refusals::all(&view, &all),
        workers_refused: refusals::all(&view, &workers),
        returning: Vec::new(),
        addons: Vec::new(),
    };
    let scope = match back.possible() {
        RollbackExtent::Nothing => return Some(back),
        RollbackExtent::Workers => &workers,
        RollbackExtent::All => &all,
    };
    back.returning.extend(pools.chain(machine_pools));
    match scope.scope {
        RollbackScope::Workers => {}
        RollbackScope::All => {
            let mut from = &view.control_plane.version;
            for before in control_plane_steps(&view, scope) {
                back.returning.push(Returning::new(PoolId::ControlPlane, from, before));
                from = &before.version;
            }
        }
    }
    back.addons = addons::returning(&view, scope, &back.returning);
    Some(back)
}

/// What a rollback would do.
#[derive(Debug, Clone, PartialEq)]
pub struct WayBack {
    /// Why not all of an upgrade can be taken back; empty where it can.
    pub refused: Vec<Waiting>,
    /// The same for its workers alone.
    pub workers_refused: Vec<Waiting>,
    /// What would be done, in this order: of what is possible.
    pub returning: Vec<Returning>,
    /// What would become of what was set for add-ons: those that go back in their order, then those that stay.
    pub addons: Vec<ReturningAddon>,
}

impl WayBack {
    /// How much of the upgrade can be taken back.
    #[must_use]
    pub const fn possible(&self) -> RollbackExtent {
        if self.refused.is_empty() {
            RollbackExtent::All
        } else if self.workers_refused.is_empty() {
            RollbackExtent::Workers
        } else {
            RollbackExtent::Nothing
        }
    }

    /// Why not all of it can, for people; empty where it can.
    #[must_use]
    pub fn why(&self) -> String {
        let why: Vec<String> = self.refused.iter().map(Waiting::to_string).collect();
        why.join("; ")
    }
}

/// A step of a pool to what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returning {
    pub pool: PoolId,
    pub from: KubeVersion,
    pub to: KubeVersion,
    /// The name of the machine template that it gets; absent where it has none.
    pub template: Option<String>,
}

impl Returning {
    fn new(pool: PoolId, from: &KubeVersion, before: &PoolState) -> Self {
        Self {
            pool,
            from: from.clone(),
            to: before.version.clone(),
            template: before.template.clone(),
        }
    }
}

/// Whether a way back keeps the machines that the upgrade would still replace: the pool goes back yet or is held, or nothing
/// is on its way back.
pub(super) fn keeps_machines(view: &ClassicView<'_>, pool: &MachineDeployment) -> bool {
    let Some(rollback) = view.snapshot.upgrade_spec.operation.rollback() else {
        return false;
    };
    let goes_back = || match pool_route(view, pool, rollback, Reach::AtTheEnd) {
        Route::BackTo(_) => true,
        Route::Untouched | Route::There | Route::Changed => false,
    };
    !pin::is_way_back(view, rollback) || refusals::is_held(view, pool) || goes_back()
}

pub(super) fn plan(view: &ClassicView<'_>, rollback: &Rollback) -> Decision {
    let ends = Ends {
        control_plane: control_plane::ends_here(view, rollback),
        workers: Some(Heading::Back(rollback)),
    };
    let path = control_plane::path(view, rollback);
    let mut waiting = Vec::new();
    // All of it, or nothing.
    let has_begun = pin::is_way_back(view, rollback);
    let refused = if has_begun {
        Vec::new()
    } else {
        refusals::all(view, rollback)
    };
    let (stage, action) = if refused.is_empty() {
        go(view, rollback, &mut waiting)
    } else {
        waiting.extend(refused);
        (Stage::Held, Action::Nothing)
    };
    let stage = match stage {
        Stage::ControlPlane | Stage::Workers | Stage::Verifying if gates::stands_still(&waiting) => Stage::Held,
        stage @ (Stage::Held | Stage::ControlPlane | Stage::Workers | Stage::Verifying | Stage::Complete) => stage,
    };
    let action = gates::begin(view.snapshot, action, &waiting);
    let action = pinned_first(view, rollback, stage, action);
    // Before it is written down what is taken back, nothing has ended.
    let stage = match (&action, stage) {
        (Action::PinPath(_), Stage::Complete) => Stage::Verifying,
        (_, stage) => stage,
    };
    waiting.extend(returning_in_place::all_that_stay(view, rollback));
    waiting.extend(addons::stay(view, rollback));
    super::decide(view, &ends, path, stage, action, waiting)
}

/// What is taken back is written down before anything is, also where nothing is left to be done: the upgrade is spent.
fn pinned_first(view: &ClassicView<'_>, rollback: &Rollback, stage: Stage, action: Action) -> Action {
    let begins = match (&action, stage) {
        (Action::Nothing, Stage::Held | Stage::ControlPlane | Stage::Workers) => false,
        (_, Stage::Held | Stage::ControlPlane | Stage::Workers | Stage::Verifying | Stage::Complete) => true,
    };
    match pin::write_way_back(view, rollback).filter(|_| begins) {
        None => action,
        Some(pin) => Action::PinPath(PinPath {
            before: super::tried_first(&action),
            way_back: control_plane::first_step(view, rollback),
            ..pin
        }),
    }
}

fn go(view: &ClassicView<'_>, rollback: &Rollback, waiting: &mut Vec<Waiting>) -> (Stage, Action) {
    // While it rolls out, Cluster API makes no machine for workers: where none of them is newer, it turns around first.
    if control_plane::turns_first(view, rollback) {
        return match control_plane::next(view, rollback, waiting) {
            Next::Write(action) => (Stage::ControlPlane, *action),
            Next::Wait | Next::Done => (Stage::ControlPlane, Action::Nothing),
        };
    }
    // Another rollback may have turned it around, and is gone.
    let unobserved = control_plane::unobserved(view);
    if !unobserved.is_empty() {
        waiting.extend(unobserved);
        return (Stage::ControlPlane, Action::Nothing);
    }
    let rollout = WorkerRollout {
        pools: view.pools.clone(),
        machine_pools: view.machine_pools.clone(),
        heading: Heading::Back(rollback),
    };
    match super::workers::next(view, &rollout, waiting) {
        Next::Write(action) => return (Stage::Workers, *action),
        Next::Wait => return (Stage::Workers, Action::Nothing),
        Next::Done => {}
    }
    match rollback.scope {
        RollbackScope::Workers => {}
        RollbackScope::All => match control_plane::next(view, rollback, waiting) {
            Next::Write(action) => return (Stage::ControlPlane, *action),
            Next::Wait => return (Stage::ControlPlane, Action::Nothing),
            Next::Done => {}
        },
    }
    let mut held = addons::at_the_end(view, rollback);
    held.extend(gates::before_completion(
        view.snapshot,
        &view.control_plane.version,
        None,
    ));
    if !held.is_empty() {
        waiting.extend(held);
        return (Stage::Verifying, Action::Nothing);
    }
    ending(view, waiting)
}

impl From<NoWayBack> for Waiting {
    fn from(reason: NoWayBack) -> Self {
        Self::NoWayBack(Box::new(reason))
    }
}
