//! What the Runtime Hooks answer: a Cluster API that asks before each step, and never takes one that wasn't let go.

use instar_api::{ApprovalPoint, ApprovedPart, GatePoint, HOOK_ANSWER_ANNOTATION, HookAnswer, HookVerdict};
use instar_domain::KubeVersion;
use instar_planner::{
    Action, ConditionStatus, Decision, Gate, GateState, Lifecycle, ManagedBy, Observed, ResourceVersion, RuntimeHooks,
    Snapshot, Stage, Target, Unreadable, Violation, check, release_held,
};
use jiff::{SignedDuration, Timestamp};

use super::{
    asked, cluster, control_plane, control_plane_goes, decide, pins, pools, says, topology, words, workers_go,
};
use crate::world::{closed, machine_pools::machine_pool, random::Random, version};

pub(super) const STEPS: [&str; 2] = ["v1.34.5", "v1.35.5"];

/// Two minors to go, of which Cluster API asks before each.
pub(super) fn two_minors() -> Snapshot {
    let mut snapshot = cluster("v1.33.5", "v1.35.5");
    let topology = topology(&mut snapshot);
    topology.pins = Some(pins("v1.33.5", &STEPS));
    topology.hooks = RuntimeHooks::On;
    topology.control_plane_plan = STEPS.map(version).into();
    topology.workers_plan = vec![version("v1.35.5")];
    snapshot
}

pub(super) fn with_machine_pool(mut snapshot: Snapshot, at: &str) -> Snapshot {
    let mut pool = machine_pool("mp-0", at, &[at]);
    pool.object.managed_by = ManagedBy::Topology;
    snapshot.machine_pools = vec![Observed::Read(pool)];
    snapshot
}

fn approve(snapshot: &mut Snapshot, part: ApprovedPart, step: &str) {
    snapshot.approvals.given.insert((part, version(step)));
}

/// Takes over what a decision writes.
pub(super) fn write(snapshot: &mut Snapshot, decision: &Decision) {
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
        HookVerdict::Go { until: None } => format!("{part} {step}: go"),
        HookVerdict::Go { until: Some(until) } => format!("{part} {step}: go until {until}"),
        HookVerdict::Hold { reason, .. } => format!("{part} {step}: {reason}"),
    }
}

