//! What the Runtime Hooks answer: a Cluster API that asks before each step, and never takes one that wasn't let go.

use instar_api::{ApprovalPoint, ApprovedPart, GatePoint, HOOK_ANSWER_ANNOTATION, HookAnswer, HookVerdict};
use instar_domain::KubeVersion;
use instar_planner::{
    Action, Decision, Gate, GateState, ManagedBy, Observed, ResourceVersion, RuntimeHooks, Snapshot, Stage, Violation,
    check, release_held,
};

use super::{asked, cluster, control_plane, control_plane_goes, decide, pins, topology, words, workers_go};
use crate::world::{closed, machine_pools::machine_pool, random::Random, version};

const STEPS: [&str; 2] = ["v1.34.5", "v1.35.5"];

/// Two minors to go, of which Cluster API asks before each.
fn two_minors() -> Snapshot {
    let mut snapshot = cluster("v1.33.5", "v1.35.5");
    let topology = topology(&mut snapshot);
    topology.pins = Some(pins("v1.33.5", &STEPS));
    topology.hooks = RuntimeHooks::On;
    topology.control_plane_plan = STEPS.map(version).into();
    topology.workers_plan = vec![version("v1.35.5")];
    snapshot
}

fn with_machine_pool(mut snapshot: Snapshot, at: &str) -> Snapshot {
    let mut pool = machine_pool("mp-0", at, &[at]);
    pool.object.managed_by = ManagedBy::Topology;
    snapshot.machine_pools = vec![Observed::Read(pool)];
    snapshot
}

fn approve(snapshot: &mut Snapshot, part: ApprovedPart, step: &str) {
    snapshot.approvals.given.insert((part, version(step)));
}

/// Takes over what a decision writes.
fn write(snapshot: &mut Snapshot, decision: &Decision) {
    if let Action::AnswerHook(answer) = &decision.action {
        let text = answer.patch["metadata"]["annotations"][HOOK_ANSWER_ANNOTATION].as_str();
        let topology = topology(snapshot);
        topology.hook_answer = text.map(str::to_owned);
        let writes: u64 = topology.resource_version.0.parse().unwrap();
        topology.resource_version = ResourceVersion((writes + 1).to_string());
    }
}

/// What is answered next, in a few words.
fn answered(snapshot: &mut Snapshot) -> String {
    let decision = decide(snapshot);
    write(snapshot, &decision);
    match decision.action {
        Action::AnswerHook(answer) => answer
            .answer
            .map_or_else(|| "nothing any more".to_owned(), |answer| said(&answer)),
        Action::Nothing => "as before".to_owned(),
        action => panic!("{action:?}"),
    }
}

fn said(answer: &HookAnswer) -> String {
    let (part, step) = (answer.part.as_str(), &answer.step);
    match &answer.verdict {
        HookVerdict::Go => format!("{part} {step}: go"),
        HookVerdict::Hold { reason } => format!("{part} {step}: {reason}"),
    }
}

/// What the hook lets begin at this moment.
fn let_go(snapshot: &mut Snapshot) -> Option<(ApprovedPart, KubeVersion)> {
    let answer = HookAnswer::from_annotation(topology(snapshot).hook_answer.as_deref()?)?;
    (answer.verdict == HookVerdict::Go).then_some((answer.part, answer.step))
}

