//! The way back: what an upgrade changed is as it was before, or it is said why not.

use std::collections::{BTreeMap, BTreeSet};

use instar_api::GatePoint;
use instar_domain::KubeVersion;
use instar_planner::{
    Action, Decision, Flavor, GateHistory, JoinRule, Lifecycle, MinorRollback, NoWayBack, Operation, PoolId,
    PoolOverride, Rollback, RollbackScope, Stage, Target, UpgradeSpec, Violation, Waiting, check, plan, way_back,
};

use crate::{
    properties::{Faults, MOST_TICKS, Run, seeds, world},
    scenarios::{complete, until},
    world::{World, addons::Sets, random::Random, version},
};

/// From here on the upgrade is taken back.
pub fn take_back(world: &mut World, scope: RollbackScope, minor_rollback: MinorRollback) {
    world.minor_rollback = minor_rollback;
    world.addon_gates.taken_back = world.upgrade_spec.gate_history.set.clone();
    world.upgrade_spec = UpgradeSpec {
        operation: Operation::Rollback(Rollback {
            of: world.upgrade_spec.id(),
            target: world.upgrade_spec.target.as_str().to_owned(),
            retry: world.upgrade_spec.retry,
            scope,
        }),
        strategy: world.upgrade_spec.strategy,
        order: world.upgrade_spec.order.clone(),
        ..UpgradeSpec::new("back", Target::Text(String::new()))
    };
}

pub fn etcd(world: &World) -> Option<&str> {
    match &world.control_plane.flavor {
        Flavor::Kubeadm {
            cluster_configuration, ..
        } => cluster_configuration.etcd.local.image_tag.as_deref(),
        Flavor::Other => None,
    }
}

/// What each pool is to be.
pub fn specs(world: &World) -> Vec<(String, String, String)> {
    let spec =
        |name: &str, version: &KubeVersion, template: &str| (name.to_owned(), version.to_string(), template.to_owned());
    let control_plane = &world.control_plane;
    let template = control_plane.infrastructure.as_ref().unwrap();
    let pools = world.pools.iter().map(|pool| {
        let object = &pool.object;
        spec(&object.object.name, &object.version, &object.infrastructure.name)
    });
    pools
        .chain([spec("control plane", &control_plane.version, &template.name)])
        .collect()
}

/// What each MachinePool is to be: its version and its image.
fn machine_pools(world: &World) -> Vec<(String, String, String)> {
    let pools = world.machine_pools.iter().map(|pool| {
        let image = pool.infrastructure.spec["image"].as_str().unwrap_or_default();
        let name = pool.pool.object.name.clone();
        (name, pool.pool.version.to_string(), image.to_owned())
    });
    pools.collect()
}

/// The MachinePools that are said to stay.
fn staying(decision: &Decision) -> BTreeSet<String> {
    let reasons = decision.waiting.iter().filter_map(|waiting| match waiting {
        Waiting::NoWayBack(reason) => match &**reason {
            NoWayBack::MachinePool { name, .. } => Some(name.clone()),
            _ => None,
        },
        _ => None,
    });
    reasons.collect()
}

/// What a pool was: its version and its template.
fn was(before: &World, pool: &PoolId) -> Option<(KubeVersion, String)> {
    match pool {
        PoolId::ControlPlane => {
            let template = before.control_plane.infrastructure.as_ref()?;
            Some((before.control_plane.version.clone(), template.name.clone()))
        }
        PoolId::Workers(name) => {
            let mut pools = before.pools.iter().map(|pool| &pool.object);
            let pool = pools.find(|pool| pool.object.name == *name)?;
            Some((pool.version.clone(), pool.infrastructure.name.clone()))
        }
        PoolId::MachinePool(_) => None,
    }
}

