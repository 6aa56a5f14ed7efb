//! Add-ons and gates: where an upgrade asks for them, and what it does meanwhile.

use instar_api::{GATE_HISTORY_ANNOTATION, GatePoint};
use instar_planner::{
    Action, AddonGate, AddonProblem, AddonState, AskedPoint, BeginGates, Decision, Snapshot, Stage, Target, Violation,
    Waiting, check, plan,
};
use serde_json::json;

use crate::world::{World, api::Answer, random::Random, version};

/// What a caller decides that finds what is asked for.
fn decide(world: &mut World) -> (Snapshot, Decision) {
    let mut snapshot = world.snapshot();
    loop {
        let decision = plan(&snapshot);
        let unseen: Vec<AskedPoint> = decision.unseen().cloned().collect();
        if unseen.is_empty() {
            assert_eq!(check(&snapshot, &decision), []);
            return (snapshot, decision);
        }
        assert!(
            !matches!(
                decision.action,
                Action::SwapControlPlane(_) | Action::SwapWorkers(_) | Action::BeginGates(_)
            ),
            "nothing passes what is not known"
        );
        for point in unseen {
            let found = world.addon(&point);
            assert!(
                snapshot.addons.found.insert(point, found).is_none(),
                "it is asked for once"
            );
        }
    }
}

fn closed() -> AddonState {
    AddonState::Closed {
        problem: AddonProblem::NotReady,
        message: "it is on its way".to_owned(),
        until: None,
    }
}

/// What is done until the end, where each gate opens when nothing else is left to do.
fn walk(world: &mut World) -> Vec<String> {
    let mut random = Random::new(1);
    let mut done = Vec::new();
    for _ in 0..1_000 {
        let (_, decision) = decide(world);
        match &decision.action {
            Action::SwapControlPlane(swap) | Action::SwapWorkers(swap) => {
                done.push(format!("{} to {}", swap.pool, swap.version));
            }
            Action::BeginGates(begin) => {
                done.extend(begin.gates.iter().map(|id| format!("begin {} {}", id.when, id.version)));
            }
            Action::Nothing if decision.progress.stage == Stage::Complete => return done,
            Action::Nothing => {
                let waits = |waiting: &Waiting| matches!(waiting, Waiting::AddonClosed(_));
                if !decision.waiting.is_empty() && decision.waiting.iter().all(waits) {
                    for state in world
                        .addon_gates
                        .states
                        .values_mut()
                        .filter(|state| **state == closed())
                    {
                        *state = AddonState::Open;
                    }
                }
            }
            Action::MintTemplate(_)
            | Action::PinPath(_)
            | Action::RecordConvergence(_)
            | Action::PatchMachinePool(_)
            | Action::DeleteTemplate(_)
            | Action::EditVersion(_)
            | Action::CompletePins(_)
            | Action::HoldPool(_)
            | Action::SetConcurrency(_)
            | Action::AnswerHook(_)
            | Action::RestoreVersionCheck(_)
            | Action::FollowRelease(_)
            | Action::DeleteMachine(_) => {}
        }
        assert_eq!(world.write(&decision.action), Answer::Done);
        world.tick(&mut random);
    }
    panic!("it doesn't end: {done:?}");
}

fn world(from: &str, to: &str, points: &[GatePoint]) -> World {
    let mut world = World::new(from, 1, Target::Text(to.to_owned()));
    world.add_pool("md-0", &version(from), 1);
    world.addon_gates.points = points.iter().copied().collect();
    world
}

#[test]
fn each_step_of_the_control_plane_has_its_own_and_the_workers_come_after_the_last() {
    let mut world = world("v1.33.5", "v1.35.5", &GatePoint::ALL);
    assert_eq!(
        walk(&mut world),
        [
            "begin BeforeControlPlane v1.34.5",
            "the control plane to v1.34.5",
            "begin AfterControlPlane v1.34.5",
            "begin BeforeControlPlane v1.35.5",
            "the control plane to v1.35.5",
            "begin AfterControlPlane v1.35.5",
            "begin BeforeWorkers v1.35.5",
            "MachineDeployment md-0 to v1.35.5",
            "begin AfterWorkers v1.35.5",
        ]
    );
}