#[test]
fn each_step_waits_for_its_own_approval() {
    let mut snapshot = two_minors();
    snapshot.approvals.required = [ApprovalPoint::EachStep].into();
    assert!(
        answered(&mut snapshot)
            .starts_with("ControlPlane v1.34.5: the control plane goes to v1.34.5 once that is approved")
    );
    assert_eq!(answered(&mut snapshot), "as before");
    let held = decide(&snapshot);
    assert_eq!(held.progress.stage, Stage::Held);
    assert!(
        words(&held)[0].starts_with("ApprovalMissing: the control plane goes to v1.34.5"),
        "{:?}",
        words(&held)
    );

    approve(&mut snapshot, ApprovedPart::ControlPlane, "v1.34.5");
    assert_eq!(answered(&mut snapshot), "ControlPlane v1.34.5: go");
    assert_eq!(decide(&snapshot).progress.stage, Stage::ControlPlane);

    // While it rolls, nothing is asked, and what was answered says nothing of the next step.
    control_plane_goes(&mut snapshot, "v1.34.5");
    topology(&mut snapshot).control_plane_plan = vec![version("v1.35.5")];
    control_plane(&mut snapshot).observed.push(version("v1.33.5"));
    assert_eq!(answered(&mut snapshot), "as before");
    control_plane(&mut snapshot).observed.pop();
    assert!(answered(&mut snapshot).starts_with("ControlPlane v1.35.5: the control plane goes to v1.35.5 once"));
    assert_eq!(decide(&snapshot).progress.stage, Stage::Held);
    approve(&mut snapshot, ApprovedPart::ControlPlane, "v1.35.5");
    assert_eq!(answered(&mut snapshot), "ControlPlane v1.35.5: go");

    control_plane_goes(&mut snapshot, "v1.35.5");
    topology(&mut snapshot).control_plane_plan.clear();
    assert_eq!(answered(&mut snapshot), "as before");
    workers_go(&mut snapshot, "v1.35.5");
    assert_eq!(answered(&mut snapshot), "nothing any more");
    assert_eq!(answered(&mut snapshot), "as before");
}

#[test]
fn a_window_that_closes_takes_back_what_was_let_go() {
    let mut snapshot = two_minors();
    // Pools would be held first.
    snapshot.pools.clear();
    assert_eq!(answered(&mut snapshot), "ControlPlane v1.34.5: go");
    snapshot.gates.insert(Gate::Window, closed("no window is open"));
    let text = answered(&mut snapshot);
    assert_eq!(text, "ControlPlane v1.34.5: maintenance window: no window is open");
    snapshot.gates.insert(Gate::Window, GateState::Open { until: None });
    assert_eq!(answered(&mut snapshot), "ControlPlane v1.34.5: go");
}

#[test]
fn one_approval_before_the_control_plane_counts_for_all_steps() {
    let mut snapshot = two_minors();
    snapshot.approvals.required = [ApprovalPoint::ControlPlane].into();
    assert!(answered(&mut snapshot).starts_with("ControlPlane v1.34.5: the control plane goes to v1.34.5 once"));
    approve(&mut snapshot, ApprovedPart::ControlPlane, "v1.35.5");
    assert_eq!(answered(&mut snapshot), "ControlPlane v1.34.5: go");
}

#[test]
fn machine_pools_wait_as_a_whole_and_others_need_no_answer() {
    let mut snapshot = two_minors();
    control_plane_goes(&mut snapshot, "v1.35.5");
    topology(&mut snapshot).control_plane_plan.clear();
    assert_eq!(answered(&mut snapshot), "as before");

    let mut snapshot = with_machine_pool(snapshot, "v1.33.5");
    assert_eq!(answered(&mut snapshot), "Workers v1.35.5: go");
    snapshot.pools.clear();
    snapshot.approvals.required = [ApprovalPoint::Workers].into();
    assert!(answered(&mut snapshot).starts_with("Workers v1.35.5: the workers go to v1.35.5 once that is approved"));
    approve(&mut snapshot, ApprovedPart::Workers, "v1.35.5");
    assert_eq!(answered(&mut snapshot), "Workers v1.35.5: go");
}

