//! Pools of a topology cluster that go first.

use instar_api::{ApprovalPoint, SWAP_HISTORY_ANNOTATION};
use instar_planner::{
    Action, CanaryRule, Condition, ConditionStatus, Decision, Gate, GateState, Hold, Lifecycle, Observed, PoolId,
    Rollout, Snapshot, Stage, Strategy, Violation, check,
};
use jiff::SignedDuration;

use super::{
    asked_of, cluster_of, decide,
    holds::{World, written},
    pools, topology,
};
use crate::world::{closed, random::Random, reference, version};

const TARGET: &str = "v1.34.5";
const POOLS: [&str; 3] = ["md-0", "md-1", "md-2"];
const BAKE: SignedDuration = SignedDuration::from_mins(30);

/// Three pools, of which the last by name goes first, and runs for half an hour before the others follow.
fn world() -> World {
    let mut snapshot = asked_of(cluster_of("v1.33.5", "v1.33.5", &POOLS), "v1.34");
    snapshot.canary = Some(CanaryRule { pools: 1, bake: BAKE });
    snapshot.upgrade_spec.order = vec!["md-2".to_owned()];
    World::new(snapshot)
}

/// A pass of the controller and one of Cluster API, a minute after the last one; what was written.
fn minute(world: &mut World) -> String {
    let decision = world.decide_and_write();
    world.cluster_api();
    world.snapshot.now += SignedDuration::from_mins(1);
    written(&decision)
}

/// What is written until a text is, or for so many minutes.
fn until(world: &mut World, text: &str) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..120 {
        let wrote = minute(world);
        let is_it = wrote == text;
        if wrote != "nothing" {
            all.push(wrote);
        }
        if is_it {
            return all;
        }
    }
    panic!("{text} isn't written: {all:?}, {:#?}", decide(&world.snapshot).waiting);
}

fn to_the_end(world: &mut World) -> Decision {
    for _ in 0..150 {
        minute(world);
    }
    decide(&world.snapshot)
}

fn gate(decision: &Decision) -> Vec<String> {
    let waiting = decision.waiting.iter();
    waiting
        .filter(|waiting| waiting.reason().as_str() == "GateClosed")
        .map(ToString::to_string)
        .collect()
}

fn ill() -> Condition {
    Condition {
        kind: "MachinesReady".to_owned(),
        status: ConditionStatus::False,
        reason: "NotReady".to_owned(),
        message: "1 of 2".to_owned(),
        observed_generation: 0,
    }
}

fn without_machines(world: &mut World, name: &str) {
    let id = PoolId::Workers(name.to_owned());
    world.snapshot.machines.retain(|machine| match machine {
        Observed::Read(machine) => machine.pool.as_ref() != Some(&id),
        Observed::Invalid(_) => true,
    });
    for set in &mut world.snapshot.machine_sets {
        if let Observed::Read(set) = set
            && set.pool.as_deref() == Some(name)
        {
            set.replicas = 0;
        }
    }
}

fn delete(world: &mut World, name: &str) {
    without_machines(world, name);
    world.snapshot.pools.retain(|pool| match pool {
        Observed::Read(pool) => pool.object.name != name,
        Observed::Invalid(_) => true,
    });
    world.snapshot.machine_sets.retain(|set| match set {
        Observed::Read(set) => set.pool.as_deref() != Some(name),
        Observed::Invalid(_) => true,
    });
}

/// Cluster API exchanges the templates of a pool at its version, and of its machines.
fn other_template(world: &mut World, name: &str) {
    let template = reference("other");
    world.pool(name).infrastructure = template.clone();
    for set in &mut world.snapshot.machine_sets {
        if let Observed::Read(set) = set
            && set.pool.as_deref() == Some(name)
        {
            set.infrastructure = template.clone();
        }
    }
    let id = PoolId::Workers(name.to_owned());
    for machine in super::machines(&mut world.snapshot).filter(|machine| machine.pool.as_ref() == Some(&id)) {
        machine.template = Some(template.name.clone());
    }
}

