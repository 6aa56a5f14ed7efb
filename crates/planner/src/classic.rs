//! What next?
//!
//! The control plane goes first, one release at a time, and only while the workers may stay where
//! they are. Workers move where the next step would leave them too far behind, and at the end.
//! What is old is deleted when all is done. The way back is a direction of its own.

mod arrival;
mod back;
mod control_plane;
mod drift;
mod goal;
mod images;
mod machine_pools;
mod pin;
mod pinned;
mod place;
mod progress;
mod restart;
mod restart_pool;
mod restore;
mod retire;
mod returning;
mod returning_in_place;
mod route;
mod stuck_step;
mod template;
mod view;
mod workers;

use instar_capi::{Lifecycle, ManagedBy, WorkerKind};
use instar_domain::KubeVersion;

pub use self::{
    back::{Returning, ReturningAddon, WayBack, way_back},
    drift::drifted,
};
use self::{
    goal::Goal,
    progress::Ends,
    view::{ClassicView, ProgressDetail},
    workers::{Heading, WorkerRollout},
};
pub(crate) use self::{
    goal::is_older,
    images::pool_images,
    view::{of_cluster, of_upgrade_spec, stopped},
};
use crate::{
    decision::{Action, Decision, MachinePoolChange, PatchMachinePool, PinPath, Progress, Stage, Swap, Waiting},
    gates,
    operation::Operation,
    paused_rollout::{self, ToReplace},
    pool_id::PoolId,
    refresh::refused,
    snapshot::{MachineDeployment, Object, Snapshot, TemplateRef},
    swap,
    way_back::NoWayBack,
};

/// What a look at one part of the cluster comes to.
enum Next {
    /// This write.
    Write(Box<Action>),
    /// Nothing before something else has happened.
    Wait,
    /// There is nothing more to do here.
    Done,
}

/// Decides. The snapshot may be old: what is written carries the compare that refuses it then.
#[must_use]
pub fn plan(snapshot: &Snapshot) -> Decision {
    plan_with(snapshot, ProgressDetail::Full)
}

/// The same, without what the progress says of pools, machines and templates.
pub(crate) fn next_write(snapshot: &Snapshot) -> Decision {
    plan_with(snapshot, ProgressDetail::Stage)
}

fn plan_with(snapshot: &Snapshot, detail: ProgressDetail) -> Decision {
    match ClassicView::read_for(snapshot, detail) {
        Ok(view) => paused_rollout::first(snapshot, planned(&view), &to_replace(&view)),
        Err(waiting) => Decision::held(waiting),
    }
}

/// What the MachineDeployments have still to replace, and for whom.
fn to_replace<'a>(view: &ClassicView<'a>) -> Vec<(&'a MachineDeployment, ToReplace)> {
    let of = |pool: &MachineDeployment| {
        let template = Some(&pool.infrastructure.name);
        let swap = view.swapped(&pool.object);
        let is_ours = swap.is_some_and(|swap| swap.after.is_at(&pool.version, template));
        match (
            view.replaces(pool) || restart::is_under_way(view, pool),
            pool.object.managed_by,
        ) {
            (false, _) => ToReplace::Nothing,
            (true, _) if !is_ours && back::keeps_machines(view, pool) => ToReplace::Keeps,
            (true, ManagedBy::User) if is_ours => ToReplace::ForUpgrade,
            (true, ManagedBy::User | ManagedBy::Topology) => ToReplace::ForOther,
        }
    };
    view.pools.iter().map(|pool| (*pool, of(pool))).collect()
}

fn planned(view: &ClassicView<'_>) -> Decision {
    let snapshot = view.snapshot;
    let mut waiting = Vec::new();
    let goal = match &snapshot.upgrade_spec.operation {
        Operation::Rollback(rollback) => return back::plan(view, rollback),
        Operation::Restart => return restart::plan(view),
        Operation::Abort if !has_begun(view) => {
            return decide(view, &Ends::HERE, Vec::new(), Stage::Complete, Action::Nothing, waiting);
        }
        Operation::Abort => Ok(Goal::standing(view)),
        Operation::Upgrade | Operation::Refresh => match spent(view).or_else(|| refused(snapshot)) {
            Some(reason) => Err(reason),
            None => Goal::find(view, &mut waiting),
        },
    };
    let goal = match goal {
        Ok(goal) => goal,
        Err(reason) => {
            waiting.push(reason);
            waiting.extend(without_version(snapshot));
            return decide(view, &Ends::HERE, Vec::new(), Stage::Held, Action::Nothing, waiting);
        }
    };
    let (stage, action) = go(view, &goal, &mut waiting);
    let stage = if gates::stands_still(&waiting) {
        Stage::Held
    } else {
        stage
    };
    let action = gates::begin(snapshot, pinned_first(view, &goal, action), &waiting);
    waiting.extend(left_to_user(view, &goal, &waiting));
    waiting.extend(without_version(snapshot));
    decide(view, &Ends::of(&goal), goal.names(), stage, action, waiting)
}