#[test]
fn a_cluster_without_workers_waits_for_what_comes_after_its_control_plane() {
    let mut world = world("v1.34.5", "v1.35.5", &[GatePoint::AfterControlPlane]);
    world.pools.clear();
    world.sets.clear();
    world
        .machines
        .retain(|machine| machine.pool == Some(instar_planner::PoolId::ControlPlane));
    assert_eq!(
        walk(&mut world),
        ["the control plane to v1.35.5", "begin AfterControlPlane v1.35.5"]
    );
}

#[test]
fn what_is_at_its_target_passes_no_step() {
    let mut world = world("v1.35.5", "v1.35", &GatePoint::ALL);
    assert_eq!(walk(&mut world), ["begin AfterWorkers v1.35.5"]);
}

#[test]
fn a_gate_that_closes_again_holds_what_has_not_gone_yet() {
    let mut world = world("v1.34.5", "v1.35.5", &[GatePoint::BeforeWorkers]);
    world.add_pool("md-1", &version("v1.34.5"), 1);
    let mut random = Random::new(1);
    let mut gone = 0;
    for _ in 0..200 {
        let (_, decision) = decide(&mut world);
        gone += usize::from(matches!(decision.action, Action::SwapWorkers(_)));
        assert_eq!(world.write(&decision.action), Answer::Done);
        for state in world
            .addon_gates
            .states
            .values_mut()
            .filter(|state| **state != AddonState::Due(None))
        {
            *state = if gone == 0 { AddonState::Open } else { closed() };
        }
        world.tick(&mut random);
    }
    let (_, decision) = decide(&mut world);
    assert_eq!(gone, 1);
    assert_eq!(
        decision.waiting.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["gate gate of UpgradePolicy p (BeforeWorkers v1.35.5): it is on its way"]
    );
    assert_eq!(decision.waiting[0].reason().as_str(), "AddonNotReady");
}

#[test]
fn what_fails_or_is_not_known_holds_it() {
    for (problem, reason, stage) in [
        (AddonProblem::NotReady, "AddonNotReady", Stage::ControlPlane),
        (AddonProblem::Failed, "AddonFailed", Stage::Held),
        (AddonProblem::Unknown, "AddonUnknown", Stage::Held),
        (AddonProblem::TimedOut, "AddonTimedOut", Stage::Held),
    ] {
        let mut world = world("v1.34.5", "v1.35.5", &[GatePoint::BeforeControlPlane]);
        let (_, first) = decide(&mut world);
        assert!(matches!(first.action, Action::BeginGates(_)), "{first:?}");
        for state in world.addon_gates.states.values_mut() {
            *state = AddonState::Closed {
                problem,
                message: "x".to_owned(),
                until: None,
            };
        }
        let (_, decision) = decide(&mut world);
        assert_eq!(decision.action, Action::Nothing);
        assert_eq!(decision.waiting[0].reason().as_str(), reason);
        assert_eq!(decision.progress.stage, stage, "{problem:?}");
    }
}

type Change = fn(&mut BeginGates, &mut Snapshot);

#[test]
fn a_beginning_that_breaks_a_rule_is_found() {
    let mut world = world("v1.34.5", "v1.35.5", &[GatePoint::BeforeControlPlane]);
    let (snapshot, decision) = decide(&mut world);
    let cases: [(Violation, Change); 6] = [
        (Violation::UnknownObject, |begin, _| begin.name = "other".to_owned()),
        (Violation::NoCompare, |begin, _| {
            begin.patch["metadata"]["resourceVersion"] = json!(null);
        }),
        (Violation::Incomplete, |begin, _| {
            begin.patch["metadata"]["annotations"][GATE_HISTORY_ANNOTATION] = json!("{}");
        }),
        (Violation::NotOurs, |begin, _| {
            begin.patch["spec"] = json!({ "target": "v1.36" });
        }),
        (Violation::GateClosed, |_, snapshot| {
            let found: Vec<&mut AddonGate> = snapshot.addons.found.values_mut().flatten().collect();
            for gate in found {
                gate.state = AddonState::Open;
            }
        }),
        (Violation::Untouchable, |_, snapshot| {
            snapshot.upgrade_spec.paused = true;
        }),
    ];
    for (violation, change) in cases {
        let (mut snapshot, mut decision) = (snapshot.clone(), decision.clone());
        let Action::BeginGates(begin) = &mut decision.action else {
            panic!("{decision:?}");
        };
        change(begin, &mut snapshot);
        let found = check(&snapshot, &decision);
        assert!(found.contains(&violation), "{violation:?} isn't found, but {found:?}");
    }
}
