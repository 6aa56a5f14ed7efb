//! A topology cluster: what Cluster API does there, and the few writes that are left for us.
//!
//! Cluster API mints and swaps. We write the Cluster's version, where a `ClusterUpgrade` asks for
//! it, once; we name the release of a version that Cluster API has come to plan and that has no
//! pin; we hold pools whose gates are closed; and we answer the hooks that Cluster API asks before each step. All else is
//! telling: where it is, and what Cluster API waits for, in its words.

mod canary;
mod goal;
mod holds;
mod hooks;
mod landing;
mod messages;
mod pins;
mod progress;
mod release_change;
mod stuck;
mod view;

use instar_capi::Lifecycle;
use instar_domain::KubeVersion;

use self::{
    goal::Goal,
    landing::Place,
    progress::{path, pools, stage},
    view::TopologyView,
};
use crate::{
    classic::{of_cluster, of_upgrade_spec},
    decision::{Action, Decision, Progress, Stage, Waiting},
    gates,
    operation::Operation,
    paused_rollout::{self, ToReplace},
    refresh::refused,
    restart::NoRestart,
    snapshot::{MachineDeployment, RuntimeHooks, Snapshot},
    way_back::NoWayBack,
};

/// Decides. The snapshot may be old: what is written carries the compare that refuses it then.
#[must_use]
pub fn follow(snapshot: &Snapshot) -> Decision {
    match snapshot.upgrade_spec.operation {
        Operation::Upgrade | Operation::Refresh | Operation::Abort => {}
        Operation::Rollback(_) => return held(snapshot, vec![NoWayBack::Topology.into()]),
        Operation::Restart => return held(snapshot, vec![NoRestart::of_topology(&snapshot.cluster).into()]),
    }
    let closed = closed(snapshot);
    if !closed.is_empty() {
        return held(snapshot, closed);
    }
    let view = match TopologyView::read(snapshot) {
        Ok(view) => view,
        Err(waiting) => return held(snapshot, waiting),
    };
    if let Some(reason) = refused(snapshot) {
        return held(snapshot, vec![reason]);
    }
    let decision = followed(&view);
    // Cluster API's check of version edits is off until that is written.
    if landing::restore_check(snapshot).is_some() {
        return decision;
    }
    paused_rollout::first(snapshot, decision, &to_replace(&view))
}

/// What the MachineDeployments have still to replace. Whoever edited the version, the upgrade is one that windows hold.
fn to_replace<'a>(view: &TopologyView<'a>) -> Vec<(&'a MachineDeployment, ToReplace)> {
    let of = |pool: &MachineDeployment| {
        if view.replaces(pool) {
            ToReplace::ForUpgrade
        } else {
            ToReplace::Nothing
        }
    };
    view.pools.iter().map(|pool| (*pool, of(pool))).collect()
}

fn followed(view: &TopologyView<'_>) -> Decision {
    let snapshot = view.snapshot;
    let (stage, action, waiting) = match &snapshot.upgrade_spec.operation {
        Operation::Upgrade | Operation::Refresh | Operation::Rollback(_) | Operation::Restart => upgraded(view),
        Operation::Abort => aborted(view),
    };
    let action = landing::restore_check(snapshot).unwrap_or_else(|| gates::begin(snapshot, action, &waiting));
    Decision {
        action,
        waiting,
        progress: Progress {
            stage,
            path: path(view),
            pools: pools(view),
            templates: Vec::new(),
        },
        unread: release_change::unread(view),
    }
}

fn upgraded(view: &TopologyView<'_>) -> (Stage, Action, Vec<Waiting>) {
    match Goal::find(view) {
        Goal::There => there(view),
        Goal::Write(action) => (Stage::ControlPlane, *action, Vec::new()),
        Goal::Held(mut waiting) => {
            let action = if view.is_moving() {
                hooks::hold(view.snapshot, &waiting)
            } else if view.topology.hooks == RuntimeHooks::NotLooked {
                // The edit may come as soon as that is known, and what is held for it was held when it was.
                None
            } else {
                // The edit doesn't come for now, so nothing is held for it.
                put_back(view)
            };
            waiting.extend(progress::held(view));
            (Stage::Held, action.unwrap_or(Action::Nothing), waiting)
        }
    }
}