#[test]
fn nothing_is_answered_that_is_not_asked() {
    let why = || "why".to_owned();
    let go = "ControlPlane v1.34.5: go";
    for (hooks, before, expected) in [
        (RuntimeHooks::Off(why()), None, "as before"),
        (RuntimeHooks::Off(why()), Some("garbled"), "nothing any more"),
        (RuntimeHooks::Unknown(why()), None, "as before"),
        // It may be asked all the same, and the gates may have closed since.
        (RuntimeHooks::Unknown(why()), Some("garbled"), go),
        (RuntimeHooks::On, None, go),
        (RuntimeHooks::On, Some("garbled"), go),
    ] {
        let mut snapshot = two_minors();
        topology(&mut snapshot).hooks = hooks.clone();
        topology(&mut snapshot).hook_answer = before.map(str::to_owned);
        assert_eq!(answered(&mut snapshot), expected, "{hooks:?} {before:?}");
    }
    // A plan of before, and none yet.
    for plan in [vec![], vec![version("v1.34.5")]] {
        let mut snapshot = two_minors();
        topology(&mut snapshot).control_plane_plan = plan;
        assert_eq!(answered(&mut snapshot), "as before");
    }
    // A ClusterUpgrade that is paused holds what comes next.
    let mut snapshot = two_minors();
    snapshot.upgrade_spec.paused = true;
    assert_eq!(answered(&mut snapshot), "as before");
}

#[test]
fn what_no_upgrade_needs_any_more_is_taken_off() {
    let mut snapshot = cluster("v1.35.5", "v1.35.5");
    assert_eq!(release_held(&snapshot).action, Action::Nothing);
    topology(&mut snapshot).hook_answer = Some("{}".to_owned());
    let decision = release_held(&snapshot);
    assert_eq!(check(&snapshot, &decision), []);
    write(&mut snapshot, &decision);
    assert_eq!(topology(&mut snapshot).hook_answer, None);
}

#[test]
fn the_edit_leaves_the_approval_of_steps_to_the_hooks() {
    let approvals = |points: &[ApprovalPoint], hooks: RuntimeHooks| {
        let mut snapshot = asked("v1.33.5", "v1.35");
        snapshot.approvals.required = points.iter().copied().collect();
        topology(&mut snapshot).hooks = hooks;
        match decide(&snapshot).action {
            Action::EditVersion(edit) => edit.target,
            action => {
                assert_eq!(action, Action::Nothing);
                "held".to_owned()
            }
        }
    };
    let off = || RuntimeHooks::Off(String::new());
    let each = [ApprovalPoint::EachStep];
    assert_eq!(approvals(&each, off()), "held");
    assert_eq!(approvals(&each, RuntimeHooks::Unknown(String::new())), "held");
    assert_eq!(approvals(&each, RuntimeHooks::On), "v1.35.5");
    let both = [ApprovalPoint::EachStep, ApprovalPoint::ControlPlane];
    assert_eq!(approvals(&both, RuntimeHooks::On), "held");
}

fn broken(change: impl FnOnce(&mut Snapshot, &mut Decision)) -> Vec<Violation> {
    let mut snapshot = two_minors();
    let mut decision = decide(&snapshot);
    change(&mut snapshot, &mut decision);
    check(&snapshot, &decision)
}

fn answer(decision: &mut Decision) -> &mut instar_planner::AnswerHook {
    match &mut decision.action {
        Action::AnswerHook(answer) => answer,
        action => panic!("{action:?}"),
    }
}

