//! Windows that close while a pool replaces its machines, where a policy says `onClose: FinishMachine`.

use instar_api::OnClose;
use instar_planner::{
    Action, Decision, Gate, Hold, HoldPool, Lifecycle, Observed, Operation, PauseMark, PoolId, Rollback, RollbackScope,
    Rollout, Snapshot, Stage, Target, UpgradeSpec, Violation, check, plan, resume,
};
use serde_json::json;

use crate::{
    scenarios::{complete, decide, until},
    waiting::words,
    world::{World, api::Answer, closed, random::Random, version},
};

/// What a user or another client does, and how it is called.
type Case = (&'static str, fn(&mut World));

const POOL: &str = "md-0";
const TARGET: &str = "v1.34.5";

/// A pool of three that replaces them one after the other.
fn world() -> World {
    let mut world = World::new("v1.33.5", 1, Target::Text(TARGET.to_owned()));
    world.add_pool(POOL, &version("v1.33.5"), 3);
    world.on_close = OnClose::FinishMachine;
    world
}

fn new_machines(world: &World) -> usize {
    let of_pool = |birth: &&crate::world::Birth| birth.0 == PoolId::Workers(POOL.to_owned());
    world.births.iter().filter(of_pool).count()
}

fn hold(decision: &Decision) -> Option<&HoldPool> {
    if let Action::HoldPool(hold) = &decision.action {
        Some(hold)
    } else {
        None
    }
}

fn pauses(decision: &Decision) -> bool {
    hold(decision).is_some_and(|hold| hold.change == Hold::PauseRollout)
}

fn resumes(decision: &Decision) -> bool {
    hold(decision).is_some_and(|hold| hold.change == Hold::ResumeRollout)
}

/// The window closes when the first new machine is being made.
fn closes() -> World {
    closes_in(world())
}

fn closes_in(mut world: World) -> World {
    let mut random = Random::new(1);
    while new_machines(&world) == 0 {
        let decision = decide(&world.snapshot());
        assert_eq!(world.write(&decision.action), Answer::Done);
        world.tick(&mut random);
    }
    world.gates.insert(Gate::Window, closed("Sunday"));
    world
}

/// The same, with the pool stopped and what it had begun finished.
fn stands() -> World {
    stands_of(closes())
}

fn stands_of(mut world: World) -> World {
    let decision = decide(&world.snapshot());
    assert!(pauses(&decision), "{decision:#?}");
    assert_eq!(world.write(&decision.action), Answer::Done);
    goes_on(&mut world, 40);
    world
}

fn goes_on(world: &mut World, ticks: usize) {
    let mut random = Random::new(2);
    for _ in 0..ticks {
        let decision = decide(&world.snapshot());
        assert_eq!(world.write(&decision.action), Answer::Done, "{decision:#?}");
        world.tick(&mut random);
    }
}

fn pool(world: &mut World) -> &mut instar_planner::MachineDeployment {
    &mut world.pools[0].object
}

fn read(snapshot: &mut Snapshot) -> &mut instar_planner::MachineDeployment {
    match &mut snapshot.pools[0] {
        Observed::Read(pool) => pool,
        Observed::Invalid(_) => panic!("a pool that can't be read"),
    }
}

#[test]
fn a_pool_stops_with_the_machines_that_are_under_way_and_goes_on_when_a_window_opens() {
    let mut world = stands();
    assert_eq!(new_machines(&world), 1, "no other one is begun");
    let decision = decide(&world.snapshot());
    assert_eq!(decision.action, Action::Nothing);
    assert_eq!(
        words(&decision)[..2],
        [
            "RolloutPaused: MachineDeployment md-0 stops in the middle of its rollout to v1.34.5: until the maintenance \
             windows let it go on, Cluster API neither replaces further machines of it nor scales it",
            "GateClosed: maintenance window: Sunday",
        ]
    );
    world.gates.clear();
    let decision = decide(&world.snapshot());
    assert!(resumes(&decision), "{decision:#?}");
    until(&mut world, complete);
    assert_eq!((new_machines(&world), world.rollouts_stopped), (3, 1));
    assert_eq!(world.marks(), [""; 0]);
}

#[test]
fn without_it_the_pool_goes_on_to_its_end() {
    let mut world = closes();
    world.on_close = OnClose::FinishPool;
    goes_on(&mut world, 200);
    assert_eq!((new_machines(&world), world.rollouts_stopped), (3, 0));
    // A policy that is edited lets go what was stopped.
    let mut world = stands();
    world.on_close = OnClose::FinishPool;
    assert!(resumes(&decide(&world.snapshot())));
}

#[test]
fn what_has_no_machine_left_to_replace_is_let_go() {
    // The last one is under way.
    let mut world = stands();
    let old = world.sets.iter_mut().filter(|set| set.version != version(TARGET));
    old.for_each(|set| set.replicas = 0);
    for machine in &mut world.machines {
        if machine.version != version(TARGET) && machine.pool == Some(PoolId::Workers(POOL.to_owned())) {
            machine.lifecycle = Lifecycle::Deleting;
        }
    }
    assert!(resumes(&decide(&world.snapshot())));
    // It goes away, and Cluster API deletes nothing that is paused.
    let mut world = stands();
    pool(&mut world).object.lifecycle = Lifecycle::Deleting;
    assert!(resumes(&decide(&world.snapshot())));
}

#[test]
fn what_is_not_the_upgrades_to_stop_is_left_alone() {
    let cases: [Case; 5] = [
        ("paused by its user", |world| {
            pool(world).object.lifecycle = Lifecycle::Paused;
        }),
        ("deleted", |world| pool(world).object.lifecycle = Lifecycle::Deleting),
        ("OnDelete", |world| pool(world).rollout = Rollout::OnDelete),
        ("a template that another client set", |world| {
            world.give_own_template(POOL);
        }),
        ("the Cluster is paused", |world| {
            world.cluster.lifecycle = Lifecycle::Paused;
        }),
    ];
    for (case, change) in cases {
        let mut world = closes();
        change(&mut world);
        assert_eq!(hold(&decide(&world.snapshot())), None, "{case}");
    }
    let mut empty = World::new("v1.33.5", 1, Target::Text(TARGET.to_owned()));
    empty.add_pool(POOL, &version("v1.33.5"), 0);
    empty.on_close = OnClose::FinishMachine;
    until(&mut empty, |decision| {
        matches!(decision.action, Action::RecordConvergence(_))
    });
    empty.gates.insert(Gate::Window, closed("Sunday"));
    assert_eq!(hold(&decide(&empty.snapshot())), None, "no replicas");
}

fn take_workers_back(world: &mut World) {
    world.upgrade_spec = UpgradeSpec {
        operation: Operation::Rollback(Rollback {
            of: world.upgrade_spec.id(),
            target: TARGET.to_owned(),
            retry: 0,
            scope: RollbackScope::Workers,
        }),
        ..UpgradeSpec::new("back", Target::Text(String::new()))
    };
}

#[test]
fn a_way_back_that_is_refused_lets_nothing_go_on() {
    let mut world = stands();
    // Its machines join no control plane of another minor.
    take_workers_back(&mut world);
    let refused = decide(&world.snapshot());
    assert_eq!(
        (&refused.action, refused.progress.stage),
        (&Action::Nothing, Stage::Held)
    );
    let said = words(&refused);
    assert!(said[0].starts_with("NoWayBack"), "{said:?}");
    let kept = "RolloutPaused: MachineDeployment md-0 stops in the middle of its rollout to v1.34.5: while a rollback is \
                asked for that keeps its machines, Cluster API neither replaces further machines of it nor scales it";
    assert_eq!(said.last().map(String::as_str), Some(kept));
    // What is deleted goes all the same.
    pool(&mut world).object.lifecycle = Lifecycle::Deleting;
    assert!(resumes(&decide(&world.snapshot())));
}

#[test]
fn a_pool_that_a_way_back_holds_stands_until_its_end() {
    let mut world = world();
    world.add_pool("md-1", &version("v1.33.5"), 1);
    world.upgrade_spec.order = vec!["md-1".to_owned()];
    let mut world = stands_of(closes_in(world));
    take_workers_back(&mut world);
    // The other one waits for a window.
    world.gates.clear();
    let hold = (POOL.to_owned(), instar_planner::PoolOverride::Hold);
    world.upgrade_spec.pools.extend([hold]);
    for pool in &mut world.pools {
        pool.object.joins = instar_planner::JoinRule::AnyMinor;
    }
    let (mut random, mut swaps, made) = (Random::new(3), 0, new_machines(&world));
    for _ in 0..300 {
        let decision = decide(&world.snapshot());
        if complete(&decision) {
            break;
        }
        if resumes(&decision) {
            assert_eq!((swaps, decision.progress.stage), (1, Stage::Complete));
            assert_eq!(new_machines(&world), made);
        }
        swaps += usize::from(matches!(decision.action, Action::SwapWorkers(_)));
        assert_eq!(world.write(&decision.action), Answer::Done);
        world.tick(&mut random);
    }
    assert!(complete(&decide(&world.snapshot())));
    assert_eq!(world.marks(), [""; 0]);
}

#[test]
fn what_is_taken_back_turns_around_first() {
    let mut world = stands();
    take_workers_back(&mut world);
    // A machine of the old minor joins no control plane of the new one: this pool's do.
    pool(&mut world).joins = instar_planner::JoinRule::AnyMinor;
    let mut random = Random::new(3);
    let mut done = Vec::new();
    while !complete(&decide(&world.snapshot())) {
        let decision = decide(&world.snapshot());
        match &decision.action {
            Action::SwapWorkers(swap) => done.push(format!("swap to {}", swap.version)),
            Action::HoldPool(hold) => done.push(format!("{:?}", hold.change)),
            _ => {}
        }
        assert_eq!(world.write(&decision.action), Answer::Done);
        world.tick(&mut random);
    }
    assert_eq!(done, ["swap to v1.33.5", "ResumeRollout"]);
    assert_eq!(new_machines(&world), 1, "no machine of before has gone");
}

#[test]
fn a_mark_that_is_left_goes_where_no_upgrade_goes_on() {
    for lifecycle in [Lifecycle::Active, Lifecycle::Deleting] {
        let mut world = stands();
        world.cluster.lifecycle = lifecycle;
        world.gates.clear();
        let seen = world.snapshot();
        let decision = resume(&seen);
        assert!(resumes(&decision), "{lifecycle:?}");
        assert_eq!(check(&seen, &decision), []);
        assert_eq!(world.write(&decision.action), Answer::Done);
        assert_eq!(resume(&world.snapshot()).action, Action::Nothing);
    }
    let mut paused = stands();
    paused.cluster.lifecycle = Lifecycle::Paused;
    assert_eq!(resume(&paused.snapshot()).action, Action::Nothing);
}

#[test]
fn each_thing_that_a_stop_must_not_do_is_found() {
    let found = |world: &World, change: fn(&mut Snapshot, &mut HoldPool)| {
        let mut snapshot = world.snapshot();
        let mut decision = plan(&snapshot);
        match &mut decision.action {
            Action::HoldPool(hold) => change(&mut snapshot, hold),
            action => panic!("{action:?}"),
        }
        check(&snapshot, &decision)
    };
    let stopping = closes();
    let mut starting = stands();
    starting.gates.clear();
    for world in [&stopping, &starting] {
        assert_eq!(found(world, |_, _| {}), []);
        assert_eq!(
            found(world, |_, hold| hold.patch["spec"] = json!({ "paused": true })),
            [Violation::NotOurs]
        );
        assert_eq!(
            found(
                world,
                |_, hold| hold.patch["metadata"]["annotations"]["cluster.x-k8s.io/paused"] = json!("")
            ),
            [Violation::Incomplete]
        );
        assert_eq!(
            found(world, |snapshot, _| snapshot.cluster.lifecycle = Lifecycle::Paused),
            [Violation::Untouchable]
        );
        let other = |_: &mut Snapshot, hold: &mut HoldPool| {
            hold.resource_version = instar_planner::ResourceVersion("1".to_owned());
        };
        assert_eq!(found(world, other), [Violation::NoCompare]);
    }
    assert_eq!(
        found(&stopping, |snapshot, _| snapshot.gates.clear()),
        [Violation::StopsOpen]
    );
    assert_eq!(
        found(&stopping, |snapshot, _| snapshot.on_close = OnClose::FinishPool),
        [Violation::StopsOpen]
    );
    assert_eq!(
        found(&stopping, |snapshot, _| read(snapshot).object.lifecycle =
            Lifecycle::Paused),
        [Violation::Untouchable]
    );
    assert_eq!(
        found(&stopping, |snapshot, _| snapshot.cluster.lifecycle =
            Lifecycle::Deleting),
        [Violation::Untouchable]
    );
    assert_eq!(
        found(&starting, |snapshot, _| drop(
            snapshot.gates.insert(Gate::Window, closed("Sunday"))
        )),
        [Violation::GateClosed]
    );
    assert_eq!(
        found(&starting, |snapshot, _| read(snapshot).rollout_paused = None),
        [Violation::NotOurs]
    );
    let mark: Option<PauseMark> = stands().pools[0].object.rollout_paused.clone();
    assert!(mark.is_some_and(|mark| mark.upgrade == "up"));
}
