//! What Cluster API's Runtime Hooks are answered before each step. Cluster API takes all steps of an edit by itself, and asks
//! before each of them: `BeforeControlPlaneUpgrade` names the step that comes next at the moment when it would begin,
//! also after workers in between, so that a window that has closed since counts. `AfterControlPlaneUpgrade` is asked
//! once, before workers, and is over when the next step begins. `BeforeWorkersUpgrade` holds what has no `spec.paused`:
//! MachinePools. Where there are none, pools are held one by one ([`super::holds`]), and the hook lets them be.
//!
//! The admission server answers, from the Cluster alone: here its annotation is written.

use std::fmt::{self, Write as _};

use instar_api::{ApprovalPoint, ApprovedPart, GatePoint, HOOK_ANSWER_ANNOTATION, HookAnswer, HookVerdict};
use instar_capi::{Lifecycle, is_held_by_answer_alone};
use instar_domain::KubeVersion;
use jiff::Timestamp;
use serde_json::json;

use super::view::TopologyView;
use crate::{
    addon::AddonProblem,
    canary::Leaving,
    decision::{Action, AnswerHook, Waiting},
    gates,
    operation::Operation,
    pool_id::PoolId,
    snapshot::{RuntimeHooks, Snapshot, Topology},
    upgrade_spec::{Gate, GateState},
};

/// How much of a reason Cluster API gets: it stands in conditions.
const REASON: usize = 512;

/// What is written for the hook that comes next; what holds it is added to `waiting`.
pub(super) fn next(view: &TopologyView<'_>, waiting: &mut Vec<Waiting>) -> Option<Action> {
    if !is_answered(view.topology) || !view.is_moving() {
        return end(view);
    }
    // What was answered for the step before says nothing of any other.
    let (answer, held) = answer(view)?;
    for reason in held {
        if !waiting.contains(&reason) {
            waiting.push(reason);
        }
    }
    changed(view.snapshot, view.topology, answer)
}

/// Holds what comes next while the upgrade as a whole is held, and takes back what was let go where what comes next can't be
/// read. Cluster API may come to a step hours after it was let go, when workers have arrived.
pub(super) fn hold(snapshot: &Snapshot, held: &[Waiting]) -> Option<Action> {
    let topology = snapshot.cluster.topology()?;
    if !is_answered(topology) || snapshot.cluster.lifecycle != Lifecycle::Active {
        return None;
    }
    let view = TopologyView::read(snapshot).ok().filter(TopologyView::is_moving);
    let next = view.as_ref().and_then(next_step);
    let next = next.map(|(part, step)| (part, step.clone()));
    let (part, step) = next.or_else(|| let_go(topology))?;
    let answer = HookAnswer {
        target: topology.version.clone(),
        part,
        step,
        verdict: held_for(reason(held)),
    };
    changed(snapshot, topology, answer)
}

/// What the Cluster says that may go.
fn let_go(topology: &Topology) -> Option<(ApprovedPart, KubeVersion)> {
    let answer = topology.hook_answer.as_deref().and_then(HookAnswer::from_annotation)?;
    match answer.verdict {
        HookVerdict::Go { .. } if answer.target == topology.version => Some((answer.part, answer.step)),
        HookVerdict::Go { .. } | HookVerdict::Hold { .. } => None,
    }
}

/// Nothing is asked any more. The hold of a step that isn't taken any more stays until Cluster API has seen that.
pub(super) fn end(view: &TopologyView<'_>) -> Option<Action> {
    let present = view.topology.hook_answer.as_deref()?;
    let is_of_before = |answer: HookAnswer| answer.target != view.topology.version;
    if HookAnswer::from_annotation(present).is_some_and(is_of_before) && !view.is_reconciled() {
        return None;
    }
    Some(write(view.snapshot, view.topology, None))
}

/// Whether what is answered counts.
const fn is_answered(topology: &Topology) -> bool {
    match &topology.hooks {
        RuntimeHooks::On => true,
        // What was answered may have changed, whoever asks.
        RuntimeHooks::Unknown(_) | RuntimeHooks::NotLooked => topology.hook_answer.is_some(),
        RuntimeHooks::Off(_) => false,
    }
}

/// Whether the step that comes next is held by the hook.
pub(super) fn is_held(view: &TopologyView<'_>) -> bool {
    let is_on = view.topology.hooks == RuntimeHooks::On && view.is_moving();
    is_on && answer(view).is_some_and(|(_, held)| !held.is_empty())
}

/// Whether what Cluster API says of hooks is our own answer and nothing else, while that holds the step: what it waits for is
/// said as such, and an operator looks for no other extension.
pub(super) fn is_held_by_us_alone(view: &TopologyView<'_>, message: &str) -> bool {
    let answer = view
        .topology
        .hook_answer
        .as_deref()
        .and_then(HookAnswer::from_annotation);
    let held = answer.and_then(|answer| answer.verdict.hold_message());
    is_held(view) && held.is_some_and(|held| is_held_by_answer_alone(message, &held))
}