/// Why the target isn't gone to again, where the last upgrade to it was taken back.
fn spent(view: &ClassicView<'_>) -> Option<Waiting> {
    let path = view.snapshot.cluster.classic()?.path.as_ref()?;
    let upgrade_spec = &view.snapshot.upgrade_spec;
    let target = upgrade_spec.target.as_str();
    let taken_back = path.spent_by(&upgrade_spec.upgrade, target, upgrade_spec.retry)?;
    let spent = NoWayBack::Spent {
        target: target.to_owned(),
        by: taken_back.by.name.clone(),
        namespace: view.snapshot.cluster.namespace.clone(),
        upgrade: upgrade_spec.upgrade.clone(),
        retry: taken_back.retry.saturating_add(1),
    };
    Some(spent.into())
}

/// Whether something was swapped for the upgrade.
fn has_begun(view: &ClassicView<'_>) -> bool {
    let pools = view.pools.iter().map(|pool| &pool.object);
    let machine_pools = view.machine_pools.iter().map(|pool| &pool.object);
    let mut objects = pools.chain(machine_pools).chain([&view.control_plane.object]);
    objects.any(|object| view.swapped(object).is_some())
}

/// Deletes what upgrades that are over have left behind. What they asked for isn't looked at: who
/// refers to a template is all that counts, so the record of an upgrade may be gone.
#[must_use]
pub fn collect_templates(snapshot: &Snapshot) -> Decision {
    let view = match ClassicView::read(snapshot) {
        Ok(view) => view,
        Err(waiting) => return Decision::held(waiting),
    };
    let mut waiting = Vec::new();
    let action = match retire::next(&view, &mut waiting) {
        Next::Write(action) => *action,
        Next::Wait | Next::Done => Action::Nothing,
    };
    decide(&view, &Ends::HERE, Vec::new(), Stage::Complete, action, waiting)
}

/// Takes our marks off the pools of a Cluster for which no upgrade goes on: the objects stay paused otherwise, and can't
/// even be deleted. Nothing else is looked at, so the control plane may be gone. A paused Cluster may be about to
/// move, and keeps them.
#[must_use]
pub fn resume(snapshot: &Snapshot) -> Decision {
    let action = match snapshot.cluster.lifecycle {
        Lifecycle::Active | Lifecycle::Deleting => {
            machine_pools::leftover(snapshot).or_else(|| paused_rollout::leftover(snapshot))
        }
        Lifecycle::Paused => None,
    };
    Decision {
        action: action.unwrap_or(Action::Nothing),
        ..Decision::held(Vec::new())
    }
}

/// The path is pinned before anything is made for it or goes to it.
fn pinned_first(view: &ClassicView<'_>, goal: &Goal<'_>, action: Action) -> Action {
    match action {
        Action::MintTemplate(_)
        | Action::SwapControlPlane(_)
        | Action::SwapWorkers(_)
        | Action::PatchMachinePool(PatchMachinePool {
            change:
                MachinePoolChange::Pause | MachinePoolChange::SetValues { .. } | MachinePoolChange::RestoreValues { .. },
            ..
        }) => match pin::write(view, goal) {
            None => action,
            Some(pin) => Action::PinPath(PinPath {
                before: tried_first(&action),
                ..pin
            }),
        },
        Action::PinPath(_)
        | Action::RecordConvergence(_)
        | Action::PatchMachinePool(_)
        | Action::DeleteTemplate(_)
        | Action::EditVersion(_)
        | Action::CompletePins(_)
        | Action::HoldPool(_)
        | Action::SetConcurrency(_)
        | Action::BeginGates(_)
        | Action::AnswerHook(_)
        | Action::RestoreVersionCheck(_)
        | Action::FollowRelease(_)
        | Action::DeleteMachine(_)
        | Action::Nothing => action,
    }
}

/// The swap that comes next, where it is tried before anything is written for it.
fn tried_first(next: &Action) -> Option<Box<Swap>> {
    match next {
        Action::MintTemplate(mint) => mint.before.clone(),
        Action::SwapControlPlane(_)
        | Action::SwapWorkers(_)
        | Action::PinPath(_)
        | Action::RecordConvergence(_)
        | Action::PatchMachinePool(_)
        | Action::DeleteTemplate(_)
        | Action::EditVersion(_)
        | Action::CompletePins(_)
        | Action::HoldPool(_)
        | Action::SetConcurrency(_)
        | Action::BeginGates(_)
        | Action::AnswerHook(_)
        | Action::RestoreVersionCheck(_)
        | Action::FollowRelease(_)
        | Action::DeleteMachine(_)
        | Action::Nothing => None,
    }
}

