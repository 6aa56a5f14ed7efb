//! A MachinePool's turn on the way back. It is changed in place, as on the way there: both objects are paused, then the
//! infrastructure gets the values that it had, then the pool its version, then the marks go.

use instar_api::{RENDERED_ANNOTATION, VALUES_HISTORY_ANNOTATION, Values};
use instar_capi::Lifecycle;
use instar_domain::KubeVersion;
use serde_json::{Value, json};

use super::{
    machine_pools::{
        arrival, by_user, continues, override_of, patch, pausable, pause, resume, set_version, until_both_paused,
    },
    place::Place,
    route::{Reach, Route, machine_pool_route, taker},
    view::ClassicView,
};
use crate::{
    addons_back::BackUntil,
    decision::{MachinePoolChange, PatchMachinePool, Waiting},
    gates,
    operation::Rollback,
    pool_id::PoolId,
    snapshot::{InfrastructurePool, JoinRule, MachinePool},
    swap::Course,
    swap_history::PoolState,
    upgrade_spec::PoolOverride,
    values::difference,
    values_history::{ValuesHistory, restored},
    way_back::{MachinePoolStays, NoWayBack},
};

/// What has to become of a pool.
enum Aim<'a> {
    /// The way back doesn't change it, or has done so.
    Stay,
    Change(Change<'a>),
}

/// A pool that is to get what it had.
struct Change<'a> {
    infrastructure: &'a InfrastructurePool,
    /// What is to be set back, where it isn't yet.
    values: Option<Back<'a>>,
    version: &'a KubeVersion,
    /// What the pool goes back to; absent where only values were set.
    before: Option<&'a PoolState>,
}

/// What the infrastructure had.
struct Back<'a> {
    history: &'a ValuesHistory,
    values: Values,
    /// The infrastructure's spec with them.
    spec: Value,
}

/// What a pool has to get back.
struct Changed<'a> {
    version: &'a KubeVersion,
    before: Option<&'a PoolState>,
}

/// Where a MachinePool is.
pub(super) fn place<'a>(
    view: &ClassicView<'a>,
    pool: &'a MachinePool,
    rollback: &Rollback,
    waiting: &mut Vec<Waiting>,
) -> Result<Place<'a>, Waiting> {
    let infrastructure = view.infrastructure_pool(&pool.infrastructure).ok();
    let aim = aim(view, pool, rollback, waiting);
    let Some(resume) = resume(pool, infrastructure) else {
        return Ok(match aim? {
            Aim::Stay => match infrastructure.filter(|_| view.swapped(&pool.object).is_some()) {
                Some(infrastructure) => arrival(view, pool, infrastructure, waiting),
                None => Place::There,
            },
            Aim::Change(Change {
                before: Some(before), ..
            }) => Place::Due(Course::BackTo(before)),
            // Of the upgrade, the values alone were set: it is half way, so that it waits for no other pool.
            Aim::Change(Change { before: None, .. }) => {
                let held = gates::before_way_back(view.snapshot, &BackUntil::Workers);
                if held.is_empty() {
                    return Ok(continues(pause(view, pool, &pool.object)));
                }
                waiting.extend(held);
                Place::Stuck
            }
        });
    };
    Ok(match aim {
        Ok(Aim::Change(change)) => under_pause(view, pool, change, waiting),
        Ok(Aim::Stay) => continues(resume),
        Err(reason) => {
            waiting.push(reason);
            continues(resume)
        }
    })
}

/// Where a pool goes at the end; absent where it stays, or is held.
pub(super) fn returning<'a>(
    view: &ClassicView<'a>,
    pool: &'a MachinePool,
    rollback: &Rollback,
) -> Option<&'a PoolState> {
    if is_held(view, pool) {
        return None;
    }
    let changed = changed(view, pool, rollback, Reach::AtTheEnd)?;
    stays(view, pool, rollback)
        .is_none()
        .then_some(changed.before)
        .flatten()
}

/// Why a pool that the upgrade has changed stays; absent where it goes back, or where `spec.pools` holds it.
pub(super) fn stays(view: &ClassicView<'_>, pool: &MachinePool, rollback: &Rollback) -> Option<MachinePoolStays> {
    if is_held(view, pool) {
        return None;
    }
    let changed = match machine_pool_route(view, pool, rollback, Reach::AtTheEnd) {
        Route::Changed => return Some(MachinePoolStays::Changed),
        Route::Untouched | Route::There | Route::BackTo(_) => changed(view, pool, rollback, Reach::AtTheEnd)?,
    };
    let infrastructure = match pausable(view, pool, &taker(view, rollback)) {
        Ok(infrastructure) => infrastructure,
        Err(because) => return Some(MachinePoolStays::Left(because)),
    };
    let control_plane = &view.control_plane.version;
    match pool.joins {
        JoinRule::SameMinor if changed.before.is_some() && changed.version.minor() != control_plane.minor() => {
            return Some(MachinePoolStays::OlderMachines {
                before: changed.version.clone(),
                control_plane: control_plane.clone(),
            });
        }
        JoinRule::SameMinor | JoinRule::AnyMinor => {}
    }
    let Some(Back { history, values, .. }) = values_before(infrastructure, rollback, changed.version) else {
        return Some(MachinePoolStays::Unknown);
    };
    let pointer = history.changed_since(&infrastructure.spec, &values)?;
    Some(MachinePoolStays::ValueChanged { pointer })
}