/// The machines of a pool that are as it was, and stay: of a MachineDeployment no more than its MachineSet keeps.
fn standing(world: &World, before: &World, pool: &PoolId) -> (BTreeSet<String>, usize) {
    let (version, template) = was(before, pool).unwrap();
    let machines = world.machines.iter().filter(|machine| {
        machine.lifecycle == Lifecycle::Active
            && machine.pool.as_ref() == Some(pool)
            && machine.version == version
            && machine.template.as_ref() == Some(&template)
    });
    let machines: BTreeSet<String> = machines.map(|machine| machine.name.clone()).collect();
    let sets = world.sets.iter().filter(|set| {
        set.pool.clone().map(PoolId::Workers).as_ref() == Some(pool)
            && set.version == version
            && set.infrastructure.name == template
    });
    let kept = match pool {
        PoolId::ControlPlane => machines.len(),
        PoolId::Workers(_) | PoolId::MachinePool(_) => sets.map(|set| usize::try_from(set.replicas).unwrap()).sum(),
    };
    let kept = kept.min(machines.len());
    (machines, kept)
}

/// Whether the spec of a pool says again what it said.
fn is_set_back(world: &World, before: &World, pool: &PoolId) -> bool {
    was(world, pool) == was(before, pool)
}

pub fn refused(decision: &Decision) -> Vec<&NoWayBack> {
    let reasons = decision.waiting.iter().filter_map(|waiting| match waiting {
        Waiting::NoWayBack(reason) => Some(&**reason),
        _ => None,
    });
    reasons.filter(|reason| reason.refuses()).collect()
}

/// A cluster before its upgrade.
pub fn start(random: &mut Random) -> World {
    let (mut start, _) = world(random);
    if random.chance(40) {
        // A patch release, which can always be taken back.
        let pools = random.below(4);
        start = at_a_release("v1.35.1", "3.6.6-0", "v1.35.5");
        for pool in 0..pools {
            let replicas = u32::try_from(random.below(4)).unwrap();
            start.add_pool(&format!("md-{pool}"), &version("v1.35.1"), replicas);
        }
    }
    if random.chance(60) {
        start.machine_pools.clear();
    }
    if random.chance(50) {
        start.addon_gates.points = GatePoint::ALL.into_iter().filter(|_| random.chance(70)).collect();
        start.addon_gates.sets = Sets::Something;
    }
    for pool in &mut start.machine_pools {
        pool.pool.joins = if random.chance(50) {
            JoinRule::AnyMinor
        } else {
            JoinRule::SameMinor
        };
    }
    for pool in &mut start.pools {
        pool.object.joins = if random.chance(50) {
            JoinRule::AnyMinor
        } else {
            JoinRule::SameMinor
        };
    }
    start
}

