//! Add-ons and gates of topology clusters: Cluster API takes the steps, so they hold the edit, the pools and the end.

use instar_api::{GATE_HISTORY_ANNOTATION, GatePoint};
use instar_planner::{
    Action, AddonGate, AddonId, AddonOwner, AddonProblem, AddonState, AskedPoint, Decision, GateHistory,
    ResourceVersion, Snapshot, Stage, check, follow,
};

use super::{asked, cluster, holds::World, topology};

const TARGET: &str = "v1.34.5";

fn closed() -> AddonState {
    AddonState::Closed {
        problem: AddonProblem::NotReady,
        message: "it is on its way".to_owned(),
        until: None,
    }
}

fn gate(point: &AskedPoint, state: AddonState) -> AddonGate {
    AddonGate {
        id: AddonId {
            owner: AddonOwner::Policy("p".to_owned()),
            name: "gate".to_owned(),
            when: point.when,
            version: point.version.clone(),
        },
        kind: "DaemonSet".to_owned(),
        object: "gate".to_owned(),
        state,
    }
}

/// What a caller decides that finds what is asked for: each gate is due when it is first asked for.
fn decide(snapshot: &mut Snapshot) -> Decision {
    loop {
        let decision = follow(snapshot);
        let unseen: Vec<AskedPoint> = decision.unseen().cloned().collect();
        if unseen.is_empty() {
            assert_eq!(check(snapshot, &decision), [], "{decision:#?}");
            return decision;
        }
        for point in unseen {
            let found = vec![gate(&point, AddonState::Due(None))];
            snapshot.addons.found.insert(point, found);
        }
    }
}

/// What is done until the end, where each gate opens when nothing else is left to do.
fn walk(world: &mut World) -> Vec<String> {
    let mut done = Vec::new();
    for _ in 0..100 {
        let decision = decide(&mut world.snapshot);
        match &decision.action {
            Action::BeginGates(begin) => {
                done.extend(begin.gates.iter().map(|id| format!("begin {} {}", id.when, id.version)));
                let text = begin.patch["metadata"]["annotations"][GATE_HISTORY_ANNOTATION]
                    .as_str()
                    .unwrap();
                let upgrade_spec = &mut world.snapshot.upgrade_spec;
                upgrade_spec.gate_history = GateHistory::from_annotation(text);
                upgrade_spec.resource_version = ResourceVersion(done.len().to_string());
                for found in world.snapshot.addons.found.values_mut().flatten() {
                    if begin.gates.contains(&found.id) {
                        found.state = closed();
                    }
                }
                continue;
            }
            Action::EditVersion(edit) => done.push(format!("edit {}", edit.target)),
            Action::HoldPool(hold) => done.push(format!("{:?} {}", hold.change, hold.name)),
            Action::Nothing if decision.progress.stage == Stage::Complete => return done,
            Action::Nothing => {
                let waits = decision
                    .waiting
                    .iter()
                    .any(|waiting| waiting.reason().as_str() == "AddonNotReady");
                if waits && done.last().is_none_or(|last| last != "open") {
                    done.push("open".to_owned());
                    for found in world.snapshot.addons.found.values_mut().flatten() {
                        found.state = AddonState::Open;
                    }
                    continue;
                }
            }
            _ => {}
        }
        world.write(&decision);
        world.cluster_api();
    }
    panic!("it doesn't end: {done:?}");
}

#[test]
fn the_edit_the_pools_and_the_end_wait() {
    let mut world = World::new(asked("v1.33.5", "v1.34"));
    world.snapshot.addons.of_policies = GatePoint::ALL.into();
    assert_eq!(
        walk(&mut world),
        [
            "begin BeforeControlPlane v1.34.5",
            "open",
            "Hold md-0",
            "Hold md-1",
            "edit v1.34.5",
            "begin AfterControlPlane v1.34.5",
            "open",
            "begin BeforeWorkers v1.34.5",
            "open",
            "Release md-0",
            "Release md-1",
            "begin AfterWorkers v1.34.5",
            "open",
        ]
    );
    world.assert_clean();
}

#[test]
fn an_edit_by_hand_is_held_at_its_pools_and_its_end() {
    let mut world = World::new(cluster("v1.33.5", TARGET));
    world.snapshot.addons.of_policies = [GatePoint::AfterControlPlane, GatePoint::AfterWorkers].into();
    assert_eq!(
        walk(&mut world),
        [
            "Hold md-0",
            "Hold md-1",
            "begin AfterControlPlane v1.34.5",
            "open",
            "Release md-0",
            "Release md-1",
            "begin AfterWorkers v1.34.5",
            "open",
        ]
    );
    world.assert_clean();
}

#[test]
fn gates_that_hold_no_workers_hold_no_pool() {
    let mut world = World::new(asked("v1.33.5", "v1.34"));
    world.snapshot.addons.of_policies = [GatePoint::AfterWorkers].into();
    assert_eq!(walk(&mut world), ["edit v1.34", "begin AfterWorkers v1.34.5", "open"]);
}

#[test]
fn what_was_there_before_passes_no_step() {
    let mut snapshot = asked("v1.34.5", "v1.34");
    topology(&mut snapshot).version_set_by = None;
    let mut world = World::new(snapshot);
    world.snapshot.addons.of_policies = [GatePoint::AfterControlPlane].into();
    assert_eq!(walk(&mut world), [""; 0]);
}