/// What the hook lets begin at this moment: the admission server knows the time, whoever is down.
pub(super) fn let_go(snapshot: &mut Snapshot) -> Option<(ApprovedPart, KubeVersion)> {
    let answer = HookAnswer::from_annotation(topology(snapshot).hook_answer.as_deref()?)?;
    match answer.verdict {
        HookVerdict::Go { until } if until.is_none_or(|until| snapshot.now < until) => Some((answer.part, answer.step)),
        HookVerdict::Go { .. } | HookVerdict::Hold { .. } => None,
    }
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

    // Cluster API repeats our answer: what it waits for is said once. What another extension holds is named too.
    let answer = topology(&mut snapshot).hook_answer.clone().unwrap();
    let answer = HookAnswer::from_annotation(&answer)
        .unwrap()
        .verdict
        .hold_message()
        .unwrap();
    let mut named = |others: &str| {
        let message = format!("Following hooks are blocking upgrade: BeforeControlPlaneUpgrade: {answer}{others}");
        says(&mut snapshot, ConditionStatus::False, "ClusterUpgrading", &message);
        let held = decide(&snapshot);
        assert_eq!(held.progress.stage, Stage::Held);
        words(&held)
            .iter()
            .filter(|row| row.starts_with("HookBlocking"))
            .count()
    };
    assert_eq!(
        (
            named(""),
            named("\n  * KubeadmControlPlane pending upgrade"),
            named(", not yet")
        ),
        (0, 0, 1)
    );
    says(
        &mut snapshot,
        ConditionStatus::False,
        "ClusterUpgrading",
        "Cluster is upgrading to v1.35.5",
    );

    approve(&mut snapshot, ApprovedPart::ControlPlane, "v1.34.5");
    assert_eq!(answered(&mut snapshot), "ControlPlane v1.34.5: go");
    assert_eq!(decide(&snapshot).progress.stage, Stage::ControlPlane);

    // While it rolls, nothing is asked, also not for the approval of the next step.
    control_plane_goes(&mut snapshot, "v1.34.5");
    topology(&mut snapshot).control_plane_plan = vec![version("v1.35.5")];
    control_plane(&mut snapshot).observed.push(version("v1.33.5"));
    assert_eq!(
        answered(&mut snapshot),
        "ControlPlane v1.35.5: the control plane has yet to be at v1.34.5 with all its machines (see status.health of the \
         ClusterUpgrade)"
    );
    assert_eq!(answered(&mut snapshot), "as before");
    assert_eq!(decide(&snapshot).progress.stage, Stage::ControlPlane);
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
fn what_is_let_go_ends_with_its_window() {
    let mut snapshot = two_minors();
    snapshot.pools.clear();
    let until: Timestamp = "2026-12-05T21:00:00Z".parse().unwrap();
    let open = GateState::Open { until: Some(until) };
    snapshot.gates.insert(Gate::Window, open);
    let go = "ControlPlane v1.34.5: go until 2026-12-05T21:00:00Z";
    assert_eq!(answered(&mut snapshot), go);
    snapshot.now = until - SignedDuration::from_secs(1);
    assert_eq!(answered(&mut snapshot), "as before");
    assert!(let_go(&mut snapshot).is_some());
    snapshot.now = until;
    assert_eq!(let_go(&mut snapshot), None);

    let outlasts = |until: Option<Timestamp>| {
        broken(|snapshot, decision| {
            let open = GateState::Open {
                until: Some("2026-12-05T21:00:00Z".parse().unwrap()),
            };
            snapshot.gates.insert(Gate::Window, open);
            let answer = answer(decision);
            let go = answer.answer.as_mut().unwrap();
            go.verdict = HookVerdict::Go { until };
            answer.patch["metadata"]["annotations"][HOOK_ANSWER_ANNOTATION] = go.to_annotation().into();
        })
    };
    assert_eq!(outlasts(Some(until)), []);
    assert_eq!(outlasts(None), [Violation::GateClosed]);
    assert_eq!(
        outlasts(Some(until + SignedDuration::from_secs(1))),
        [Violation::GateClosed]
    );
}

#[test]
fn what_holds_the_upgrade_as_a_whole_takes_back_what_was_let_go() {
    let let_go = || {
        let mut snapshot = two_minors();
        snapshot.pools.clear();
        assert_eq!(answered(&mut snapshot), "ControlPlane v1.34.5: go");
        snapshot
    };
    let mut paused = let_go();
    paused.upgrade_spec.paused = true;
    let upgrade = &paused.upgrade_spec.upgrade;
    let taken_back = format!("ControlPlane v1.34.5: ClusterUpgrade {upgrade} is paused");
    assert_eq!(answered(&mut paused), taken_back);
    assert_eq!(answered(&mut paused), "as before");
    paused.upgrade_spec.paused = false;
    assert_eq!(answered(&mut paused), "ControlPlane v1.34.5: go");
    // Nobody writes to a Cluster that is paused: it may be on its way to another management cluster.
    paused.upgrade_spec.paused = true;
    paused.cluster.lifecycle = Lifecycle::Paused;
    assert_eq!(answered(&mut paused), "as before");

    let mut unreadable = let_go();
    unreadable.unreadable.push(Unreadable {
        kind: "MachineDeployment".to_owned(),
        name: "md-0".to_owned(),
        reason: "why".to_owned(),
    });
    let taken_back = "ControlPlane v1.34.5: MachineDeployment md-0 can't be read: why";
    let without_upgrade = release_held(&unreadable);
    assert_eq!(check(&unreadable, &without_upgrade), []);
    assert_eq!(without_upgrade.action, decide(&unreadable).action);
    assert_eq!(answered(&mut unreadable), taken_back);

    // What was let go for another target counts for nothing as it is.
    let mut other = let_go();
    topology(&mut other).version = version("v1.36.5");
    other.upgrade_spec.paused = true;
    assert_eq!(answered(&mut other), "as before");

    let mut superseded = let_go();
    superseded.upgrade_spec.target = Target::Text("v1.34.5".to_owned());
    let text = answered(&mut superseded);
    assert!(
        text.starts_with("ControlPlane v1.34.5: ") && !text.ends_with("go"),
        "{text}"
    );
}

#[test]
fn nothing_is_let_go_while_workers_roll() {
    let mut snapshot = two_minors();
    control_plane_goes(&mut snapshot, "v1.34.5");
    topology(&mut snapshot).control_plane_plan = vec![version("v1.35.5")];
    assert_eq!(answered(&mut snapshot), "ControlPlane v1.35.5: go");
    for pool in pools(&mut snapshot).take(1) {
        pool.version = version("v1.34.5");
    }
    assert_eq!(
        answered(&mut snapshot),
        "ControlPlane v1.35.5: MachineDeployment md-0 has machines that aren't at v1.34.5 yet"
    );
    assert_eq!(decide(&snapshot).progress.stage, Stage::ControlPlane);
    workers_go(&mut snapshot, "v1.34.5");
    assert_eq!(answered(&mut snapshot), "ControlPlane v1.35.5: go");

    snapshot.pools.clear();
    let mut snapshot = with_machine_pool(snapshot, "v1.34.5");
    assert_eq!(answered(&mut snapshot), "as before");
    for pool in &mut snapshot.machine_pools {
        if let Observed::Read(pool) = pool {
            pool.observed.push(version("v1.33.5"));
        }
    }
    assert_eq!(
        answered(&mut snapshot),
        "ControlPlane v1.35.5: MachinePool mp-0 has machines that aren't at v1.34.5 yet"
    );
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
    let upgrade = &snapshot.upgrade_spec.upgrade;
    let held = format!("ControlPlane v1.34.5: ClusterUpgrade {upgrade} is paused");
    assert_eq!(answered(&mut snapshot), held);
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
            snapshot.now += SignedDuration::from_hours(1);
            // While the controller is down, a window closes at its time, and nothing else changes.
            let is_down = random.chance(20);
            let ends =
                |state: &GateState| matches!(state, GateState::Open { until: Some(until) } if *until <= snapshot.now);
            let state = match snapshot.gates.get(&Gate::Window) {
                Some(state) if is_down && ends(state) => closed("x"),
                Some(state) if is_down => state.clone(),
                Some(_) | None if random.chance(60) => GateState::Open {
                    until: random
                        .chance(50)
                        .then(|| snapshot.now + SignedDuration::from_hours(1 + i64::from(random.chance(50)))),
                },
                Some(_) | None => closed("x"),
            };
            snapshot.gates.insert(Gate::Window, state.clone());
            if !is_down {
                snapshot.upgrade_spec.paused = random.chance(10);
            }
            if random.chance(20) {
                approve(&mut snapshot, ApprovedPart::ControlPlane, STEPS[random.below(2)]);
            }
            if random.chance(10) {
                approve(&mut snapshot, ApprovedPart::Workers, "v1.35.5");
            }
            if !is_down {
                let decision = decide(&snapshot);
                write(&mut snapshot, &decision);
            }
            let Some((part, step)) = let_go(&mut snapshot).filter(|_| random.chance(50)) else {
                continue;
            };
            let is_paused = snapshot.upgrade_spec.paused;
            let approvals = &snapshot.approvals;
            let point = match part {
                ApprovedPart::ControlPlane => ApprovalPoint::EachStep,
                ApprovedPart::Workers => ApprovalPoint::Workers,
            };
            let is_approved = approvals.given.contains(&(part, step.clone()));
            // What was let go for the step that is under way or done is not asked again.
            match part {
                ApprovedPart::ControlPlane if step > control_plane(&mut snapshot).version => {
                    assert!(!is_paused, "seed {seed}");
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
                    assert!(!is_paused, "seed {seed}");
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