/// Whether each step of an edit asks for its own approval, so that the edit needs none.
pub(super) fn asks_for_each_step(view: &TopologyView<'_>, to: &KubeVersion) -> bool {
    let required = &view.snapshot.approvals.required;
    view.topology.hooks == RuntimeHooks::On
        && *to != view.topology.version
        && required.contains(&ApprovalPoint::EachStep)
        && !required.contains(&ApprovalPoint::ControlPlane)
}

/// Whether each step of the control plane asks for its own add-ons and gates: those of the last one, asked for before the
/// edit, would take an add-on of one field there and back again for the first step.
pub(super) fn asks_gates_of_each_step(view: &TopologyView<'_>, to: &KubeVersion) -> bool {
    let (from, to) = (view.topology.version.minor(), to.minor());
    let is_one_step = from.major == to.major && to.minor <= from.minor + 1;
    view.topology.hooks == RuntimeHooks::On && !is_one_step
}

pub(super) fn is_gate_of_control_plane(waiting: &Waiting) -> bool {
    point(waiting).is_some_and(|(when, _)| when == GatePoint::BeforeControlPlane)
}

/// At which point of the upgrade something waits for add-ons and gates.
fn point(waiting: &Waiting) -> Option<(GatePoint, &KubeVersion)> {
    if let Waiting::AddonClosed(closed) = waiting {
        Some((closed.id.when, &closed.id.version))
    } else if let Waiting::AddonsUnseen(point) = waiting {
        Some((point.when, &point.version))
    } else {
        None
    }
}

pub(super) fn is_approval_of_control_plane(waiting: &Waiting) -> bool {
    matches!(
        waiting,
        Waiting::ApprovalMissing {
            part: ApprovedPart::ControlPlane,
            ..
        }
    )
}

/// The answer to the hook that comes next, and what holds the step; nothing while none comes.
fn answer(view: &TopologyView<'_>) -> Option<(HookAnswer, Vec<Waiting>)> {
    let (part, step) = next_step(view)?;
    let gates = match part {
        ApprovedPart::ControlPlane => &Gate::CONTROL_PLANE,
        ApprovedPart::Workers => &Gate::WORKERS,
    };
    let under_way = under_way(view, part);
    let held = match (&under_way, part) {
        // Cluster API asks when it has ended, and much may have opened or closed by then.
        (Some(_), ApprovedPart::ControlPlane | ApprovedPart::Workers) => Vec::new(),
        (None, ApprovedPart::ControlPlane) => before_control_plane(view, step),
        (None, ApprovedPart::Workers) => before_workers(view, step),
    };
    let verdict = match under_way {
        Some(reason) => held_for(reason),
        None if held.is_empty() => HookVerdict::Go {
            until: closing(view.snapshot, gates),
        },
        None => held_for(reason(&held)),
    };
    let answer = HookAnswer {
        target: view.topology.version.clone(),
        part,
        step: step.clone(),
        verdict,
    };
    Some((answer, held))
}

/// What goes next, and where to, as Cluster API plans it. A plan that doesn't end at the Cluster's version is one of before.
fn next_step<'a>(view: &TopologyView<'a>) -> Option<(ApprovedPart, &'a KubeVersion)> {
    let topology = view.topology;
    let present = &view.control_plane.version;
    let current = |plan: &'a Vec<KubeVersion>| {
        let is_current = plan.last() == Some(&topology.version);
        is_current.then_some(plan).into_iter().flatten()
    };
    let workers = current(&topology.workers_plan).next();
    if workers == Some(present) {
        // The control plane goes on when they have arrived.
        let asks = !view.machine_pools.is_empty();
        return asks.then_some((ApprovedPart::Workers, present));
    }
    let mut left = current(&topology.control_plane_plan);
    left.find(|version| *version > present)
        .map(|step| (ApprovedPart::ControlPlane, step))
}

/// What has to end before a part may go, without anything being held.
fn under_way(view: &TopologyView<'_>, part: ApprovedPart) -> Option<String> {
    if !view.control_plane_settled() {
        let version = &view.control_plane.version;
        return Some(format!(
            "the control plane has yet to be at {version} with all its machines (see status.health of the ClusterUpgrade)"
        ));
    }
    let pools = view.pools.iter().filter(|pool| view.is_rolling(pool));
    let pools = pools.map(|pool| (PoolId::Workers(pool.object.name.clone()), &pool.version));
    let machine_pools = view.machine_pools.iter();
    let machine_pools = machine_pools.filter(|pool| !TopologyView::machine_pool_settled(pool));
    let machine_pools = machine_pools.map(|pool| (PoolId::MachinePool(pool.object.name.clone()), &pool.version));
    match part {
        ApprovedPart::ControlPlane => pools
            .chain(machine_pools)
            .next()
            .map(|(pool, version)| format!("{pool} has machines that aren't at {version} yet")),
        ApprovedPart::Workers => None,
    }
}

/// When the first of the gates closes by itself.
fn closing(snapshot: &Snapshot, gates: &[Gate]) -> Option<Timestamp> {
    let states = gates.iter().filter_map(|gate| snapshot.gates.get(gate));
    let closing = states.filter_map(|state| match state {
        GateState::Open { until } => *until,
        GateState::Closed { .. } => None,
    });
    closing.min()
}

