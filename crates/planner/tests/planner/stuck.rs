//! A control plane whose new machine never comes up, and another target: back to what was there, and from there on.

use std::collections::{BTreeMap, BTreeSet};

use instar_domain::KubeVersion;
use instar_planner::{
    Action, Direction, Flavor, Lifecycle, Machine, MinorRollback, Node, Operation, PoolId, Rollback, RollbackScope,
    Target, UpgradeSpec, Violation, check, plan, way_back,
};
use jiff::SignedDuration;

use crate::{
    properties::{Faults, Run, seeds, world},
    scenarios::{complete, decide, until},
    way_back::at_a_release,
    world::{
        MACHINE_START, World,
        catalog::{of, row, rows},
        random::Random,
        version,
    },
};

/// A release of a version whose control plane never boots.
const BAD: u32 = 7;

/// The catalog has such a release of a version.
pub fn with_a_bad_row(world: &mut World, version: &str) {
    let etcd = rows().into_iter().find(|(_, row)| row["version"] == version).unwrap().1;
    let tag = |component: &str| etcd["components"][component]["imageTag"].as_str().unwrap().to_owned();
    let (name, mut bad) = row(version, BAD, &tag("etcd"), &tag("coreDNS"));
    bad["support"] = serde_json::json!({"tier": "Preview"});
    world.catalog = of(rows().into_iter().chain([(name, bad)]).collect());
    let image = format!("ControlPlane-{version}-{BAD}");
    // A webhook may write it otherwise.
    world.never_boots.extend([image.to_lowercase(), image]);
}

pub fn bad(version: &str) -> Target {
    Target::Release(format!("{version}-{BAD}"))
}

pub fn is_stuck(world: &World) -> bool {
    world.machines.iter().any(|machine| {
        machine.pool == Some(PoolId::ControlPlane)
            && machine.lifecycle == Lifecycle::Active
            && machine.node == Node::Absent
            && machine
                .created
                .is_some_and(|made| world.now.duration_since(made) >= MACHINE_START)
    })
}

/// A cluster of three whose upgrade to a release is stuck.
fn stuck(from: &str, etcd: &str, at: &str) -> World {
    let mut world = at_a_release(from, etcd, at);
    with_a_bad_row(&mut world, at);
    world.add_pool("md-0", &version(from), 2);
    world.upgrade_spec.target = bad(at);
    until_stuck(world)
}

fn until_stuck(mut world: World) -> World {
    let mut random = Random::new(5);
    for _ in 0..1_000 {
        if is_stuck(&world) {
            return world;
        }
        let decision = world.plan();
        assert_eq!(check(&world.snapshot(), &decision), []);
        world.write(&decision.action);
        world.tick(&mut random);
    }
    panic!("no machine is stuck: {:#?}", world.plan());
}

fn joined(world: &World) -> BTreeSet<String> {
    let joined = world.machines.iter().filter(|machine| machine.node != Node::Absent);
    joined.map(|machine| machine.name.clone()).collect()
}

fn says(world: &mut World) -> Vec<String> {
    let decision = world.plan();
    let texts = decision.waiting.iter();
    texts
        .map(|waiting| format!("{}: {waiting}", waiting.reason()))
        .collect()
}

/// The swap back, once the path to another target is pinned.
fn taken_back(world: &mut World) -> Action {
    let pin = decide(&world.snapshot());
    assert!(matches!(pin.action, Action::PinPath(_)), "{pin:#?}");
    world.write(&pin.action);
    decide(&world.snapshot()).action
}