#[test]
fn what_is_taken_back_is_as_it_was_whatever_fails() {
    let (mut back, mut held) = (0, 0);
    // Each is an upgrade and a way back.
    let worlds = seeds().step_by(3);
    let are_many = worlds.clone().count() > 50;
    for seed in worlds {
        let mut random = Random::new(seed);
        let start = start(&mut random);
        let mut run = Run::new(start.clone(), seed, Faults::Some);
        for _ in 0..random.below(300) {
            run.pass();
            run.world.tick(&mut run.random);
        }
        let scope = if random.chance(70) {
            RollbackScope::All
        } else {
            RollbackScope::Workers
        };
        let minor = if random.chance(60) {
            MinorRollback::Allow
        } else {
            MinorRollback::Refuse
        };
        // What is asked from here on.
        let said = {
            run.world.minor_rollback = minor;
            way_back(&run.world.snapshot(), &run.world.upgrade_spec.id()).unwrap()
        };
        take_back(&mut run.world, scope, minor);
        let mut stood = BTreeMap::new();
        let control_plane = run.world.control_plane.version.clone();
        let first = run.world.plan();
        let why = match scope {
            RollbackScope::All => &said.refused,
            RollbackScope::Workers => &said.workers_refused,
        };
        if !refused(&first).is_empty() {
            assert!(!why.is_empty(), "seed {seed}: it was said to be possible: {first:#?}");
        }
        let mut ended = None;
        for _ in 0..MOST_TICKS {
            let decision = run.pass();
            let names = start.pools.iter().map(|pool| pool.object.object.name.clone());
            let pools = names.map(PoolId::Workers);
            for pool in pools.chain([PoolId::ControlPlane]) {
                if is_set_back(&run.world, &start, &pool) && !stood.contains_key(&pool) {
                    let standing = standing(&run.world, &start, &pool);
                    stood.insert(pool, standing);
                }
            }
            run.world.tick(&mut run.random);
            let now = run.world.plan();
            let is_refused = |decision: &Decision| !refused(decision).is_empty() && decision.action == Action::Nothing;
            let is_done = |decision: &Decision| decision.progress.stage == Stage::Complete;
            if (is_done(&decision) && is_done(&now)) || (is_refused(&decision) && is_refused(&now)) {
                ended = Some(now);
                break;
            }
        }
        let Some(ended) = ended else {
            panic!(
                "seed {seed}: it doesn't end: {:#?}\n{:?}\n{:?}",
                run.world.plan(),
                run.world.pools,
                run.world.sets
            );
        };
        let (world, is_back) = (&run.world, ended.progress.stage == Stage::Complete);
        if !is_back {
            held += 1;
            continue;
        }
        back += 1;
        // None is replaced that is old still.
        for (pool, (stood, kept)) in &stood {
            let (stands, _) = standing(world, &start, pool);
            assert!(
                stood.intersection(&stands).count() >= *kept,
                "seed {seed}: of {stood:?} of {pool} {kept} were to stay, and {stands:?} are there"
            );
        }
        let (mut is, mut was) = (specs(world), specs(&start));
        match scope {
            RollbackScope::All => {
                assert_eq!(etcd(world), etcd(&start), "seed {seed}");
                let what_was = start.addon_gates.value.clone();
                assert_eq!(
                    world.addon_gates.value, what_was,
                    "seed {seed}: what add-ons had before"
                );
            }
            RollbackScope::Workers => {
                assert_eq!(world.control_plane.version, control_plane, "seed {seed}");
                (is, was) = (is[..is.len() - 1].to_vec(), was[..was.len() - 1].to_vec());
            }
        }
        assert_eq!(is, was, "seed {seed}");
        assert_machine_pools_are_back(world, &start, &ended, seed);
    }
    assert!(
        !are_many || (back > 0 && held > 0),
        "{back} came back and {held} were held"
    );
}

/// But for those that can't go back, and are said to stay.
fn assert_machine_pools_are_back(world: &World, start: &World, ended: &Decision, seed: u64) {
    let stay = staying(ended);
    let pools = |world: &World| {
        let pools = machine_pools(world).into_iter();
        pools.filter(|(name, ..)| !stay.contains(name)).collect::<Vec<_>>()
    };
    assert_eq!(pools(world), pools(start), "seed {seed}");
    assert!(world.marks().is_empty(), "seed {seed}: {:?}", world.marks());
}

/// A cluster with the etcd of its release.
pub fn at_a_release(from: &str, etcd: &str, to: &str) -> World {
    let mut world = World::new(from, 3, Target::Text(to.to_owned()));
    if let Flavor::Kubeadm {
        cluster_configuration, ..
    } = &mut world.control_plane.flavor
    {
        cluster_configuration.etcd.local.image_tag = Some(etcd.to_owned());
    }
    world
}

/// The same, whose upgrade has ended.
fn upgraded(pools: usize, to: &str) -> World {
    let mut world = at_a_release("v1.35.1", "3.6.6-0", to);
    for pool in 0..pools {
        world.add_pool(&format!("md-{pool}"), &version("v1.35.1"), 2);
    }
    let mut random = Random::new(1);
    for _ in 0..400 {
        let decision = plan(&world.snapshot());
        world.write(&decision.action);
        world.tick(&mut random);
    }
    assert_eq!(world.plan().progress.stage, Stage::Complete);
    world
}