#[test]
fn the_last_by_name_goes_first_and_the_others_when_it_has_run_for_long_enough() {
    let mut world = world();
    let wrote = until(&mut world, "Release md-2");
    let held = [
        "Hold md-0",
        "Hold md-1",
        "Hold md-2",
        "concurrency 3",
        "edit v1.34",
        "Release md-2",
    ];
    assert_eq!(wrote, held);
    assert_eq!(gate(&decide(&world.snapshot)), Vec::<String>::new(), "one at a time");
    assert_eq!(until(&mut world, "arrived md-2"), ["arrived md-2"]);
    let arrived = world.snapshot.now - SignedDuration::from_mins(1);
    let gates = gate(&decide(&world.snapshot));
    let opens = arrived + BAKE;
    let reason = format!("canary: MachineDeployment md-2 went first and has been there since {arrived}, until {opens}");
    assert_eq!(gates, [reason]);
    for _ in 0..28 {
        assert_eq!(minute(&mut world), "nothing");
    }
    let wrote = until(&mut world, "Release md-1");
    assert_eq!(wrote, ["Release md-0", "Release md-1"]);
    assert!(world.snapshot.now >= opens);
    assert_eq!(to_the_end(&mut world).progress.stage, Stage::Complete);
    assert_eq!((world.released.len(), world.recorded.len()), (3, 1));
    world.assert_clean();
    // What was swapped for this upgrade says it of a classic Cluster alone.
    assert!(world.pool("md-2").object.swap_history.is_some() && world.pool("md-0").object.swap_history.is_none());
}

#[test]
fn while_the_first_is_not_well_none_follows() {
    let mut world = world();
    until(&mut world, "arrived md-2");
    world.pool("md-2").object.conditions.push(ill());
    for _ in 0..90 {
        assert_eq!(minute(&mut world), "nothing");
    }
    let gates = gate(&decide(&world.snapshot));
    let reason =
        "canary: MachineDeployment md-2 went first and isn't well, its condition MachinesReady is False: 1 of 2";
    assert_eq!(gates, [reason]);
    world.pool("md-2").object.conditions.clear();
    assert_eq!(to_the_end(&mut world).progress.stage, Stage::Complete);
}