#[test]
fn another_release_goes_back_and_then_forward_in_two_swaps() {
    for (from, etcd, at, to) in [
        ("v1.34.1", "3.6.5-0", "v1.35.5", "v1.35.5-2"),
        // A newer minor version of etcd, of which nothing has run.
        ("v1.33.5", "3.5.26-0", "v1.34.5", "v1.34.5-1"),
        // A patch release, and another release of the same version.
        ("v1.35.1", "3.6.6-0", "v1.35.5", "v1.35.5-2"),
        ("v1.35.5", "3.6.6-0", "v1.35.5", "v1.35.5-2"),
        // On to the next minor, and to an older patch than what is stuck.
        ("v1.34.1", "3.6.5-0", "v1.35.5", "v1.36.5"),
        ("v1.34.1", "3.6.5-0", "v1.35.5", "v1.35.1"),
    ] {
        let mut world = stuck(from, etcd, at);
        let template = world.control_plane.infrastructure.clone().unwrap();
        let (swaps, before) = (world.swaps, joined(&world));
        world.upgrade_spec.target = Target::Text(to.to_owned());
        let Action::SwapControlPlane(back) = taken_back(&mut world) else {
            panic!("{from} {at} {to}: {:#?}", world.plan())
        };
        assert_eq!(back.version, version(from));
        assert_eq!(back.template.as_ref().unwrap().name, "blue-cp");
        world.write(&Action::SwapControlPlane(back));
        // All the machines that were there stay until the next step.
        until(&mut world, |decision| {
            matches!(decision.action, Action::MintTemplate(_) | Action::SwapControlPlane(_))
        });
        assert_eq!(joined(&world), before, "{from} {at} {to}");
        assert_eq!(world.swaps, swaps + 1);
        until(&mut world, complete);
        let wanted = world
            .catalog
            .named_anywhere(to)
            .map_or_else(|| version(to), |row| row.version().clone());
        assert_eq!(world.control_plane.version, wanted, "{from} {at} {to}");
        assert_ne!(world.control_plane.infrastructure, Some(template), "{from} {at} {to}");
        let history = world.control_plane.object.swap_history.as_ref().unwrap();
        let directions: Vec<Direction> = history.entries().iter().map(|entry| entry.direction).take(3).collect();
        assert_eq!(directions, [Direction::Forward, Direction::Back, Direction::Forward]);
        assert!(history.last().unwrap().converged.is_some());
    }
}

#[test]
fn what_it_waits_for_says_what_ends_it() {
    let mut world = stuck("v1.34.1", "3.6.5-0", "v1.35.5");
    let first = says(&mut world)[0].clone();
    assert!(
        first.ends_with(
            " and has had no node since: the rollout to v1.35.5 has to end first; repair what keeps the Machine from \
             starting, or name another release in spec.target of the ClusterUpgrade: the control plane then goes back \
             to v1.34.1, and from there to that release"
        ),
        "{first}"
    );
    world.upgrade_spec.target = Target::Text("v1.36.5".to_owned());
    let first = says(&mut world)[0].clone();
    assert!(
        first.ends_with(
            " and has had no node since: the control plane goes back from v1.35.5 to v1.34.1, and from there to \
             release v1.35.5-2"
        ),
        "{first}"
    );
}

#[test]
fn a_new_upgrade_in_the_place_of_the_first_does_the_same() {
    let mut world = stuck("v1.34.1", "3.6.5-0", "v1.35.5");
    world.upgrade_spec = UpgradeSpec::new("second", Target::Text("v1.35.5-2".to_owned()));
    world.upgrade_spec.source = Some("v1.34".to_owned());
    // What holds its start doesn't hold what takes the step of the first one back, and holds the next one.
    world.preflight = vec![crate::world::held_by_check()];
    let Action::SwapControlPlane(back) = taken_back(&mut world) else {
        panic!("{:#?}", world.plan())
    };
    world.write(&Action::SwapControlPlane(back));
    let mut random = Random::new(1);
    for _ in 0..200 {
        let decision = decide(&world.snapshot());
        assert_eq!(decision.action, Action::Nothing, "{decision:#?}");
        world.tick(&mut random);
    }
    world.preflight.clear();
    until(&mut world, complete);
    assert_eq!(world.control_plane.version, version("v1.35.5"));
}

/// Until a release that isn't the stuck one is asked for, and where the way to it leads through that one, it waits.
#[test]
fn nothing_goes_back_for_the_same_release() {
    let mut world = stuck("v1.34.1", "3.6.5-0", "v1.35.5");
    assert_eq!(decide(&world.snapshot()).action, Action::Nothing);
    let (name, good) = row("v1.35.5", BAD, "3.6.6-0", "v1.13.1");
    world.catalog = of(rows()
        .into_iter()
        .filter(|(_, row)| row["version"] != "v1.35.1" && row["version"] != "v1.35.5")
        .chain([(name, good)])
        .collect());
    world.upgrade_spec.target = Target::Text("v1.36.5".to_owned());
    let decision = decide(&world.snapshot());
    assert_eq!(decision.action, Action::Nothing, "{decision:#?}");
}

