//! New machines of what is there.

use std::collections::BTreeMap;

use instar_api::{HealthReason, OnClose, OnFailure};
use instar_planner::{
    Action, CanaryRule, ComponentImage, Decision, Direction, Flavor, Lifecycle, NoWayBack, Operation, PoolId,
    PoolOverride, PoolState, Rollback, RollbackScope, Rollout, Stage, Strategy, Swap, SwapEntry, SwapHistory, Target,
    UpgradeId, UpgradeSpec, Violation, Waiting, check, plan, way_back,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::{
    properties::{Faults, MOST_TICKS, Run, seeds},
    scenarios::{complete, decide, swaps_control_plane, swaps_workers, until},
    world::{World, random::Random, version},
};

const STARTED: &str = "2026-11-20T13:00:00.25Z";
const AFTER: &str = "2026-11-20T13:00:00Z";
const VERSION: &str = "v1.34.5";

fn after() -> Timestamp {
    AFTER.parse().unwrap()
}

/// As an upgrade leaves it that went from one version to the present one.
fn entry(upgrade: &str, from: &str) -> SwapEntry {
    let state = |text: &str, template: &str| PoolState {
        version: version(text),
        release: None,
        template: Some(template.to_owned()),
        bootstrap: None,
        etcd: ComponentImage::default(),
        core_dns: ComponentImage::default(),
    };
    SwapEntry {
        upgrade: UpgradeId {
            name: upgrade.to_owned(),
            started: None,
        },
        since: after() - SignedDuration::from_hours(1),
        before: state(from, "earlier"),
        after: state(VERSION, "blue-cp"),
        converged: None,
        direction: Direction::Forward,
    }
}

/// A cluster of which all is an hour older than the restart that is asked for.
fn asked(control_plane: u32, pools: &[(&str, u32)]) -> World {
    let mut world = World::new(VERSION, control_plane, Target::Text("v1.34".to_owned()));
    for (name, replicas) in pools {
        world.add_pool(name, &version(VERSION), *replicas);
    }
    world.upgrade_spec.operation = Operation::Restart;
    world.upgrade_spec.started = Some(STARTED.parse().unwrap());
    world.now = after() + SignedDuration::from_secs(5);
    world
}

/// From here on all of a world is restarted.
pub fn restart(world: &mut World, name: &str) {
    world.now += SignedDuration::from_secs(5);
    world.upgrade_spec = UpgradeSpec {
        operation: Operation::Restart,
        started: Some(world.now),
        strategy: world.upgrade_spec.strategy,
        order: world.upgrade_spec.order.clone(),
        ..UpgradeSpec::new(name, Target::Text(world.control_plane.version.to_string()))
    };
}

fn swap(decision: &Decision) -> &Swap {
    match &decision.action {
        Action::SwapControlPlane(swap) | Action::SwapWorkers(swap) => swap,
        other => panic!("{other:?}"),
    }
}

fn reasons(decision: &Decision) -> Vec<HealthReason> {
    decision.waiting.iter().map(Waiting::reason).collect()
}

fn born(world: &World) -> BTreeMap<PoolId, usize> {
    let mut born = BTreeMap::new();
    for (pool, ..) in &world.births {
        *born.entry(pool.clone()).or_default() += 1;
    }
    born
}

fn md(name: &str) -> PoolId {
    PoolId::Workers(name.to_owned())
}

#[test]
fn first_the_control_plane_and_then_one_pool_after_the_other() {
    let mut world = asked(3, &[("md-0", 2), ("md-1", 2)]);
    world.upgrade_spec.order = vec!["md-1".to_owned()];
    let first = decide(&world.snapshot());
    let patch = &swap(&first).patch;
    assert!(swaps_control_plane(&first));
    assert_eq!(patch["spec"], json!({ "rollout": { "after": AFTER } }));
    assert_eq!(
        patch["metadata"]["resourceVersion"],
        json!(world.control_plane.object.resource_version)
    );
    let second = until(&mut world, swaps_workers);
    assert_eq!(swap(&second).name, "md-1");
    assert_eq!(swap(&second).patch["spec"], json!({ "rollout": { "after": AFTER } }));
    assert_eq!(born(&world), [(PoolId::ControlPlane, 3)].into());
    let third = until(&mut world, |decision| {
        swaps_workers(decision) && swap(decision).name == "md-0"
    });
    assert_eq!(swap(&third).rollout_after, Some(after()));
    until(&mut world, complete);
    assert_eq!(
        born(&world),
        [(PoolId::ControlPlane, 3), (md("md-0"), 2), (md("md-1"), 2)].into()
    );
    assert_eq!(world.swaps, 3);
    assert!(
        world.minted.is_empty() && world.pinned.is_empty(),
        "no template is made, and no path is gone"
    );
}

/// As by Git, or after `clusterctl move`.
#[test]
fn what_is_over_is_not_done_again() {
    let mut world = asked(1, &[("md-0", 2)]);
    until(&mut world, complete);
    let (births, swaps) = (world.births.len(), world.swaps);
    world.now += SignedDuration::from_hours(100);
    for _ in 0..20 {
        let decision = decide(&world.snapshot());
        assert!(complete(&decision), "{decision:?}");
        world.tick(&mut Random::new(3));
    }
    assert_eq!((world.births.len(), world.swaps), (births, swaps));
}

/// `clusterctl move` in the middle: what it creates elsewhere is younger than the restart, replaced or not.
#[test]
fn after_a_move_nothing_says_what_was_replaced() {
    let mut world = asked(1, &[("md-0", 2)]);
    until(&mut world, swaps_workers);
    let moved = world.now + SignedDuration::from_mins(5);
    world.cluster.created = Some(moved);
    world.now = moved + SignedDuration::from_mins(1);
    for set in &mut world.sets {
        set.created = Some(moved);
    }
    for machine in &mut world.machines {
        (machine.created, machine.rollout_time) = (Some(moved), Some(moved));
    }
    let decision = decide(&world.snapshot());
    assert_eq!(
        (&decision.action, decision.progress.stage),
        (&Action::Nothing, Stage::Held)
    );
    assert_eq!(reasons(&decision)[..1], [HealthReason::NoRestart]);
    assert!(decision.waiting[0].refuses());
    let text = decision.waiting[0].to_string();
    let command = "kubectl -n default patch clusterupgrade up --type=merge -p '{\"spec\":{\"retry\":1}}'";
    assert!(
        text.starts_with("Cluster blue was created at 2026-") && text.ends_with(command),
        "{text}"
    );
    let claims = Decision {
        progress: instar_planner::Progress {
            stage: Stage::Complete,
            ..decision.progress.clone()
        },
        ..decision
    };
    assert!(check(&world.snapshot(), &claims).contains(&Violation::RestartUnknown));
    // Asked for once more, each machine is replaced.
    let before = world.births.len();
    world.upgrade_spec.started = Some(world.now);
    until(&mut world, complete);
    assert_eq!(world.births.len() - before, 3);
}

type Change = fn(&mut World);

/// What is changed in the world, how far the restart comes, what it says first, and how many machines it makes in each pool.
type Held = (
    &'static str,
    Change,
    Stage,
    Option<HealthReason>,
    &'static [(&'static str, usize)],
);

