//! The pools that go first.

use instar_planner::{CanaryRule, Condition, ConditionStatus, Decision, Observed, Stage, Target, check};
use jiff::SignedDuration;

use crate::{
    scenarios::decide_reading,
    world::{World, random::Random, version},
};

const TARGET: &str = "v1.34.5";

/// Three pools, of which md-1 goes first and runs for half an hour before the others follow.
fn world() -> World {
    world_at("v1.33.5", Target::Text(TARGET.to_owned()))
}

fn world_at(present: &str, target: Target) -> World {
    let mut world = World::new(present, 1, target);
    for pool in ["md-0", "md-1", "md-2"] {
        world.add_pool(pool, &version(present), 1);
    }
    world.canary = Some(CanaryRule {
        pools: 1,
        bake: SignedDuration::from_mins(30),
    });
    world.upgrade_spec.order = vec!["md-1".to_owned()];
    world
}

/// Goes on for so many times ten seconds.
fn pass(world: &mut World, random: &mut Random, ticks: usize) -> Decision {
    for _ in 0..ticks {
        let snapshot = world.snapshot();
        let decision = decide_reading(&snapshot);
        assert_eq!(check(&snapshot, &decision), [], "{decision:#?}");
        world.write(&decision.action);
        world.tick(random);
    }
    decide_reading(&world.snapshot())
}

/// The pools that say the target's version.
fn gone(world: &World) -> Vec<String> {
    let snapshot = world.snapshot();
    let pools = snapshot.pools.iter().filter_map(Observed::read);
    let gone = pools.filter(|pool| pool.version == version(TARGET));
    gone.map(|pool| pool.object.name.clone()).collect()
}

fn closed(decision: &Decision) -> Vec<String> {
    let gates = decision.waiting.iter();
    gates
        .filter(|waiting| waiting.reason().as_str() == "GateClosed")
        .map(ToString::to_string)
        .collect()
}

#[test]
fn the_others_follow_when_the_first_has_run_for_long_enough() {
    let (mut world, mut random) = (world(), Random::new(7));
    let mut decision = pass(&mut world, &mut random, 1);
    for _ in 0..200 {
        if gone(&world) == ["md-1"]
            && closed(&decision)
                .iter()
                .any(|gate| gate.contains("has been there since"))
        {
            break;
        }
        decision = pass(&mut world, &mut random, 1);
        assert!(
            gone(&world).is_empty() || gone(&world) == ["md-1"],
            "{:?}",
            gone(&world)
        );
    }
    let gate = closed(&decision);
    assert_eq!(gate.len(), 1, "{gate:?}");
    assert!(
        gate[0].starts_with("canary: MachineDeployment md-1 went first and has been there since ")
            && gate[0].contains(", until "),
        "{gate:?}"
    );
    // Half an hour is 180 times ten seconds.
    decision = pass(&mut world, &mut random, 150);
    assert_eq!((gone(&world), closed(&decision)), (vec!["md-1".to_owned()], gate));
    decision = pass(&mut world, &mut random, 150);
    assert_eq!(decision.progress.stage, Stage::Complete, "{decision:#?}");
}

#[test]
fn while_the_first_is_not_well_none_follows() {
    let (mut world, mut random) = (world(), Random::new(7));
    pass(&mut world, &mut random, 100);
    assert_eq!(gone(&world), ["md-1"]);
    let ill = Condition {
        kind: "Available".to_owned(),
        status: ConditionStatus::False,
        reason: "NotAvailable".to_owned(),
        message: "0 of 1".to_owned(),
        observed_generation: 0,
    };
    world.pools[1].object.object.conditions.push(ill);
    let decision = pass(&mut world, &mut random, 400);
    assert_eq!(
        closed(&decision),
        ["canary: MachineDeployment md-1 went first and isn't well, its condition Available is False: 0 of 1"]
    );
    assert_eq!(gone(&world), ["md-1"]);
    world.pools[1].object.object.conditions.clear();
    assert_eq!(pass(&mut world, &mut random, 150).progress.stage, Stage::Complete);
}

#[test]
fn a_pool_that_is_left_alone_does_not_go_first() {
    let (mut world, mut random) = (world(), Random::new(7));
    let hold = instar_planner::PoolOverride::Hold;
    world.upgrade_spec.pools.insert("md-1".to_owned(), hold);
    pass(&mut world, &mut random, 100);
    assert_eq!(gone(&world), ["md-0"]);
    assert_eq!(pass(&mut world, &mut random, 300).progress.stage, Stage::Complete);
    assert_eq!(gone(&world), ["md-0", "md-2"]);
}

#[test]
fn where_the_first_is_stuck_none_follows() {
    // Another release of the version that runs, so that no version tells who is behind.
    let target = Target::Release("v1.35.5-2".to_owned());
    let (mut world, mut random) = (world_at("v1.35.5", target), Random::new(7));
    world.approvals.required.insert(instar_api::ApprovalPoint::Workers);
    pass(&mut world, &mut random, 100);
    world.pause_pool("md-1", instar_planner::Lifecycle::Paused);
    world.approvals.required.clear();
    let decision = pass(&mut world, &mut random, 200);
    assert_eq!(
        closed(&decision),
        ["canary: MachineDeployment md-1 has to arrive first"]
    );
    let snapshot = world.snapshot();
    let mut pools = snapshot.pools.iter().filter_map(Observed::read);
    assert!(
        pools.all(|pool| pool.object.swap_history.is_none()),
        "no pool was swapped"
    );
}