#[test]
fn what_has_run_or_may_come_up_still_is_left_alone() {
    let new = |world: &mut World| -> usize {
        let mut machines = world.machines.iter();
        let new =
            |machine: &Machine| machine.pool == Some(PoolId::ControlPlane) && machine.version == version("v1.35.5");
        machines.position(new).unwrap()
    };
    let base = || {
        let mut world = stuck("v1.34.1", "3.6.5-0", "v1.35.5");
        world.upgrade_spec.target = Target::Text("v1.35.5-2".to_owned());
        world
    };
    let mut young = base();
    let at = new(&mut young);
    young.machines[at].created = Some(young.now - MACHINE_START + SignedDuration::from_secs(1));
    let mut has_joined = base();
    has_joined.machine(PoolId::ControlPlane, version("v1.35.5"), "blue-cp");
    let last = has_joined.machines.last_mut().unwrap();
    last.node = crate::world::joined("m", &version("v1.35.5"));
    last.template = None;
    let mut another_kind = base();
    another_kind.control_plane.flavor = Flavor::Other;
    let mut changed = base();
    changed.add_template("own");
    changed.control_plane.infrastructure.as_mut().unwrap().name = "own".to_owned();
    for world in [young, has_joined, another_kind, changed] {
        let decision = plan(&world.snapshot());
        let is_back = matches!(&decision.action, Action::SwapControlPlane(swap) if swap.version == version("v1.34.1"));
        let is_pinned = matches!(&decision.action, Action::PinPath(_));
        assert!(!is_back && !is_pinned, "{decision:#?}");
    }
}

/// Its entry is written into the history of the control plane; nothing else is.
fn restarted(world: &mut World) {
    let object = &mut world.control_plane.object;
    let history = object.swap_history.as_ref();
    let mut entries = history.map_or_else(Vec::new, |history| history.entries().to_vec());
    let stands = entries.last().map_or_else(
        || {
            crate::world::swap_history("restart", "v1.34.1", "blue-cp").entries()[0]
                .after
                .clone()
        },
        |last| last.after.clone(),
    );
    entries.push(instar_planner::SwapEntry {
        upgrade: instar_planner::UpgradeId {
            name: "restart".to_owned(),
            started: Some(world.now),
        },
        since: world.now,
        before: stands.clone(),
        after: stands,
        converged: None,
        direction: Direction::Forward,
    });
    object.swap_history = instar_planner::SwapHistory::from_annotation(&serde_json::to_string(&entries).unwrap());
}

/// The infrastructure machines don't say of which template they are, so that only their times tell them apart.
fn without_templates(world: &mut World) {
    let machines = world.machines.iter_mut();
    for machine in machines.filter(|machine| machine.pool == Some(PoolId::ControlPlane)) {
        machine.template = None;
    }
}

#[test]
fn a_machine_of_a_restart_that_never_comes_up_is_no_step_that_is_taken_back() {
    let mut world = at_a_release("v1.34.1", "3.6.5-0", "v1.35.5");
    world.now += SignedDuration::from_hours(1);
    restarted(&mut world);
    world.machine(PoolId::ControlPlane, version("v1.34.1"), "blue-cp");
    without_templates(&mut world);
    world.now += MACHINE_START;
    assert!(is_stuck(&world));
    for target in ["v1.34.5", "v1.35.5"] {
        world.upgrade_spec.target = Target::Text(target.to_owned());
        let decision = decide(&world.snapshot());
        let back = |says: &String| says.contains("goes back from");
        assert!(!says(&mut world).iter().any(back), "{target}: {decision:#?}");
        assert!(
            !matches!(decision.action, Action::SwapControlPlane(_)),
            "{target}: {decision:#?}"
        );
    }
}

#[test]
fn a_stuck_step_is_taken_back_also_after_a_restart() {
    for (from, etcd, has_templates) in [
        ("v1.34.1", "3.6.5-0", true),
        ("v1.34.1", "3.6.5-0", false),
        ("v1.35.5", "3.6.6-0", true),
    ] {
        let mut world = stuck(from, etcd, "v1.35.5");
        restarted(&mut world);
        if !has_templates {
            without_templates(&mut world);
        }
        world.upgrade_spec.target = Target::Text("v1.35.5-2".to_owned());
        let back = taken_back(&mut world);
        assert!(
            matches!(&back, Action::SwapControlPlane(swap) if swap.version == version(from)),
            "{from} {has_templates}: {back:#?}"
        );
        let decision = decide(&world.snapshot());
        assert_eq!(check(&world.snapshot(), &decision), [], "{from} {has_templates}");
    }
}