/// The upgrade ends where the control plane stands, or comes to stand, and the workers follow it.
fn aborted(view: &TopologyView<'_>) -> (Stage, Action, Vec<Waiting>) {
    let place = Place::find(view);
    if place == Place::Elsewhere {
        // What another one moves has a record of its own.
        let action = if view.is_moving() { None } else { put_back(view) };
        return match action {
            None => (Stage::Complete, Action::Nothing, Vec::new()),
            Some(action) => (Stage::Workers, action, vec![Waiting::Finishing]),
        };
    }
    let has_steps_to_take = landing::has_steps_to_take(view);
    // Where Cluster API doesn't ask, nothing holds the steps.
    if let (Place::SetAgain(landed), true, RuntimeHooks::On) = (&place, has_steps_to_take, &view.topology.hooks) {
        let waiting = vec![Waiting::SetAgain {
            version: view.topology.version.clone(),
            landed: landed.clone(),
        }];
        let action = hooks::hold(view.snapshot, &waiting);
        return (Stage::Held, action.unwrap_or(Action::Nothing), waiting);
    }
    let (stage, action, mut waiting) = there(view);
    if !has_steps_to_take {
        return (stage, action, waiting);
    }
    if let Some(why) = landing::hindrance(view) {
        let version = view.topology.version.clone();
        waiting.insert(0, Waiting::NoLanding { version, why });
        return (stage, action, waiting);
    }
    let action = match (action, landing::edit(view)) {
        (Action::Nothing, Some(edit)) => Action::EditVersion(edit),
        (action, _) => action,
    };
    let landing = Waiting::Landing {
        version: view.control_plane.version.clone(),
    };
    waiting.retain(|waiting| *waiting != landing);
    waiting.insert(0, landing);
    (Stage::ControlPlane, action, waiting)
}

/// What was changed for an upgrade while nothing moves.
fn put_back(view: &TopologyView<'_>) -> Option<Action> {
    holds::end(view).or_else(|| hooks::end(view))
}

/// Whether Cluster API takes a topology cluster from one version to another: some object or machine
/// of it isn't at the Cluster's version, or a release of that version is replaced. One that is still being created is at one
/// version only.
#[must_use]
pub fn under_way(snapshot: &Snapshot) -> bool {
    TopologyView::read(snapshot).is_ok_and(|view| view.is_moving() || release_change::is_under_way(&view))
}

/// Whether something says or runs another version than the Cluster's.
pub(crate) fn is_moving(snapshot: &Snapshot) -> bool {
    TopologyView::read(snapshot).is_ok_and(|view| view.is_moving())
}

/// Whether an upgrade names another release instead of the one that comes to the Cluster's version: what never comes up is
/// left by that alone.
#[must_use]
pub fn replaces_changing_release(snapshot: &Snapshot) -> bool {
    TopologyView::read(snapshot).is_ok_and(|view| match &snapshot.upgrade_spec.operation {
        Operation::Upgrade | Operation::Refresh => {
            release_change::is_under_way(&view) && !view.is_moving() && goal::names_other_release(&view)
        }
        Operation::Abort | Operation::Rollback(_) | Operation::Restart => false,
    })
}

/// Whether another client has set the version again at which this upgrade was aborted.
#[must_use]
pub fn is_set_again(snapshot: &Snapshot) -> bool {
    TopologyView::read(snapshot).is_ok_and(|view| match &snapshot.upgrade_spec.operation {
        Operation::Abort => matches!(Place::find(&view), Place::SetAgain(_)),
        Operation::Upgrade | Operation::Refresh | Operation::Rollback(_) | Operation::Restart => false,
    })
}