#[test]
fn what_holds_a_restart_or_keeps_machines() {
    for case in held() {
        assert_held(case);
    }
}

fn held() -> [Held; 11] {
    [
        (
            "nothing",
            |_| (),
            Stage::Complete,
            None,
            &[("cp", 1), ("md-0", 2), ("md-1", 1)],
        ),
        (
            "another control plane",
            |world| world.control_plane.flavor = Flavor::Other,
            Stage::Held,
            Some(HealthReason::NoRestart),
            &[],
        ),
        (
            "another version",
            |world| world.upgrade_spec.target = Target::Text("v1.33".to_owned()),
            Stage::Held,
            Some(HealthReason::NoRestart),
            &[],
        ),
        (
            "a pool of another minor version",
            |world| world.add_pool("old", &version("v1.33.5"), 1),
            Stage::Held,
            Some(HealthReason::NoRestart),
            &[],
        ),
        (
            "the same, left out",
            |world| {
                world.add_pool("old", &version("v1.33.5"), 1);
                world.upgrade_spec.pools.insert("old".to_owned(), PoolOverride::Hold);
            },
            Stage::Complete,
            None,
            &[("cp", 1), ("md-0", 2), ("md-1", 1)],
        ),
        (
            "not seen yet",
            |world| world.upgrade_spec.started = None,
            Stage::Held,
            Some(HealthReason::NoRestart),
            &[],
        ),
        (
            "a time that a user has set",
            |world| world.control_plane.rollout_after = Some(Timestamp::MAX),
            Stage::ControlPlane,
            Some(HealthReason::NoRestart),
            &[],
        ),
        (
            "the same, of a pool: the others go on",
            |world| world.pools[0].object.rollout_after = Some(Timestamp::MAX),
            Stage::Workers,
            Some(HealthReason::NoRestart),
            &[("cp", 1), ("md-1", 1)],
        ),
        (
            "a paused pool",
            |world| world.pools[0].object.object.lifecycle = Lifecycle::Paused,
            Stage::Workers,
            Some(HealthReason::Paused),
            &[("cp", 1), ("md-1", 1)],
        ),
        (
            "a pool whose user deletes its machines",
            |world| world.pools[1].object.rollout = Rollout::OnDelete,
            Stage::Workers,
            Some(HealthReason::OnDelete),
            &[("cp", 1), ("md-0", 2)],
        ),
        (
            "a user's restart, later than this one",
            |world| world.pools[0].object.rollout_after = Some(after() + SignedDuration::from_secs(2)),
            Stage::Complete,
            None,
            &[("cp", 1), ("md-0", 2), ("md-1", 1)],
        ),
    ]
}