/// A plan that took it back in these worlds would be found.
#[test]
fn the_checker_knows_a_step_that_may_not_be_taken_back() {
    let mut world = stuck("v1.34.1", "3.6.5-0", "v1.35.5");
    world.upgrade_spec.target = Target::Text("v1.35.5-2".to_owned());
    let pin = world.plan();
    world.write(&pin.action);
    let decision = world.plan();
    assert_eq!(check(&world.snapshot(), &decision), []);
    let machine = world
        .machines
        .iter()
        .position(|machine| machine.version == version("v1.35.5"))
        .unwrap();
    let breaks = |change: &dyn Fn(&mut World)| {
        let mut other = world.clone();
        change(&mut other);
        check(&other.snapshot(), &decision)
    };
    assert_eq!(
        breaks(&|world| world.machines[machine].created = Some(world.now)),
        [Violation::ControlPlaneMoving]
    );
    assert_eq!(
        breaks(&|world| world.machines[machine].node = crate::world::joined("m", &version("v1.35.5"))),
        [Violation::ControlPlaneMoving]
    );
    assert_eq!(
        breaks(&|world| world.pools[0].object.version = version("v1.35.5")),
        [Violation::WorkersAhead]
    );
    assert_eq!(
        breaks(&|world| world.control_plane.flavor = Flavor::Other),
        [Violation::NotWhatWas]
    );
    let mut other = decision.clone();
    if let Action::SwapControlPlane(swap) = &mut other.action {
        swap.version = version("v1.34.5");
        swap.patch["spec"]["version"] = "v1.34.5".into();
    }
    assert!(check(&world.snapshot(), &other).contains(&Violation::NotWhatWas));
}

/// What the upgrade has taken back itself is no state to go back to.
#[test]
fn the_way_back_afterwards_leads_to_what_was_there_at_first() {
    for (from, etcd) in [("v1.34.1", "3.6.5-0"), ("v1.35.5", "3.6.6-0")] {
        let mut world = stuck(from, etcd, "v1.35.5");
        world.upgrade_spec.target = Target::Text("v1.35.5-2".to_owned());
        for moment in 0..2 {
            let asked = world.upgrade_spec.clone();
            if moment == 0 {
                let back = taken_back(&mut world);
                world.write(&back);
            } else {
                until(&mut world, complete);
            }
            let mut rolled_back = world.clone();
            rolled_back.minor_rollback = MinorRollback::Allow;
            rolled_back.pools[0].object.joins = instar_planner::JoinRule::AnyMinor;
            let said = way_back(&rolled_back.snapshot(), &asked.id()).unwrap();
            assert_eq!(said.refused, [], "{from} {moment}");
            rolled_back.upgrade_spec = UpgradeSpec {
                operation: Operation::Rollback(Rollback {
                    of: asked.id(),
                    target: "v1.35.5-2".to_owned(),
                    retry: 0,
                    scope: RollbackScope::All,
                }),
                ..UpgradeSpec::new("back", Target::Text(String::new()))
            };
            until(&mut rolled_back, complete);
            assert_eq!(rolled_back.control_plane.version, version(from));
            assert_eq!(rolled_back.control_plane.infrastructure.unwrap().name, "blue-cp");
        }
    }
}

#[test]
fn it_ends_at_the_new_target_and_no_machine_with_a_node_is_replaced_twice() {
    let mut gone_back = 0;
    for seed in seeds().step_by(4) {
        let mut random = Random::new(seed);
        let (mut start, wanted) = world(&mut random);
        let asked = start.upgrade_spec.target.clone();
        // Some version on the way has a release that never boots, and the user asks for it first.
        let present = start.control_plane.version.minor().minor;
        let minor = present
            + 1
            + u64::try_from(random.below(usize::try_from(wanted.minor().minor - present).unwrap())).unwrap();
        let broken = format!("v1.{minor}.5");
        with_a_bad_row(&mut start, &broken);
        start.upgrade_spec.target = bad(&broken);
        let mut run = Run::new(start, seed, Faults::Some);
        for _ in 0..1_500 {
            if is_stuck(&run.world) {
                break;
            }
            run.pass();
            run.world.tick(&mut run.random);
        }
        assert!(is_stuck(&run.world), "seed {seed}: {:#?}", run.world.plan());
        if random.chance(50) {
            run.world.upgrade_spec.upgrade = "second".to_owned();
        }
        run.world.upgrade_spec.target = asked;
        run.finish(|_, _, _| {});
        let world = &run.world;
        let all = world.pools.iter().map(|pool| &pool.object.version);
        assert!(
            all.chain([&world.control_plane.version]).all(|at| *at == wanted),
            "seed {seed}"
        );
        let mut made: BTreeMap<(KubeVersion, bool), usize> = BTreeMap::new();
        for (pool, version, image) in &world.births {
            if *pool == PoolId::ControlPlane {
                *made
                    .entry((version.clone(), world.never_boots.contains(image)))
                    .or_default() += 1;
            }
        }
        for ((version, never_boots), count) in made {
            let expected = if never_boots { 1 } else { 3 };
            assert_eq!(count, expected, "seed {seed}: {version} {never_boots}");
        }
        gone_back += 1;
    }
    assert!(gone_back > 0);
}