/// Whether the Cluster's version is what is asked, or where the upgrade has ended: nothing is to be edited.
#[must_use]
pub fn is_aimed_at_present(snapshot: &Snapshot) -> bool {
    TopologyView::read(snapshot).is_ok_and(|view| match &snapshot.upgrade_spec.operation {
        Operation::Upgrade | Operation::Refresh | Operation::Rollback(_) => matches!(Goal::find(&view), Goal::There),
        Operation::Restart => false,
        Operation::Abort => Place::find(&view) != Place::Elsewhere,
    })
}

/// The releases that a topology cluster may have passed: a record keeps those that it was seen at.
#[must_use]
pub fn passed(snapshot: &Snapshot) -> Vec<String> {
    TopologyView::read(snapshot).map_or_else(|_| Vec::new(), |view| progress::passed(&view))
}

fn there(view: &TopologyView<'_>) -> (Stage, Action, Vec<Waiting>) {
    let mut waiting = Vec::new();
    let action = match pins::complete(view, &mut waiting) {
        Action::Nothing => stuck::next(view)
            .or_else(|| holds::next(view, &mut waiting))
            .or_else(|| release_change::next(view, &mut waiting))
            .or_else(|| hooks::next(view, &mut waiting))
            .unwrap_or(Action::Nothing),
        action => action,
    };
    let stage = match (stage(view, &mut waiting), &action) {
        _ if gates::stands_still(&waiting) || hooks::is_held(view) => Stage::Held,
        (Stage::Complete, Action::Nothing) => {
            let version = &view.topology.version;
            let held = gates::before_completion(view.snapshot, version, view.topology.release_of(version));
            let stage = if held.is_empty() {
                Stage::Complete
            } else {
                Stage::Verifying
            };
            waiting.extend(held);
            stage
        }
        (stage, Action::Nothing) => stage,
        (Stage::Complete, _) => {
            waiting.push(Waiting::Finishing);
            Stage::Workers
        }
        (stage, _) => stage,
    };
    (stage, action, waiting)
}

/// Lets the pools of a topology cluster go for which no upgrade goes on, one after the other. While the cluster moves,
/// an upgrade does: the controller makes a record.
#[must_use]
pub fn release_held(snapshot: &Snapshot) -> Decision {
    let action = match snapshot.cluster.lifecycle {
        Lifecycle::Active => landing::restore_check(snapshot).or_else(|| match TopologyView::read(snapshot) {
            Ok(view) if view.is_moving() => None,
            Ok(view) => put_back(&view),
            // Whether it moves can't be seen.
            Err(waiting) => hooks::hold(snapshot, &waiting),
        }),
        Lifecycle::Paused | Lifecycle::Deleting => None,
    };
    Decision {
        action: action.unwrap_or(Action::Nothing),
        ..Decision::held(Vec::new())
    }
}

/// Nothing goes on, so no step may begin that was let begin before.
fn held(snapshot: &Snapshot, waiting: Vec<Waiting>) -> Decision {
    let action = landing::restore_check(snapshot).or_else(|| hooks::hold(snapshot, &waiting));
    Decision {
        action: action.unwrap_or(Action::Nothing),
        ..Decision::held(waiting)
    }
}

/// Why nothing may be written at all.
fn closed(snapshot: &Snapshot) -> Vec<Waiting> {
    of_cluster(snapshot)
        .into_iter()
        .chain(of_upgrade_spec(snapshot))
        .collect()
}

/// The name of the release that a version is pinned to, else the version.
fn release_name(view: &TopologyView<'_>, version: &KubeVersion) -> String {
    let pin = view.topology.pins.as_ref().and_then(|pins| pins.releases.get(version));
    pin.map_or_else(|| version.to_string(), |pin| pin.release.clone())
}