fn before_control_plane(view: &TopologyView<'_>, step: &KubeVersion) -> Vec<Waiting> {
    if view.snapshot.upgrade_spec.operation == Operation::Abort && view.is_kubeadms() {
        let version = view.control_plane.version.clone();
        return vec![Waiting::Landing { version }];
    }
    let release = view.topology.release_of(step);
    let mut held = if has_taken_step(view) {
        gates::before_control_plane(view.snapshot, step, release)
    } else {
        gates::before_first_step(view.snapshot, step, release)
    };
    let approvals = &view.snapshot.approvals;
    let is_approved = approvals
        .given
        .iter()
        .any(|(part, _)| *part == ApprovedPart::ControlPlane);
    // Where not each step asks for an approval, the one before the edit counts for all of them.
    if is_approved && !approvals.required.contains(&ApprovalPoint::EachStep) {
        held.retain(|waiting| !is_approval_of_control_plane(waiting));
    }
    held
}

/// Whether the control plane is beyond the version from which the upgrade began. Pins of before go with the edit, so the
/// lowest version tells; without pins it may be that of workers that have come along.
fn has_taken_step(view: &TopologyView<'_>) -> bool {
    view.topology.pins.is_none() || *view.lowest() != view.control_plane.version
}

/// They wait as a whole, so nothing holds one of them for another one.
fn before_workers(view: &TopologyView<'_>, step: &KubeVersion) -> Vec<Waiting> {
    let mut held = gates::before_workers(view.snapshot, step, view.topology.release_of(step));
    for pool in &view.machine_pools {
        let id = PoolId::MachinePool(pool.object.name.clone());
        let leaving = Leaving {
            pool: &id,
            from: &pool.version,
            to: step,
            due: &[],
        };
        let approval = gates::before_pool(view.snapshot, &leaving)
            .filter(|waiting| matches!(waiting, Waiting::ApprovalMissing { .. }));
        held.extend(approval.filter(|approval| !held.contains(approval)));
    }
    held
}

fn reason(held: &[Waiting]) -> String {
    let mut text = String::new();
    for waiting in held {
        let before = if text.is_empty() { "" } else { "; " };
        // A String takes all that is written.
        let _ = write!(text, "{before}{}", Brief(waiting));
    }
    text.chars().take(REASON).collect()
}

/// What is waited for, without what others say of it: their words may change at each look, and each change would be a
/// write of the Cluster, after which Cluster API looks at its whole topology.
struct Brief<'a>(&'a Waiting);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = "(see status.health of the ClusterUpgrade)";
        if let Waiting::AddonClosed(closed) = self.0 {
            let problem = match closed.problem {
                AddonProblem::NotReady | AddonProblem::Settling => "isn't ready",
                AddonProblem::Failed => "has failed",
                AddonProblem::Unknown => "isn't known to be ready",
                AddonProblem::TimedOut | AddonProblem::Expired => "takes longer than its timeout",
            };
            write!(f, "{} {problem} {more}", closed.id)
        } else if let Waiting::PreflightFailed { check, .. } = self.0 {
            write!(f, "check {check} failed {more}")
        } else if let Waiting::PreflightUnknown { check, .. } = self.0 {
            write!(f, "check {check} is not known yet {more}")
        } else {
            self.0.fmt(f)
        }
    }
}

const fn held_for(reason: String) -> HookVerdict {
    HookVerdict::Hold { reason, again: None }
}

/// Tells a hold from one of before the step was let go: Cluster API may still say that it has got that one.
fn told_apart(snapshot: &Snapshot, topology: &Topology, answer: &mut HookAnswer) {
    let before = topology.hook_answer.as_deref().and_then(HookAnswer::from_annotation);
    let is_same = |before: &HookAnswer| {
        (before.part, &before.step, &before.target) == (answer.part, &answer.step, &answer.target)
    };
    let since = match before.filter(is_same).map(|before| before.verdict) {
        Some(HookVerdict::Go { .. }) => Some(snapshot.now),
        Some(HookVerdict::Hold { again, .. }) => again,
        None => None,
    };
    match &mut answer.verdict {
        HookVerdict::Go { .. } => {}
        HookVerdict::Hold { again, .. } => *again = since,
    }
}

/// An answer that isn't what the Cluster carries.
fn changed(snapshot: &Snapshot, topology: &Topology, mut answer: HookAnswer) -> Option<Action> {
    told_apart(snapshot, topology, &mut answer);
    let is_there = topology.hook_answer.as_ref() == Some(&answer.to_annotation());
    (!is_there).then(|| write(snapshot, topology, Some(answer)))
}

fn write(snapshot: &Snapshot, topology: &Topology, answer: Option<HookAnswer>) -> Action {
    let resource_version = topology.resource_version.clone();
    let text = answer.as_ref().map(HookAnswer::to_annotation);
    Action::AnswerHook(AnswerHook {
        name: snapshot.cluster.name.clone(),
        patch: json!({ "metadata": {
            "resourceVersion": resource_version,
            "annotations": { HOOK_ANSWER_ANNOTATION: text },
        }}),
        resource_version,
        answer,
    })
}
