//! What add-ons had before goes back, the last one first, each before what it was set after.

use instar_api::GatePoint;
use instar_planner::{
    Action, AddonState, AskedPoint, Decision, JoinRule, MinorRollback, NoWayBack, RollbackScope, Snapshot, Stage,
    Target, ValueBefore, Violation, Waiting, check, plan, way_back,
};

use crate::{
    stuck::{bad, is_stuck, with_a_bad_row},
    way_back::{at_a_release, take_back},
    world::{World, addons::Sets, api::Answer, random::Random, version},
};

fn decide(world: &mut World) -> (Snapshot, Decision) {
    let mut snapshot = world.snapshot();
    loop {
        let decision = plan(&snapshot);
        let unseen: Vec<AskedPoint> = decision.unseen().cloned().collect();
        if unseen.is_empty() {
            assert_eq!(check(&snapshot, &decision), []);
            return (snapshot, decision);
        }
        for point in unseen {
            let found = world.addon(&point);
            snapshot.addons.found.insert(point, found);
        }
    }
}

/// What is done until an end or a moment, where each gate opens when nothing else is left to do.
pub fn walk(world: &mut World, until: impl Fn(&Decision) -> bool) -> Vec<String> {
    let (mut random, mut done) = (Random::new(1), Vec::new());
    for _ in 0..1_000 {
        let (_, decision) = decide(world);
        if until(&decision) || (decision.progress.stage == Stage::Complete && decision.action == Action::Nothing) {
            return done;
        }
        match &decision.action {
            Action::SwapControlPlane(swap) | Action::SwapWorkers(swap) => {
                done.push(format!("{} to {}", swap.pool, swap.version));
            }
            Action::BeginGates(begin) => {
                done.extend(begin.gates.iter().map(|id| format!("{} {}", id.when, id.version)));
            }
            Action::PinPath(_) => done.push("pin".to_owned()),
            Action::Nothing => {
                let gates = &mut world.addon_gates;
                for state in gates.states.values_mut().chain(gates.back.values_mut()) {
                    if let AddonState::Closed { .. } = state {
                        *state = AddonState::Open;
                    }
                }
            }
            Action::MintTemplate(_)
            | Action::RecordConvergence(_)
            | Action::PatchMachinePool(_)
            | Action::DeleteTemplate(_)
            | Action::EditVersion(_)
            | Action::CompletePins(_)
            | Action::HoldPool(_)
            | Action::SetConcurrency(_)
            | Action::AnswerHook(_)
            | Action::FollowRelease(_)
            | Action::DeleteMachine(_)
            | Action::RestoreVersionCheck(_) => {}
        }
        assert_eq!(world.write(&decision.action), Answer::Done);
        world.tick(&mut random);
    }
    panic!("it doesn't end: {done:?}");
}

pub fn never(_: &Decision) -> bool {
    false
}

/// Over two minors, with an add-on at each point.
fn world() -> World {
    let mut world = at_a_release("v1.34.5", "3.6.5-0", "v1.36.5");
    world.add_pool("md-0", &version("v1.34.5"), 1);
    world.pools[0].object.joins = JoinRule::AnyMinor;
    world.addon_gates.points = GatePoint::ALL.into();
    world.addon_gates.sets = Sets::Something;
    "as it was".clone_into(&mut world.addon_gates.value);
    world
}

#[test]
fn each_goes_back_before_what_it_was_set_after() {
    let mut world = world();
    walk(&mut world, never);
    assert_eq!(world.addon_gates.value, "AfterWorkers v1.36.5");
    let said = |world: &World| -> Vec<String> {
        let said = way_back(&world.snapshot(), &world.upgrade_spec.id()).unwrap();
        let addons = said.addons.iter();
        addons
            .map(|addon| format!("{:?} {} {}", addon.step, addon.id.when, addon.id.version))
            .collect()
    };
    // No policy lets the control plane go: the workers alone can.
    let of_workers = ["Some(0) AfterWorkers v1.36.5", "Some(1) BeforeWorkers v1.36.5"];
    assert_eq!(said(&world), of_workers);
    world.minor_rollback = MinorRollback::Allow;
    assert_eq!(
        said(&world),
        [
            "Some(0) AfterWorkers v1.36.5",
            "Some(1) BeforeWorkers v1.36.5",
            "Some(1) AfterControlPlane v1.36.5",
            "Some(2) BeforeControlPlane v1.36.5",
            "Some(2) AfterControlPlane v1.35.5",
            "Some(3) BeforeControlPlane v1.35.5",
        ]
    );
    take_back(&mut world, RollbackScope::All, MinorRollback::Allow);
    assert_eq!(
        walk(&mut world, never),
        [
            "pin",
            "AfterWorkers v1.36.5",
            "MachineDeployment md-0 to v1.34.5",
            "BeforeWorkers v1.36.5",
            "AfterControlPlane v1.36.5",
            "the control plane to v1.35.5",
            "BeforeControlPlane v1.36.5",
            "AfterControlPlane v1.35.5",
            "the control plane to v1.34.5",
            "BeforeControlPlane v1.35.5",
        ]
    );
    assert_eq!(world.addon_gates.value, "as it was");
}