/// The decision after what is taken back was written down.
fn pinned(world: &mut World) -> Decision {
    let first = world.plan();
    assert!(matches!(first.action, Action::PinPath(_)), "{first:#?}");
    assert_eq!(check(&world.snapshot(), &first), []);
    world.write(&first.action);
    world.plan()
}

/// The control plane's next step has begun after the workers arrived, and doesn't boot.
#[test]
fn a_control_plane_that_rolls_turns_around_before_the_workers() {
    let mut world = at_a_release("v1.34.1", "3.6.5-0", "v1.34.5-1");
    world.add_pool("md-0", &version("v1.34.1"), 2);
    until(&mut world, complete);
    world.upgrade_spec.target = Target::Text("v1.35.5-1".to_owned());
    until(&mut world, |decision| {
        matches!(decision.action, Action::SwapControlPlane(_))
    });
    let swap = world.plan();
    world.write(&swap.action);
    take_back(&mut world, RollbackScope::All, MinorRollback::Refuse);
    let decision = pinned(&mut world);
    let Action::SwapControlPlane(swap) = &decision.action else {
        panic!("{decision:#?}")
    };
    assert_eq!(swap.version, version("v1.34.5"));
    until(&mut world, complete);
    assert_eq!(world.control_plane.version, version("v1.34.1"));
    assert_eq!(world.pools[0].object.version, version("v1.34.1"));
}

#[test]
fn what_was_taken_back_is_not_gone_to_again_before_something_else_is_asked_for() {
    let mut world = upgraded(1, "v1.35.5");
    let asked = world.upgrade_spec.clone();
    take_back(&mut world, RollbackScope::All, MinorRollback::Refuse);
    until(&mut world, complete);
    for name in ["up", "made-again-by-git"] {
        world.upgrade_spec = asked.clone();
        world.upgrade_spec.upgrade = name.to_owned();
        let decision = world.plan();
        assert_eq!(
            (decision.action.clone(), decision.progress.stage),
            (Action::Nothing, Stage::Held)
        );
        let texts: Vec<String> = refused(&decision).iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [format!(
                "v1.35.5 was taken back by ClusterUpgrade back, and isn't gone to again by itself: name another target, \
                     or ask for it once more: kubectl -n default patch clusterupgrade {name} --type=merge -p \
                     '{{\"spec\":{{\"retry\":1}}}}'"
            )]
        );
    }
    world.upgrade_spec.target = Target::Text("v1.35.5-2".to_owned());
    until(&mut world, complete);
    assert_eq!(world.control_plane.version, version("v1.35.5"));
}

#[test]
fn what_was_taken_back_is_gone_to_once_more_for_each_higher_number() {
    for (name, target) in [("up", "v1.35.5"), ("up", "v1.35.5-1"), ("again", "v1.35.5-1")] {
        let mut world = upgraded(1, target);
        let mut asked = world.upgrade_spec.clone();
        for retry in 1..4 {
            take_back(&mut world, RollbackScope::All, MinorRollback::Refuse);
            until(&mut world, complete);
            assert_eq!(world.control_plane.version, version("v1.35.1"));
            name.clone_into(&mut asked.upgrade);
            // As often as Git applies it.
            world.upgrade_spec = asked.clone();
            assert_eq!(world.plan().action, Action::Nothing, "{name} {retry}");
            asked.retry = retry;
            world.upgrade_spec = asked.clone();
            let first = world.plan();
            assert_eq!(check(&world.snapshot(), &first), []);
            world.write(&first.action);
            // The number isn't asked for any more once it has begun.
            world.upgrade_spec.retry = 0;
            until(&mut world, complete);
            assert_eq!(world.control_plane.version, version("v1.35.5"));
            assert_eq!(world.pools[0].object.version, version("v1.35.5"));
            world.upgrade_spec.retry = retry;
        }
    }
}