/// What is left out, for the user to know. It comes last: the first reason is what people see first.
fn without_version(snapshot: &Snapshot) -> Vec<Waiting> {
    let mut named: Vec<_> = snapshot
        .unversioned
        .iter()
        .filter(|object| object.maker.is_none())
        .map(|object| (object.kind, &object.name))
        .collect();
    named.sort();
    let named = named.into_iter().map(|(kind, name)| Waiting::NoVersion {
        kind,
        name: name.clone(),
    });
    named.collect()
}

/// What the upgrade leaves at an older version, but for what holds it already. It is said at the end too.
fn left_to_user(view: &ClassicView<'_>, goal: &Goal<'_>, before: &[Waiting]) -> Vec<Waiting> {
    let target = goal.demand.version();
    let holds = |kind: WorkerKind, name: &str| {
        before.iter().any(
            |waiting| matches!(waiting, Waiting::WorkersBehind { kind: k, name: n, .. } if *k == kind && n == name),
        )
    };
    let mut left = view.left_behind(target);
    left.retain(|(kind, name, _)| !holds(*kind, name));
    left.sort();
    let left = left.into_iter().filter_map(|(kind, name, version)| {
        let because = match kind {
            WorkerKind::MachinePool => Some(Box::new(machine_pools::left_because(view, name, goal.demand)?)),
            WorkerKind::MachineDeployment | WorkerKind::MachineSet | WorkerKind::Machine => None,
        };
        Some(Waiting::LeftToUser {
            kind,
            name: name.to_owned(),
            version: version.clone(),
            target: target.clone(),
            because,
        })
    });
    left.collect()
}

fn go(view: &ClassicView<'_>, goal: &Goal<'_>, waiting: &mut Vec<Waiting>) -> (Stage, Action) {
    let next = match goal.goes_back {
        Some(before) => back::take_stuck_step_back(view, goal, before, waiting),
        None => control_plane::next(view, goal, waiting),
    };
    match next {
        Next::Write(action) => return (Stage::ControlPlane, *action),
        Next::Wait if workers_have_begun(view, goal, waiting) => {
            return (Stage::Workers, Action::Nothing);
        }
        Next::Wait => return (Stage::ControlPlane, Action::Nothing),
        Next::Done => {}
    }
    let rollout = WorkerRollout {
        pools: view.pools.clone(),
        machine_pools: view.machine_pools.clone(),
        heading: Heading::Forward(goal.demand),
    };
    match workers::next(view, &rollout, waiting) {
        Next::Write(action) => (Stage::Workers, *action),
        Next::Wait => (Stage::Workers, Action::Nothing),
        Next::Done => {
            let release = goal.demand.step().map(|step| step.name());
            let held = gates::before_completion(view.snapshot, goal.demand.version(), release);
            if !held.is_empty() {
                waiting.extend(held);
                return (Stage::Verifying, Action::Nothing);
            }
            ending(view, waiting)
        }
    }
}

/// Whether workers go to the last release already, and the control plane isn't ready though no machine of it is replaced:
/// it had come to that release before, so that is no rollout.
fn workers_have_begun(view: &ClassicView<'_>, goal: &Goal<'_>, waiting: &[Waiting]) -> bool {
    let wanted = goal.demand.version();
    let is_unready =
        |waiting: &Waiting| matches!(waiting, Waiting::ControlPlaneNotReady { version } if version == wanted);
    waiting.iter().any(is_unready) && view.pools.iter().any(|pool| pool.version == *wanted)
}

/// All is there: what is old goes.
fn ending(view: &ClassicView<'_>, waiting: &mut Vec<Waiting>) -> (Stage, Action) {
    match retire::next(view, waiting) {
        Next::Write(action) => (Stage::Complete, *action),
        Next::Wait | Next::Done => (Stage::Complete, Action::Nothing),
    }
}

fn decide(
    view: &ClassicView<'_>,
    ends: &Ends<'_>,
    path: Vec<String>,
    stage: Stage,
    action: Action,
    waiting: Vec<Waiting>,
) -> Decision {
    let (pools, templates) = match view.detail {
        ProgressDetail::Full => (progress::pools(view, ends), progress::templates(view, stage)),
        ProgressDetail::Stage => (Vec::new(), Vec::new()),
    };
    let progress = Progress {
        stage,
        path,
        pools,
        templates,
    };
    let unread = view.unread();
    Decision {
        // What was not read may say that something else comes first.
        action: if unread.is_empty() { action } else { Action::Nothing },
        waiting,
        progress,
        unread,
    }
}

/// Writes down that all machines of an object are as its last swap for this upgrade says; nothing where that is written,
/// or where the object isn't any more as that swap made it.
fn convergence(
    view: &ClassicView<'_>,
    pool: PoolId,
    object: &Object,
    version: &KubeVersion,
    template: Option<&TemplateRef>,
) -> Option<Action> {
    let template = template.map(|template| &template.name);
    view.swapped(object)
        .filter(|swap| swap.after.is_at(version, template) && object.lifecycle == Lifecycle::Active)?;
    swap::convergence(pool, object, view.snapshot.now).map(Action::RecordConvergence)
}