#[test]
fn of_workers_alone_goes_back_what_was_set_after_the_control_plane_had_arrived() {
    let mut world = world();
    walk(&mut world, never);
    take_back(&mut world, RollbackScope::Workers, MinorRollback::Refuse);
    assert_eq!(
        walk(&mut world, never),
        [
            "pin",
            "AfterWorkers v1.36.5",
            "MachineDeployment md-0 to v1.34.5",
            "BeforeWorkers v1.36.5",
        ]
    );
    assert_eq!(world.addon_gates.value, "AfterControlPlane v1.36.5");
}

#[test]
fn of_workers_alone_stays_what_was_set_before_a_later_release_of_the_control_plane() {
    let mut world = world();
    walk(&mut world, never);
    let set = &mut world.upgrade_spec.gate_history.set;
    let mut earlier = set[0].clone();
    assert_eq!(earlier.id.version, version("v1.35.5"));
    for when in [GatePoint::AfterWorkers, GatePoint::BeforeWorkers] {
        earlier.id.when = when;
        set.insert(0, earlier.clone());
    }
    take_back(&mut world, RollbackScope::Workers, MinorRollback::Refuse);
    assert_eq!(
        walk(&mut world, never),
        [
            "pin",
            "AfterWorkers v1.36.5",
            "MachineDeployment md-0 to v1.34.5",
            "BeforeWorkers v1.36.5",
        ]
    );
    // It doesn't end before the others.
    let (mut snapshot, end) = decide(&mut world);
    let kept = std::mem::take(&mut snapshot.upgrade_spec.gate_history.gates);
    assert!(!kept.is_empty());
    assert!(check(&snapshot, &end).contains(&Violation::GateClosed));
}

#[test]
fn what_was_set_before_the_first_swap_goes_back_though_nothing_was_swapped() {
    let mut world = world();
    world.upgrade_spec.started = Some(world.now);
    walk(&mut world, |decision| {
        decision.action == Action::Nothing && decision.waiting[0].reason().as_str() == "AddonNotReady"
    });
    assert_eq!(
        (world.swaps, world.addon_gates.value.as_str()),
        (0, "BeforeControlPlane v1.35.5")
    );
    let said = way_back(&world.snapshot(), &world.upgrade_spec.id()).unwrap();
    assert_eq!((said.refused.len(), said.workers_refused.len()), (0, 1), "{said:#?}");
    take_back(&mut world, RollbackScope::All, MinorRollback::Refuse);
    assert_eq!(walk(&mut world, never), ["pin", "BeforeControlPlane v1.35.5"]);
    assert_eq!(world.addon_gates.value, "as it was");
}

#[test]
fn what_an_upgrade_before_the_last_one_has_set_stays() {
    let mut world = world();
    let began = world.now;
    walk(&mut world, never);
    world.upgrade_spec.upgrade = "before".to_owned();
    world.upgrade_spec.started = Some(began);
    take_back(&mut world, RollbackScope::All, MinorRollback::Allow);
    let (_, decision) = decide(&mut world);
    let nothing: Waiting = Waiting::NoWayBack(Box::new(NoWayBack::NothingChanged {
        upgrade: "before".to_owned(),
    }));
    assert_eq!(decision.waiting[0], nothing);
}