/// What the controller does when the target of a completed upgrade is edited.
#[test]
fn a_rollback_goes_no_further_than_what_was_done_before_it_began_anew() {
    let mut world = upgraded(1, "v1.35.5-1");
    let rows = |world: &World| {
        let mut specs = specs(world);
        specs.sort();
        specs
    };
    let done = rows(&world);
    let began = world.upgrade_spec.id();
    world.upgrade_spec.started = Some(world.now);
    world.upgrade_spec.gate_history = GateHistory::default();
    assert_ne!(world.upgrade_spec.id(), began);
    world.upgrade_spec.target = Target::Text("v1.35.5-2".to_owned());
    until(&mut world, complete);
    assert_ne!(rows(&world), done);
    take_back(&mut world, RollbackScope::All, MinorRollback::Refuse);
    until(&mut world, complete);
    assert_eq!(rows(&world), done);
}

#[test]
fn a_rollback_with_nothing_to_do_spends_the_upgrade() {
    let mut world = at_a_release("v1.34.5", "3.6.5-0", "v1.35.5-1");
    world.add_pool("md-0", &version("v1.34.5"), 2);
    until(&mut world, |decision| matches!(decision.action, Action::SwapWorkers(_)));
    let asked = world.upgrade_spec.clone();
    take_back(&mut world, RollbackScope::Workers, MinorRollback::Refuse);
    let swaps = world.swaps;
    until(&mut world, complete);
    assert_eq!(world.swaps, swaps);
    world.upgrade_spec = asked;
    assert!(
        !refused(&world.plan()).is_empty(),
        "the workers are to stay where they are"
    );
}

#[test]
fn what_another_client_changed_is_named_before_anything_is_taken_back() {
    let mut world = upgraded(1, "v1.35.5");
    world.give_own_template("md-0");
    take_back(&mut world, RollbackScope::All, MinorRollback::Refuse);
    let pool = PoolId::Workers("md-0".to_owned());
    assert_eq!(refused(&world.plan()), [&NoWayBack::Changed { pool }]);
    world.upgrade_spec.pools.insert("md-0".to_owned(), PoolOverride::Hold);
    let decision = pinned(&mut world);
    assert!(matches!(decision.action, Action::SwapControlPlane(_)), "{decision:#?}");
}

#[test]
fn workers_go_first_and_a_kubelet_is_never_newer() {
    let mut world = upgraded(1, "v1.35.5");
    take_back(&mut world, RollbackScope::All, MinorRollback::Refuse);
    let decision = pinned(&mut world);
    let Action::SwapWorkers(swap) = &decision.action else {
        panic!("{decision:#?}")
    };
    assert_eq!(swap.version, version("v1.35.1"));
    assert_eq!(swap.template.as_ref().unwrap().name, "blue-md-0");
    // The same swap of the control plane, before the workers are back, is one that no plan makes.
    let mut earlier = world.clone();
    earlier.pools.clear();
    let of_control_plane = earlier.plan();
    let Action::SwapControlPlane(_) = &of_control_plane.action else {
        panic!("{of_control_plane:#?}")
    };
    assert_eq!(check(&earlier.snapshot(), &of_control_plane), []);
}

#[test]
fn another_target_than_what_was_there_breaks_an_invariant() {
    let mut world = upgraded(1, "v1.35.5");
    take_back(&mut world, RollbackScope::All, MinorRollback::Refuse);
    let mut decision = pinned(&mut world);
    if let Action::SwapWorkers(swap) = &mut decision.action {
        swap.version = version("v1.34.5");
        swap.patch["spec"]["template"]["spec"]["version"] = "v1.34.5".into();
    }
    let broken = check(&world.snapshot(), &decision);
    assert!(broken.contains(&Violation::NotWhatWas), "{broken:?}");
}

