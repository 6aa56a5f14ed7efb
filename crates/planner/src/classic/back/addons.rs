//! What the upgrade set for add-ons, on the way back.

use super::Returning;
use crate::{
    addon::{AddonId, SetAddon},
    addons_back::{BackUntil, restored, stays},
    classic::{route::control_plane_steps, view::ClassicView},
    decision::Waiting,
    gates,
    operation::{Rollback, RollbackScope},
    pool_id::PoolId,
    swap_history::{Direction, PoolState, SwapHistory},
    value_before::ValueBefore,
    way_back::NoWayBack,
};

/// What would become of what was set for an add-on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturningAddon {
    pub id: AddonId,
    pub before: ValueBefore,
    /// Before which step of the pools it would go back, by its place among them; absent where it stays.
    pub step: Option<usize>,
}

/// The add-ons that go back before the control plane does.
pub(super) fn until_step<'a>(view: &ClassicView<'a>, rollback: &Rollback, before: &PoolState) -> BackUntil<'a> {
    let steps = control_plane_steps(view, rollback);
    let later = steps.into_iter().skip_while(|step| *step != before).skip(1);
    BackUntil::Step {
        leaves: release_after(view, rollback, before),
        later: later.filter_map(|step| release_after(view, rollback, step)).collect(),
    }
}

/// The release that the upgrade brought the control plane to from a state.
fn release_after<'a>(view: &ClassicView<'a>, rollback: &Rollback, before: &PoolState) -> Option<&'a str> {
    let history = view.control_plane.object.swap_history.as_ref();
    let mut entries = history.into_iter().flat_map(SwapHistory::entries);
    // A step that was stuck began there too, and was taken back.
    let entry = entries.rfind(|entry| {
        entry.upgrade == rollback.of && entry.direction == Direction::Forward && entry.before == *before
    })?;
    entry.after.release.as_deref()
}

/// What isn't back yet, where all pools are.
pub(super) fn at_the_end(view: &ClassicView<'_>, rollback: &Rollback) -> Vec<Waiting> {
    let until = match rollback.scope {
        RollbackScope::All => BackUntil::End,
        RollbackScope::Workers => BackUntil::WorkersAlone,
    };
    gates::restoring(view.snapshot, &until)
}

/// What stays of it, for people to know.
pub(super) fn stay(view: &ClassicView<'_>, rollback: &Rollback) -> Vec<Waiting> {
    let Some(set) = &view.snapshot.addons.taken_back else {
        let unknown = NoWayBack::AddonsUnknown {
            upgrade: rollback.of.name.clone(),
        };
        return had_any(view, rollback).then(|| unknown.into()).into_iter().collect();
    };
    let is_asked = |set: &&SetAddon| match rollback.scope {
        RollbackScope::All => true,
        RollbackScope::Workers => BackUntil::WorkersAlone.includes(&set.id),
    };
    let stay = set.iter().filter(is_asked).filter_map(|set| {
        let because = stays(set, &view.snapshot.upgrade_spec.keep_addons)?;
        let id = set.id.clone();
        Some(NoWayBack::Addon { id, because }.into())
    });
    stay.collect()
}

/// Whether something that was set goes back. An upgrade that only asks what a rollback would do has it in its own record.
pub(super) fn any_goes_back(view: &ClassicView<'_>, rollback: &Rollback) -> bool {
    let upgrade_spec = &view.snapshot.upgrade_spec;
    let set = if upgrade_spec.id() == rollback.of {
        &upgrade_spec.gate_history.set
    } else {
        view.snapshot.addons.taken_back.as_deref().unwrap_or_default()
    };
    let first = restored(set, &upgrade_spec.keep_addons).into_iter().next();
    first.is_some_and(|first| match rollback.scope {
        RollbackScope::All => true,
        RollbackScope::Workers => BackUntil::WorkersAlone.includes(&first.id),
    })
}

/// Whether a release had add-ons that the upgrade brought the control plane to.
fn had_any(view: &ClassicView<'_>, rollback: &Rollback) -> bool {
    let history = view.control_plane.object.swap_history.as_ref();
    let entries = history.into_iter().flat_map(SwapHistory::entries);
    let mut releases = entries
        .filter(|entry| entry.upgrade == rollback.of)
        .filter_map(|entry| entry.after.release.as_deref());
    releases.any(|release| gates::has_addons(view.snapshot, release))
}

/// What would become of what this upgrade has set, in its place among the steps of its pools.
pub(super) fn returning(view: &ClassicView<'_>, rollback: &Rollback, pools: &[Returning]) -> Vec<ReturningAddon> {
    let set = &view.snapshot.upgrade_spec.gate_history.set;
    let is_asked = |set: &SetAddon| match rollback.scope {
        RollbackScope::All => true,
        RollbackScope::Workers => BackUntil::WorkersAlone.includes(&set.id),
    };
    let order: Vec<&SetAddon> = restored(set, &[]).into_iter().take_while(|set| is_asked(set)).collect();
    let passed = |until: &BackUntil<'_>| order.iter().take_while(|set| until.includes(&set.id)).count();
    let workers = pools.iter().filter(|step| step.pool != PoolId::ControlPlane).count();
    let mut places = vec![(passed(&BackUntil::Workers), 0)];
    let steps = match rollback.scope {
        RollbackScope::Workers => Vec::new(),
        RollbackScope::All => control_plane_steps(view, rollback),
    };
    for (number, before) in steps.into_iter().enumerate() {
        places.push((passed(&until_step(view, rollback, before)), workers + number));
    }
    let step_of = |place: usize| {
        let step = places.iter().find(|(passed, _)| place < *passed);
        step.map_or(pools.len(), |(_, step)| *step)
    };
    let back = order
        .iter()
        .enumerate()
        .map(|(place, set)| (*set, Some(step_of(place))));
    let stay = set
        .iter()
        .filter(|set| is_asked(set) && stays(set, &[]).is_some())
        .map(|set| (set, None));
    let all = back.chain(stay).map(|(set, step)| ReturningAddon {
        id: set.id.clone(),
        before: set.before.clone(),
        step,
    });
    all.collect()
}