#[test]
fn after_a_stuck_step_each_goes_back_after_the_step_that_needs_it() {
    let mut world = at_a_release("v1.34.1", "3.6.5-0", "v1.35.5");
    with_a_bad_row(&mut world, "v1.35.5");
    world.addon_gates.points = [GatePoint::BeforeControlPlane].into();
    world.addon_gates.sets = Sets::Something;
    "as it was".clone_into(&mut world.addon_gates.value);
    world.upgrade_spec.target = bad("v1.35.5");
    walk(&mut world, |decision| {
        matches!(decision.action, Action::SwapControlPlane(_))
    });
    let mut random = Random::new(5);
    while !is_stuck(&world) {
        let (_, decision) = decide(&mut world);
        world.write(&decision.action);
        world.tick(&mut random);
    }
    world.upgrade_spec.target = Target::Text("v1.35.5-2".to_owned());
    walk(&mut world, never);
    take_back(&mut world, RollbackScope::All, MinorRollback::Allow);
    assert_eq!(
        walk(&mut world, never),
        [
            "pin",
            "the control plane to v1.34.1",
            "BeforeControlPlane v1.35.5",
            "BeforeControlPlane v1.35.5",
        ]
    );
    assert_eq!(world.addon_gates.value, "as it was");
}

#[test]
fn what_has_begun_before_the_first_step_goes_back_at_the_end() {
    let mut world = world();
    let is_gate = |decision: &Decision| matches!(decision.action, Action::SwapControlPlane(_));
    walk(&mut world, is_gate);
    let (_, swap) = decide(&mut world);
    assert_eq!(world.write(&swap.action), Answer::Done);
    take_back(&mut world, RollbackScope::All, MinorRollback::Refuse);
    // What is under way turns around at once, whatever add-ons say.
    assert_eq!(
        walk(&mut world, never),
        ["pin", "the control plane to v1.34.5", "BeforeControlPlane v1.35.5"]
    );
    assert_eq!(world.addon_gates.value, "as it was");
}

#[test]
fn what_cannot_be_set_back_holds_the_rollback_until_it_is_kept() {
    let mut world = world();
    walk(&mut world, never);
    take_back(&mut world, RollbackScope::All, MinorRollback::Allow);
    walk(&mut world, |decision| {
        decision.action == Action::Nothing && !decision.waiting.is_empty()
    });
    let (snapshot, held) = decide(&mut world);
    assert_eq!(held.waiting[0].reason().as_str(), "AddonNotReady", "{held:#?}");
    // The workers wouldn't go past it.
    let mut free = snapshot.clone();
    free.addons.taken_back = Some(Vec::new());
    let swap = plan(&free);
    assert!(matches!(swap.action, Action::SwapWorkers(_)), "{swap:#?}");
    assert!(check(&snapshot, &swap).contains(&Violation::GateClosed));

    world.upgrade_spec.keep_addons = vec!["gate".to_owned()];
    let (_, decision) = decide(&mut world);
    assert!(matches!(decision.action, Action::SwapWorkers(_)), "{decision:#?}");
    walk(&mut world, never);
    let (_, end) = decide(&mut world);
    let stay = |waiting: &&Waiting| matches!(waiting, Waiting::NoWayBack(reason) if matches!(**reason, NoWayBack::Addon { .. }));
    assert_eq!(end.waiting.iter().filter(stay).count(), 6);
    assert_eq!(
        end.waiting.iter().find(stay).unwrap().to_string(),
        "add-on gate of KubernetesRelease v1.35.5-2 (BeforeControlPlane v1.35.5) stays as the upgrade has set it, since \
         spec.keepAddons of the rollback names it"
    );
}

#[test]
fn what_is_not_kept_stays_and_says_so() {
    let mut world = world();
    walk(&mut world, never);
    for set in &mut world.upgrade_spec.gate_history.set {
        set.before = ValueBefore::NotKept;
    }
    take_back(&mut world, RollbackScope::All, MinorRollback::Allow);
    assert_eq!(
        walk(&mut world, never),
        [
            "pin",
            "MachineDeployment md-0 to v1.34.5",
            "the control plane to v1.35.5",
            "the control plane to v1.34.5",
        ]
    );
    let (_, end) = decide(&mut world);
    let reasons: Vec<&str> = end.waiting.iter().map(|waiting| waiting.reason().as_str()).collect();
    assert!(reasons.contains(&"NotTakenBack"), "{reasons:?}");
}