#[test]
fn a_minor_of_the_control_plane_goes_back_only_where_a_policy_lets_it() {
    let mut world = upgraded(0, "v1.36.5");
    let text = |world: &mut World| {
        refused(&world.plan())
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let upgrade = world.upgrade_spec.clone();
    take_back(&mut world, RollbackScope::All, MinorRollback::Refuse);
    assert_eq!(
        text(&mut world),
        [
            "API servers of v1.36.5 have run, and Kubernetes supports no way back to v1.35.1: take the workers alone \
             back by the operation RollbackWorkers, or allow it by spec.rollback.controlPlaneMinor of an UpgradePolicy"
        ]
    );
    world.upgrade_spec = upgrade;
    take_back(&mut world, RollbackScope::All, MinorRollback::Allow);
    let decision = pinned(&mut world);
    let Action::SwapControlPlane(swap) = &decision.action else {
        panic!("{decision:#?}")
    };
    assert_eq!(check(&world.snapshot(), &decision), []);
    let configuration = &swap.patch["spec"]["kubeadmConfigSpec"]["clusterConfiguration"];
    assert!(configuration["dns"].is_null(), "CoreDNS stays: {configuration}");
}

#[test]
fn nothing_is_taken_back_that_nobody_changed() {
    let mut world = upgraded(1, "v1.35.5");
    world.upgrade_spec.upgrade = "another".to_owned();
    take_back(&mut world, RollbackScope::All, MinorRollback::Allow);
    let decision = world.plan();
    assert_eq!(
        refused(&decision),
        [&NoWayBack::NothingChanged {
            upgrade: "another".to_owned()
        }]
    );
    assert_eq!(decision.progress.stage, Stage::Held);
}

#[test]
fn a_template_that_is_gone_is_minted_again_under_its_name_or_not_at_all() {
    let mut world = upgraded(1, "v1.35.5");
    // The next one comes from a template that Instar minted.
    let first = world.pools[0].object.infrastructure.name.clone();
    world.upgrade_spec = UpgradeSpec::new("second", Target::Text("v1.36.5".to_owned()));
    world.pools[0].object.joins = JoinRule::AnyMinor;
    let mut random = Random::new(2);
    for _ in 0..400 {
        let decision = plan(&world.snapshot());
        world.write(&decision.action);
        world.tick(&mut random);
    }
    assert_ne!(world.pools[0].object.infrastructure.name, first);
    take_back(&mut world, RollbackScope::Workers, MinorRollback::Refuse);
    world.templates.retain(|template| template.name != first);
    let decision = pinned(&mut world);
    let Action::MintTemplate(mint) = &decision.action else {
        panic!("{decision:#?}")
    };
    assert_eq!(mint.template.name, first);
    assert_eq!(check(&world.snapshot(), &decision), []);

    // What a user made isn't made again.
    let mut world = upgraded(1, "v1.35.5");
    take_back(&mut world, RollbackScope::Workers, MinorRollback::Refuse);
    world.templates.retain(|template| template.name != "blue-md-0");
    let decision = world.plan();
    let texts: Vec<String> = refused(&decision).iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "TestMachineTemplate blue-md-0, which MachineDeployment md-0 had before, is gone and Instar didn't make it: \
          create it again"
        ]
    );
}

#[test]
fn an_upgrade_that_is_aborted_ends_where_the_control_plane_stands() {
    for seed in seeds().step_by(5) {
        let mut random = Random::new(seed);
        let (start, _) = world(&mut random);
        let mut run = Run::new(start.clone(), seed, Faults::Some);
        for _ in 0..random.below(300) {
            run.pass();
            run.world.tick(&mut run.random);
        }
        run.world.upgrade_spec.operation = Operation::Abort;
        let stands = run.world.control_plane.version.clone();
        run.finish(|_, _, _| {});
        let world = &run.world;
        assert_eq!(world.control_plane.version, stands, "seed {seed}");
        let has_begun = world.control_plane.object.swap_history.is_some();
        for pool in world.pools.iter().filter(|_| has_begun) {
            assert_eq!(pool.object.version, stands, "seed {seed}: {}", pool.object.object.name);
        }
    }
}