type Case = (&'static str, fn(&mut World), &'static [&'static str]);

/// What is done to the first one before Cluster API comes to it, and who goes in which order.
#[test]
fn one_that_does_not_go_by_itself_is_not_the_first() {
    let cases: [Case; 4] = [
        (
            "paused by its user",
            |world| world.pool("md-2").object.lifecycle = Lifecycle::Paused,
            &["md-0", "md-1"],
        ),
        (
            "OnDelete",
            |world| world.pool("md-2").rollout = Rollout::OnDelete,
            &["md-0", "md-2", "md-1"],
        ),
        ("deleted", |world| delete(world, "md-2"), &["md-0", "md-1"]),
        (
            "without machines",
            |world| without_machines(world, "md-2"),
            &["md-0", "md-2", "md-1"],
        ),
    ];
    for (case, change, expected) in cases {
        let mut world = world();
        change(&mut world);
        until(&mut world, "arrived md-0");
        to_the_end(&mut world);
        assert_eq!(world.released, expected, "{case}");
    }
}

#[test]
fn one_that_is_paused_on_its_way_says_what_to_do() {
    let mut world = world();
    until(&mut world, "Release md-2");
    world.pool("md-2").object.lifecycle = Lifecycle::Paused;
    to_the_end(&mut world);
    let resume = "canary: MachineDeployment md-2 went first and was paused before it arrived: resume it";
    assert_eq!(gate(&decide(&world.snapshot)), [resume]);
    world.pool("md-2").object.lifecycle = Lifecycle::Active;
    world.pool("md-2").rollout = Rollout::OnDelete;
    let on_delete = "canary: MachineDeployment md-2 went first and is OnDelete, so it replaces no machine by itself: \
                     delete its old machines";
    assert_eq!(gate(&decide(&world.snapshot)), [on_delete]);
    world.pool("md-2").rollout = Rollout::Rolling;
    assert_eq!(to_the_end(&mut world).progress.stage, Stage::Complete);
    // One that is deleted leaves its place.
    let mut world = self::world();
    until(&mut world, "Release md-2");
    world.pool("md-2").object.lifecycle = Lifecycle::Deleting;
    until(&mut world, "arrived md-0");
}

#[test]
fn one_that_its_user_resumed_is_the_first_all_the_same() {
    let mut world = world();
    until(&mut world, "edit v1.34");
    world.pool("md-2").object.lifecycle = Lifecycle::Active;
    assert_eq!(until(&mut world, "Release md-0"), ["arrived md-2", "Release md-0"]);
    assert!(world.rolled.contains("md-2"));
}

#[test]
fn a_rule_that_comes_in_the_middle_counts_from_then_on() {
    let mut world = world();
    let rule = world.snapshot.canary.take();
    world.snapshot.approvals.required.insert(ApprovalPoint::Workers);
    world.approve_workers();
    until(&mut world, "Release md-2");
    for _ in 0..3 {
        minute(&mut world);
    }
    world.snapshot.canary = rule;
    assert_eq!(until(&mut world, "Release md-1")[0], "arrived md-2");
    assert_eq!(to_the_end(&mut world).progress.stage, Stage::Complete);
}

#[test]
fn one_that_gets_other_templates_begins_to_bake_again() {
    let mut world = world();
    until(&mut world, "arrived md-2");
    for _ in 0..20 {
        minute(&mut world);
    }
    other_template(&mut world, "md-2");
    assert_eq!(until(&mut world, "arrived md-2"), ["arrived md-2"]);
    for _ in 0..28 {
        assert_eq!(minute(&mut world), "nothing");
    }
    assert_eq!(until(&mut world, "Release md-0"), ["Release md-0"]);
    let history = world.pool("md-2").object.swap_history.clone().unwrap();
    assert_eq!(history.entries().len(), 1);
}

/// Cluster API goes by the number that another client has set, so it can't come to the last one before the others.
#[test]
fn where_cluster_api_can_not_come_to_it_another_one_goes_first() {
    let mut world = world();
    until(&mut world, "concurrency 3");
    topology(&mut world.snapshot).concurrency.present = Some("1".to_owned());
    let wrote = until(&mut world, "Release md-2");
    assert_eq!(
        wrote,
        [
            "edit v1.34",
            "Release md-0",
            "arrived md-0",
            "Release md-1",
            "Release md-2"
        ]
    );
    assert_eq!(to_the_end(&mut world).progress.stage, Stage::Complete);
}

#[test]
fn an_edit_by_hand_has_a_canary_too() {
    let mut snapshot = cluster_of("v1.33.5", TARGET, &POOLS);
    snapshot.canary = Some(CanaryRule { pools: 2, bake: BAKE });
    let mut world = World::new(snapshot);
    assert_eq!(
        until(&mut world, "Release md-2"),
        [
            "Hold md-0",
            "Hold md-1",
            "Hold md-2",
            "concurrency 3",
            "Release md-0",
            "arrived md-0",
            "Release md-1",
            "arrived md-1",
            "Release md-2"
        ]
    );
    // As many as there are pools hold none.
    let mut snapshot = cluster_of("v1.33.5", TARGET, &POOLS);
    snapshot.canary = Some(CanaryRule { pools: 3, bake: BAKE });
    let mut world = World::new(snapshot);
    for _ in 0..20 {
        assert_eq!(minute(&mut world), "nothing");
    }
    assert_eq!(decide(&world.snapshot).progress.stage, Stage::Complete);
}

/// One step of a user, or of what happens to a cluster.
fn something_happens(world: &mut World, random: &mut Random) {
    let name = POOLS[random.below(POOLS.len())];
    let window = &mut world.snapshot.gates;
    match random.below(9) {
        0 => drop(window.insert(Gate::Window, closed("Sunday"))),
        1 => drop(window.insert(Gate::Window, GateState::Open { until: None })),
        2 => world.pool(name).object.conditions.push(ill()),
        3 => world.pool(name).object.conditions.clear(),
        4 if world.pool(name).held.is_none() => {
            let paused = match world.pool(name).object.lifecycle {
                Lifecycle::Active => Lifecycle::Paused,
                Lifecycle::Paused | Lifecycle::Deleting => Lifecycle::Active,
            };
            world.pool(name).object.lifecycle = paused;
        }
        5 => {
            let rollout = match world.pool(name).rollout {
                Rollout::OnDelete => Rollout::Rolling,
                Rollout::Rolling => Rollout::OnDelete,
            };
            world.pool(name).rollout = rollout;
        }
        6 if world.pool(name).version == version(TARGET) && !world.rolling().contains(name) => {
            other_template(world, name);
        }
        7 => topology(&mut world.snapshot).concurrency.present = Some((1 + random.below(3)).to_string()),
        8 => {
            world.snapshot.canary = Some(CanaryRule {
                pools: 1 + random.below(2),
                bake: BAKE,
            });
        }
        _ => {}
    }
}

/// Whether some pool has been there for long enough.
fn has_baked(world: &World) -> bool {
    let pools = world.snapshot.pools.iter().filter_map(Observed::read);
    let histories = pools.filter_map(|pool| pool.object.swap_history.as_ref());
    let mut arrivals = histories.filter_map(|history| history.last()?.converged);
    arrivals.any(|arrived| arrived + BAKE <= world.snapshot.now)
}

#[test]
fn whatever_happens_none_follows_too_early_and_all_get_there() {
    let seeds = std::env::var("INSTAR_SEEDS").map_or(400, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        let mut random = Random::new(seed);
        let mut world = world();
        match random.below(3) {
            0 => {
                let mut by_hand = cluster_of("v1.33.5", TARGET, &POOLS);
                by_hand.canary = Some(CanaryRule { pools: 1, bake: BAKE });
                world = World::new(by_hand);
            }
            1 => world.snapshot.upgrade_spec.strategy = Strategy::All,
            _ => {}
        }
        let is_calm = random.chance(30);
        for _ in 0..300 {
            if !is_calm && random.chance(15) {
                something_happens(&mut world, &mut random);
            }
            match random.below(3) {
                0 => drop(decide(&world.snapshot)),
                1 => {
                    let decision = world.decide_and_write();
                    if is_calm
                        && let Action::HoldPool(hold) = &decision.action
                        && hold.change == Hold::Release
                        && hold.patch["metadata"]["annotations"]
                            .get(SWAP_HISTORY_ANNOTATION)
                            .is_none()
                    {
                        assert!(has_baked(&world), "seed {seed}: {} goes", hold.name);
                    }
                }
                _ => world.cluster_api(),
            }
            world.snapshot.now += SignedDuration::from_mins(i64::try_from(random.below(4)).unwrap());
        }
        // What its user has paused is resumed at last.
        world
            .snapshot
            .gates
            .insert(Gate::Window, GateState::Open { until: None });
        for name in POOLS {
            let pool = world.pool(name);
            pool.object.conditions.clear();
            pool.rollout = Rollout::Rolling;
            if pool.held.is_none() {
                pool.object.lifecycle = Lifecycle::Active;
            }
        }
        let end = to_the_end(&mut world);
        assert_eq!(end.progress.stage, Stage::Complete, "seed {seed}: {end:#?}");
        world.assert_clean();
    }
}

#[test]
fn what_would_pass_the_first_or_say_too_much_is_found() {
    let mut world = world();
    until(&mut world, "arrived md-2");
    for _ in 0..29 {
        minute(&mut world);
    }
    let decision = decide(&world.snapshot);
    assert_eq!(written(&decision), "Release md-0");
    let found = |change: fn(&mut Snapshot)| {
        let mut snapshot = world.snapshot.clone();
        change(&mut snapshot);
        check(&snapshot, &decision)
    };
    assert_eq!(found(|_| {}), []);
    assert_eq!(
        found(|snapshot| snapshot.now -= SignedDuration::from_mins(1)),
        [Violation::GateClosed]
    );
    assert_eq!(
        found(|snapshot| pools(snapshot).last().unwrap().object.conditions.push(ill())),
        [Violation::GateClosed]
    );
    assert_eq!(
        found(|snapshot| pools(snapshot).last().unwrap().infrastructure.name = "other".to_owned()),
        [Violation::GateClosed]
    );
    // Without a history it would go first itself.
    let missing = found(|snapshot| pools(snapshot).last().unwrap().object.lifecycle = Lifecycle::Deleting);
    assert_eq!(missing, [Violation::Incomplete]);

    let mut world = self::world();
    until(&mut world, "Release md-2");
    let arrived = loop {
        let decision = decide(&world.snapshot);
        if let Action::RecordConvergence(_) = &decision.action {
            break decision;
        }
        minute(&mut world);
    };
    let found = |change: fn(&mut Snapshot)| {
        let mut snapshot = world.snapshot.clone();
        change(&mut snapshot);
        check(&snapshot, &arrived)
    };
    assert_eq!(found(|_| {}), []);
    assert_eq!(
        found(|snapshot| snapshot.upgrade_spec.paused = true),
        [Violation::Untouchable]
    );
    assert_eq!(
        found(|snapshot| pools(snapshot).last().unwrap().object.lifecycle = Lifecycle::Paused),
        [Violation::Untouchable]
    );
    assert_eq!(
        found(|snapshot| pools(snapshot).last().unwrap().object.generation += 1),
        [Violation::ControlPlaneMoving]
    );
    assert_eq!(
        found(|snapshot| super::machines(snapshot).last().unwrap().node = instar_planner::Node::Absent),
        [Violation::ControlPlaneMoving]
    );
    assert_eq!(
        found(|snapshot| snapshot.now += SignedDuration::from_mins(1)),
        [Violation::Incomplete]
    );
}