fn assert_held((case, change, stage, reason, expected): Held) {
    let mut world = asked(1, &[("md-0", 2), ("md-1", 1)]);
    change(&mut world);
    let mut random = Random::new(5);
    for _ in 0..300 {
        let decision = decide(&world.snapshot());
        world.write(&decision.action);
        world.tick(&mut random);
    }
    let decision = decide(&world.snapshot());
    assert_eq!(decision.progress.stage, stage, "{case}: {decision:#?}");
    assert_eq!(decision.waiting.first().map(Waiting::reason), reason, "{case}");
    let names = |pool: &PoolId| match pool {
        PoolId::ControlPlane => "cp".to_owned(),
        PoolId::Workers(name) | PoolId::MachinePool(name) => name.clone(),
    };
    let born: BTreeMap<_, _> = born(&world).iter().map(|(pool, count)| (names(pool), *count)).collect();
    let expected = expected.iter().map(|(name, count)| ((*name).to_owned(), *count));
    assert_eq!(born, expected.collect(), "{case}");
}

#[test]
fn a_machine_pool_is_left_to_its_user_and_a_pool_without_machines_is_not_written() {
    let mut world = asked(1, &[("md-0", 0)]);
    world.add_machine_pool("mp-0", &version(VERSION), 2);
    let decision = until(&mut world, complete);
    assert_eq!(reasons(&decision), [HealthReason::NotRestarted]);
    assert_eq!((world.swaps, world.pool_swaps, world.values_set), (1, 0, 0));
}