/// What a pool's infrastructure had at a version; nothing where that isn't known, or can't be set.
fn values_before<'a>(
    infrastructure: &'a InfrastructurePool,
    rollback: &Rollback,
    version: &KubeVersion,
) -> Option<Back<'a>> {
    let history = infrastructure.values_history.as_ref()?;
    let values = history.before(&rollback.of, version)?;
    let spec = restored(&infrastructure.spec, &values)?;
    Some(Back { history, values, spec })
}

/// A pool that `spec.pools` of the rollback holds.
fn is_held(view: &ClassicView<'_>, pool: &MachinePool) -> bool {
    match override_of(view, pool) {
        Some(PoolOverride::Hold) => true,
        Some(PoolOverride::Pin(_)) | None => false,
    }
}

/// What the upgrade has changed of a pool and the rollback has not set back yet.
fn changed<'a>(
    view: &ClassicView<'_>,
    pool: &'a MachinePool,
    rollback: &Rollback,
    reach: Reach,
) -> Option<Changed<'a>> {
    match machine_pool_route(view, pool, rollback, reach) {
        Route::BackTo(before) => Some(Changed {
            version: &before.version,
            before: Some(before),
        }),
        Route::Untouched => {
            // Killed between the values and the version.
            let infrastructure = view.infrastructure_pool(&pool.infrastructure).ok()?;
            let history = infrastructure.values_history.as_ref()?;
            let before = history.before(&rollback.of, &pool.version)?;
            let is_there = restored(&infrastructure.spec, &before).as_ref() == Some(&infrastructure.spec)
                || history.is_restored(&taker(view, rollback), &pool.version);
            (!is_there).then_some(Changed {
                version: &pool.version,
                before: None,
            })
        }
        Route::There | Route::Changed => None,
    }
}

fn aim<'a>(
    view: &ClassicView<'a>,
    pool: &'a MachinePool,
    rollback: &Rollback,
    waiting: &mut Vec<Waiting>,
) -> Result<Aim<'a>, Waiting> {
    if is_held(view, pool) || stays(view, pool, rollback).is_some() {
        return Ok(Aim::Stay);
    }
    let Some(Changed { version, before }) = changed(view, pool, rollback, Reach::Now) else {
        return Ok(Aim::Stay);
    };
    let unknown = || NoWayBack::MachinePool {
        name: pool.object.name.clone(),
        because: MachinePoolStays::Unknown,
    };
    let infrastructure = view.infrastructure_pool(&pool.infrastructure).map_err(|_| unknown())?;
    let objects = [&pool.object, &infrastructure.object];
    if let Some(going) = objects.iter().find(|object| object.lifecycle == Lifecycle::Deleting) {
        waiting.push(Waiting::Deleting {
            kind: going.kind.clone(),
            name: going.name.clone(),
        });
        return Ok(Aim::Stay);
    }
    if let Some(reason) = by_user(pool, infrastructure) {
        return Err(reason);
    }
    // A stop on the way of which nobody wrote down what it had.
    let back = values_before(infrastructure, rollback, version).ok_or_else(unknown)?;
    // What differs although it was set back, a webhook has changed, and would change again.
    let is_set = back.spec == infrastructure.spec || back.history.is_restored(&taker(view, rollback), version);
    Ok(Aim::Change(Change {
        infrastructure,
        values: (!is_set).then_some(back),
        version,
        before,
    }))
}

/// The next write to a pool with a mark of ours that has not yet all that it had.
fn under_pause<'a>(
    view: &ClassicView<'_>,
    pool: &MachinePool,
    change: Change<'_>,
    waiting: &mut Vec<Waiting>,
) -> Place<'a> {
    let infrastructure = change.infrastructure;
    // What is set takes the hashes of what the upgrade had set away.
    let is_set = change.values.is_none() && infrastructure.rendered.is_none();
    if let Some(place) = until_both_paused(view, pool, infrastructure, is_set, waiting) {
        return place;
    }
    match (change.values, change.before) {
        (Some(back), _) => continues(restore_values(view, pool, infrastructure, change.version, back)),
        (None, Some(before)) => set_version(view, pool, Course::BackTo(before)),
        (None, None) => Place::Moving,
    }
}

/// What was rendered is there no more, so that the hashes of it go. That it was set back stands in the same patch: it is
/// done once, whatever a webhook makes of it.
fn restore_values(
    view: &ClassicView<'_>,
    pool: &MachinePool,
    infrastructure: &InfrastructurePool,
    version: &KubeVersion,
    back: Back<'_>,
) -> PatchMachinePool {
    let history = back.history.with_restored(&view.snapshot.upgrade_spec.id(), version);
    let what = MachinePoolChange::RestoreValues {
        version: version.clone(),
        values: back.values,
    };
    let annotations = json!({
        RENDERED_ANNOTATION: null,
        VALUES_HISTORY_ANNOTATION: history.to_annotation(),
    });
    let spec = difference(&infrastructure.spec, &back.spec);
    patch(pool, &infrastructure.object, what, &annotations, spec)
}

/// The MachinePools that the upgrade changed and that stay.
pub(super) fn all_that_stay(view: &ClassicView<'_>, rollback: &Rollback) -> Vec<Waiting> {
    let stay = view.machine_pools.iter().filter_map(|pool| {
        let because = stays(view, pool, rollback)?;
        let name = pool.object.name.clone();
        Some(NoWayBack::MachinePool { name, because }.into())
    });
    stay.collect()
}

/// As the planner names it.
pub(super) fn id(pool: &MachinePool) -> PoolId {
    PoolId::MachinePool(pool.object.name.clone())
}
