//! The invariants of what the Runtime Hooks answer: nothing goes past a gate that isn't open, and not without an upgrade.

use instar_api::{ApprovalPoint, ApprovedPart, HOOK_ANSWER_ANNOTATION, HookAnswer, HookVerdict};
use instar_domain::KubeVersion;

use super::{
    Violation, control_plane,
    patch::{Also, annotation, touches_only},
    topology::compared,
};
use crate::{
    decision::{Action, AnswerHook},
    snapshot::{RuntimeHooks, Snapshot},
    upgrade_spec::{Gate, GateState},
};

/// What an answer lets begin.
pub(super) fn begun(answer: &AnswerHook) -> Option<(ApprovedPart, &KubeVersion)> {
    let answer = answer.answer.as_ref()?;
    match answer.verdict {
        HookVerdict::Go { .. } => Some((answer.part, &answer.step)),
        HookVerdict::Hold { .. } => None,
    }
}

/// The gates that an answer passes.
pub(super) fn passed(answer: &AnswerHook) -> &'static [Gate] {
    match begun(answer) {
        Some((ApprovedPart::ControlPlane, _)) => &Gate::CONTROL_PLANE,
        Some((ApprovedPart::Workers, _)) => &Gate::WORKERS,
        None => &[],
    }
}

/// Whether what is let go outlasts a gate that closes by itself.
pub(super) fn outlasts(snapshot: &Snapshot, answer: &AnswerHook) -> bool {
    let Some(HookVerdict::Go { until }) = answer.answer.as_ref().map(|answer| &answer.verdict) else {
        return false;
    };
    let mut gates = passed(answer).iter().filter_map(|gate| snapshot.gates.get(gate));
    gates.any(|state| match state {
        GateState::Open { until: Some(closes) } => until.is_none_or(|until| until > *closes),
        GateState::Open { until: None } | GateState::Closed { .. } => false,
    })
}

/// Whether an approval is missing.
pub(super) fn lacks_approval(snapshot: &Snapshot, answer: &AnswerHook) -> bool {
    let Some((part, step)) = begun(answer) else {
        return false;
    };
    let asks = |point: ApprovalPoint| snapshot.approvals.required.contains(&point);
    let given = &snapshot.approvals.given;
    let is_given = given.contains(&(part, step.clone()));
    match part {
        ApprovedPart::ControlPlane => {
            let has_any = given.iter().any(|(part, _)| *part == ApprovedPart::ControlPlane);
            (asks(ApprovalPoint::EachStep) && !is_given) || (asks(ApprovalPoint::ControlPlane) && !has_any)
        }
        ApprovedPart::Workers => asks(ApprovalPoint::Workers) && !is_given,
    }
}

/// Whether each step is answered for by itself, so that the edit of the version asks for none of their approvals.
pub(super) fn answers_each_step(snapshot: &Snapshot) -> bool {
    let topology = snapshot.cluster.topology();
    topology.is_some_and(|topology| topology.hooks == RuntimeHooks::On)
}

/// Whether an edit leaves the add-ons and gates of the control plane to its steps, of which there are several.
pub(super) fn leaves_gates_to_steps(snapshot: &Snapshot, action: &Action) -> bool {
    let (Action::EditVersion(edit), Some(topology)) = (action, snapshot.cluster.topology()) else {
        return false;
    };
    let row = snapshot.catalog.named_anywhere(&edit.target);
    let version = row.map_or_else(|| edit.target.parse().ok(), |row| Some(row.version().clone()));
    let present = topology.version.minor();
    answers_each_step(snapshot)
        && version.is_some_and(|version: KubeVersion| {
            let minor = version.minor();
            minor.major > present.major || minor.minor > present.minor + 1
        })
}

pub(super) fn check(snapshot: &Snapshot, written: &AnswerHook, broken: &mut Vec<Violation>) {
    let AnswerHook {
        name,
        resource_version,
        answer,
        patch,
    } = written;
    let Some(topology) = compared(snapshot, name, resource_version, patch, broken) else {
        return;
    };
    if annotation(patch, HOOK_ANSWER_ANNOTATION).and_then(HookAnswer::from_annotation) != *answer {
        broken.push(Violation::Incomplete);
    }
    if !touches_only(patch, &[HOOK_ANSWER_ANNOTATION], Also::Nothing) {
        broken.push(Violation::NotOurs);
    }
    let Some(answer) = answer else {
        if topology.hook_answer.is_none() {
            broken.push(Violation::NotOurs);
        }
        return;
    };
    // What was let go is taken back, also of a step of which nothing else is known.
    let before = topology.hook_answer.as_deref().and_then(HookAnswer::from_annotation);
    let asked = |answer: &HookAnswer| (answer.part, answer.step.clone(), answer.target.clone());
    let is_let_go = matches!(answer.verdict, HookVerdict::Go { .. });
    if !is_let_go && before.is_some_and(|before| asked(&before) == asked(answer)) {
        return;
    }
    let plan = match answer.part {
        ApprovedPart::ControlPlane => &topology.control_plane_plan,
        ApprovedPart::Workers => &topology.workers_plan,
    };
    if answer.target != topology.version || !plan.contains(&answer.step) || plan.last() != Some(&topology.version) {
        broken.push(Violation::Incomplete);
    }
    let Some(control_plane) = control_plane(snapshot) else {
        broken.push(Violation::UnknownObject);
        return;
    };
    match answer.part {
        ApprovedPart::ControlPlane if answer.step <= control_plane.version => broken.push(Violation::Lowered),
        ApprovedPart::Workers if answer.step > control_plane.version => broken.push(Violation::WorkersAhead),
        ApprovedPart::ControlPlane | ApprovedPart::Workers => {}
    }
    let lags = |observed: &KubeVersion| *observed != control_plane.version;
    if is_let_go && control_plane.observed.iter().any(lags) {
        broken.push(Violation::ControlPlaneMoving);
    }
}