/// A machine that its old MachineSet makes after the restart was asked for is replaced with the others, and is waited for.
#[test]
fn what_an_old_set_makes_meanwhile_is_waited_for() {
    let mut world = asked(1, &[("md-0", 1), ("md-1", 1)]);
    until(&mut world, swaps_workers);
    world.pools[0].replicas = 2;
    let mut random = Random::new(9);
    for _ in 0..30 {
        world.tick(&mut random);
    }
    assert_eq!(born(&world)[&md("md-0")], 1, "by the old set");
    until(&mut world, |decision| {
        swaps_workers(decision) && swap(decision).name == "md-1"
    });
    assert_eq!(born(&world)[&md("md-0")], 3);
    assert!(
        world
            .machines
            .iter()
            .all(|machine| { machine.pool != Some(md("md-0")) || machine.rollout_time >= Some(after()) })
    );
}

#[test]
fn what_another_client_sets_back_in_the_middle_is_not_written_twice() {
    let mut world = asked(3, &[("md-0", 1)]);
    let decision = until(&mut world, swaps_control_plane);
    world.write(&decision.action);
    world.control_plane.rollout_after = None;
    let mut random = Random::new(2);
    for _ in 0..50 {
        let decision = decide(&world.snapshot());
        assert_eq!(decision.action, Action::Nothing);
        world.tick(&mut random);
    }
    assert_eq!(reasons(&decide(&world.snapshot()))[..1], [HealthReason::NoRestart]);
    assert_eq!(born(&world), BTreeMap::new());
}

#[test]
fn there_is_nothing_to_go_back_to() {
    let mut world = asked(1, &[("md-0", 2)]);
    until(&mut world, complete);
    let of = world.upgrade_spec.id();
    let back = way_back(&world.snapshot(), &of).unwrap();
    assert!(back.returning.is_empty());
    let restarted = Waiting::from(NoWayBack::Restarted {
        upgrade: "up".to_owned(),
    });
    assert_eq!(
        (&back.refused[..], &back.workers_refused[..]),
        (&[restarted.clone()][..], &[restarted][..])
    );
    world.upgrade_spec.upgrade = "back".to_owned();
    world.upgrade_spec.operation = Operation::Rollback(Rollback {
        of,
        target: "v1.34".to_owned(),
        retry: 0,
        scope: RollbackScope::All,
    });
    let decision = decide(&world.snapshot());
    assert_eq!(decision.action, Action::Nothing);
    assert_eq!(reasons(&decision)[..1], [HealthReason::NoWayBack]);
    assert!(decision.waiting[0].refuses());
}

/// What fails stands, since it can't be taken back.
#[test]
fn a_restart_that_fails_stands() {
    let mut world = asked(1, &[("md-0", 1), ("md-1", 1)]);
    world.failure_rule.on_failure = OnFailure::Rollback;
    world.never_join.insert(version(VERSION));
    let mut random = Random::new(4);
    for _ in 0..600 {
        let decision = decide(&world.snapshot());
        world.write(&decision.action);
        world.tick(&mut random);
    }
    let decision = decide(&world.snapshot());
    assert_eq!(reasons(&decision)[..1], [HealthReason::StalledStep], "{decision:#?}");
    assert!(!born(&world).contains_key(&md("md-1")), "no other pool begins");
}