#[test]
fn a_go_past_a_gate_breaks_an_invariant() {
    assert_eq!(broken(|_, _| {}), []);
    let requires = |point: ApprovalPoint| {
        move |snapshot: &mut Snapshot, _: &mut Decision| {
            snapshot.approvals.required = [point].into();
        }
    };
    assert_eq!(broken(requires(ApprovalPoint::EachStep)), [Violation::GateClosed]);
    assert_eq!(broken(requires(ApprovalPoint::ControlPlane)), [Violation::GateClosed]);
    assert_eq!(broken(requires(ApprovalPoint::Workers)), []);
    let close = |snapshot: &mut Snapshot, _: &mut Decision| {
        snapshot.gates.insert(Gate::Window, closed("x"));
    };
    assert_eq!(broken(close), [Violation::GateClosed]);
    let unseen = |snapshot: &mut Snapshot, _: &mut Decision| {
        snapshot.addons.of_policies = [GatePoint::BeforeControlPlane].into();
    };
    assert_eq!(broken(unseen), [Violation::GateClosed]);
    assert_eq!(
        broken(|snapshot, _| control_plane(snapshot).observed.push(version("v1.32.5"))),
        [Violation::ControlPlaneMoving]
    );
    assert_eq!(
        broken(|snapshot, _| snapshot.upgrade_spec.paused = true),
        [Violation::Untouchable]
    );
    assert_eq!(
        broken(|snapshot, _| topology(snapshot).version = version("v1.36.5")),
        [Violation::Incomplete]
    );
    assert_eq!(
        broken(|snapshot, _| control_plane_goes(snapshot, "v1.34.5")),
        [Violation::Lowered]
    );
    assert_eq!(
        broken(|_, decision| answer(decision).resource_version = ResourceVersion("1".to_owned())),
        [Violation::NoCompare]
    );
    assert_eq!(
        broken(|_, decision| answer(decision).patch["spec"] = serde_json::json!({ "paused": true })),
        [Violation::NotOurs]
    );
    assert_eq!(
        broken(|_, decision| answer(decision).answer = None),
        [Violation::Incomplete, Violation::NotOurs]
    );
}

/// Windows and approvals come and go, Cluster API takes each step when it is let, and only then.
#[test]
fn no_step_is_taken_past_a_gate() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let mut snapshot = two_minors();
        if random.chance(50) {
            snapshot = with_machine_pool(snapshot, "v1.33.5");
        }
        snapshot.pools.clear();
        snapshot.machine_sets.clear();
        if random.chance(50) {
            snapshot.approvals.required.insert(ApprovalPoint::EachStep);
        }
        if random.chance(50) {
            snapshot.approvals.required.insert(ApprovalPoint::Workers);
        }
        let mut ticks = 0;
        while !snapshot.machine_pools.is_empty() || control_plane(&mut snapshot).version != version("v1.35.5") {
            ticks += 1;
            assert!(ticks < 500, "seed {seed}: {:?}", topology(&mut snapshot).hook_answer);
            let state = if random.chance(60) {
                GateState::Open { until: None }
            } else {
                closed("x")
            };
            snapshot.gates.insert(Gate::Window, state.clone());
            if random.chance(20) {
                approve(&mut snapshot, ApprovedPart::ControlPlane, STEPS[random.below(2)]);
            }
            if random.chance(10) {
                approve(&mut snapshot, ApprovedPart::Workers, "v1.35.5");
            }
            let decision = decide(&snapshot);
            write(&mut snapshot, &decision);
            let Some((part, step)) = let_go(&mut snapshot).filter(|_| random.chance(50)) else {
                continue;
            };
            let approvals = &snapshot.approvals;
            let point = match part {
                ApprovedPart::ControlPlane => ApprovalPoint::EachStep,
                ApprovedPart::Workers => ApprovalPoint::Workers,
            };
            let is_approved = approvals.given.contains(&(part, step.clone()));
            // What was let go for the step that is under way or done is not asked again.
            match part {
                ApprovedPart::ControlPlane if step > control_plane(&mut snapshot).version => {
                    assert!(matches!(state, GateState::Open { .. }), "seed {seed}");
                    assert!(
                        is_approved || !snapshot.approvals.required.contains(&point),
                        "seed {seed}: {step}"
                    );
                    control_plane_goes(&mut snapshot, &step.to_string());
                    topology(&mut snapshot).control_plane_plan.remove(0);
                }
                ApprovedPart::ControlPlane => {}
                ApprovedPart::Workers => {
                    assert!(matches!(state, GateState::Open { .. }), "seed {seed}");
                    assert!(
                        is_approved || !snapshot.approvals.required.contains(&point),
                        "seed {seed}: {step}"
                    );
                    snapshot.machine_pools.clear();
                }
            }
        }
    }
}