#[test]
fn a_restart_changes_one_time_forward_and_once() {
    let mut world = asked(1, &[("md-0", 1)]);
    let first = until(&mut world, swaps_control_plane);
    let seen = world.snapshot();
    let changed = |change: &dyn Fn(&mut Swap)| {
        let mut decision = first.clone();
        let Action::SwapControlPlane(swap) = &mut decision.action else {
            panic!()
        };
        change(swap);
        check(&seen, &decision)
    };
    assert_eq!(changed(&|_| ()), []);
    assert_eq!(
        changed(&|swap| swap.patch["spec"]["version"] = json!(VERSION)),
        [Violation::NotOurs]
    );
    assert_eq!(
        changed(&|swap| swap.patch["spec"]["rollout"]["before"] = json!({})),
        [Violation::NotOurs]
    );
    assert_eq!(
        changed(&|swap| swap.patch["metadata"]["resourceVersion"] = json!("0")),
        [Violation::NoCompare]
    );
    assert_eq!(
        changed(&|swap| swap.patch["spec"]["rollout"]["after"] = json!("2026-11-20T13:00:01Z")),
        [Violation::Incomplete]
    );
    let other = |swap: &mut Swap| {
        swap.rollout_after = Some(after() + SignedDuration::from_secs(1));
        swap.patch["spec"]["rollout"]["after"] = json!("2026-11-20T13:00:01Z");
    };
    assert_eq!(
        changed(&other),
        [Violation::Incomplete],
        "the time is the record's, not that of the pass"
    );
    // An upgrade before it can still be taken back.
    let mut upgraded = world.clone();
    upgraded.control_plane.object.swap_history = Some(SwapHistory::with(None, entry("before", "v1.33.5")));
    let keeps = decide(&upgraded.snapshot());
    let history = crate::world::api::swap_history(&swap(&keeps).patch).unwrap();
    assert_eq!(history.entries().len(), 2);
    assert_eq!(check(&upgraded.snapshot(), &first), [Violation::HistoryLost]);
    let mut later = world.clone();
    later.control_plane.rollout_after = Some(after());
    assert_eq!(check(&later.snapshot(), &first), [Violation::RestartedTwice]);
    world.write(&first.action);
    world.control_plane.rollout_after = None;
    let mut again = first.clone();
    let Action::SwapControlPlane(swap) = &mut again.action else {
        panic!()
    };
    swap.resource_version = world.control_plane.object.resource_version.clone();
    swap.patch["metadata"]["resourceVersion"] = json!(swap.resource_version);
    assert!(check(&world.snapshot(), &again).contains(&Violation::RestartedTwice));
}

fn random_world(random: &mut Random) -> World {
    let pools = ["md-0", "md-1", "md-2"];
    let sizes: Vec<_> = pools.iter().take(random.below(4)).collect();
    let sizes: Vec<(&str, u32)> = sizes
        .into_iter()
        .map(|name| (*name, u32::try_from(random.below(4)).unwrap()))
        .collect();
    let mut world = asked([1, 3][random.below(2)], &sizes);
    world.upgrade_spec.strategy = match random.below(3) {
        0 => Strategy::Ordered,
        1 => Strategy::Parallel { limit: 2 },
        _ => Strategy::All,
    };
    if random.chance(30) {
        let bake = SignedDuration::from_secs(i64::try_from(random.below(600)).unwrap());
        world.canary = Some(CanaryRule {
            pools: 1 + random.below(2),
            bake,
        });
    }
    if random.chance(50) {
        world.on_close = OnClose::FinishMachine;
    }
    world.nodes_flap = random.chance(40);
    world
}

/// Whatever is lost, old, or comes twice.
#[test]
fn each_machine_is_replaced_once_whatever_fails() {
    for seed in seeds() {
        let mut random = Random::new(seed);
        let world = random_world(&mut random);
        let before: BTreeMap<PoolId, usize> = world.machines.iter().fold(BTreeMap::new(), |mut all, machine| {
            *all.entry(machine.pool.clone().unwrap()).or_default() += 1;
            all
        });
        let faults = if seed.is_multiple_of(4) {
            Faults::None
        } else {
            Faults::Some
        };
        let mut run = Run::new(world, seed, faults);
        let mut ticks = 0;
        loop {
            let decision = run.pass();
            if complete(&decision) && complete(&plan(&run.world.snapshot())) {
                break;
            }
            let random = &mut run.random;
            run.world.tick(random);
            ticks += 1;
            assert!(ticks < MOST_TICKS, "seed {seed}: {decision:#?}");
        }
        let replaced = |machine: &instar_planner::Machine| machine.rollout_time >= Some(after());
        assert!(run.world.machines.iter().all(replaced), "seed {seed}");
        assert_eq!(born(&run.world), before, "seed {seed}");
        let written = before.len();
        assert_eq!(run.world.swaps, written, "seed {seed}: one write for each pool");
    }
}
