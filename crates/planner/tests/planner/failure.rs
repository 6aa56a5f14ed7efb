//! What counts as a failure, since when, and what becomes of the upgrade.

use instar_api::GatePoint;
use instar_planner::{
    Action, AddonProblem, AddonState, CanaryRule, Decision, ExistingRollback, ExistingState, Failed, Failure,
    FailureResponse, Lifecycle, MinorRollback, NodeReadiness, OnFailure, Operation, PoolId, PoolOverride,
    ProgressDeadline, RollbackScope, Stage, Strategy, check, deadline_of_step, standing,
};
use jiff::SignedDuration;

use crate::{
    properties::{Faults, MOST_TICKS, Run, seeds, world as any_world},
    scenarios::{complete, swaps_workers, until},
    way_back::{at_a_release, specs, start, take_back},
    world::{World, joined, random::Random, ready_since, version},
};

const NEW: &str = "v1.35.5";

/// Two pools, the first of which was just swapped to a version at which no worker joins.
fn swapped() -> World {
    let mut world = at_a_release("v1.35.1", "3.6.6-0", NEW);
    for pool in ["md-0", "md-1"] {
        world.add_pool(pool, &version("v1.35.1"), 2);
    }
    world.never_join.insert(version(NEW));
    let decision = until(&mut world, swaps_workers);
    world.write(&decision.action);
    world
}

/// Time for the controllers of Cluster API, and then as long as is asked.
fn pass(world: &mut World, minutes: i64) -> Decision {
    let began = world.now;
    let mut random = Random::new(3);
    for _ in 0..20 {
        let decision = world.plan();
        assert_eq!(check(&world.snapshot(), &decision), []);
        world.write(&decision.action);
        world.tick(&mut random);
    }
    world.now = began + SignedDuration::from_mins(minutes);
    world.plan()
}

fn said(decision: &Decision) -> Option<String> {
    decision.failed().map(ToString::to_string)
}

fn new_machine(world: &World) -> String {
    let machines = world.machines.iter();
    let mut new = machines.filter(|machine| machine.pool != Some(PoolId::ControlPlane) && !is_joined(machine));
    new.next().unwrap().name.clone()
}

fn is_joined(machine: &instar_planner::Machine) -> bool {
    matches!(machine.node, instar_planner::Node::Joined { .. })
}

#[test]
fn a_step_without_progress_has_failed_when_its_deadline_is_over_and_not_before() {
    let mut world = swapped();
    let began = world.now;
    let decision = pass(&mut world, 29);
    assert_eq!(said(&decision), None);
    let deadline = began + SignedDuration::from_mins(30);
    assert_eq!(deadline_of_step(&world.snapshot(), &decision), Some(deadline));
    world.now = deadline;
    let decision = world.plan();
    let machine = new_machine(&world);
    assert_eq!(
        said(&decision),
        Some(format!(
            "MachineDeployment md-0 has made no progress since {began:.0}, for longer than 30m: Machine {machine} isn't ready; \
             it goes on when that is mended"
        ))
    );
    assert_eq!(decision.waiting[0].reason().as_str(), "StalledStep");
    assert_eq!(decision.waiting[0].since(&world.snapshot()), Some(began));
    assert_eq!(decision.progress.stage, Stage::Workers);
    // Mended, it goes on by itself.
    world.never_join.clear();
    assert_eq!(said(&pass(&mut world, 31)), None);
    until(&mut world, complete);
}

#[test]
fn where_nothing_says_a_deadline_it_follows_from_how_long_machines_took() {
    let fixed = ProgressDeadline::Fixed(SignedDuration::from_mins(30));
    for (rule, took, deadline) in [
        (ProgressDeadline::Measured, 5, 30),
        (ProgressDeadline::Measured, 25, 75),
        (ProgressDeadline::Measured, 90, 120),
        (fixed, 25, 30),
    ] {
        let mut world = swapped();
        world.failure_rule.progress_deadline = rule;
        // One of the two is ready, and the other one was made then.
        let ready = world.now + SignedDuration::from_mins(took);
        pass(&mut world, 0);
        let first = new_machine(&world);
        let new = world
            .machines
            .iter_mut()
            .filter(|machine| machine.version == version(NEW));
        for machine in new.filter(|machine| machine.pool == Some(PoolId::Workers("md-0".to_owned()))) {
            if machine.name == first {
                machine.node = joined(&first, &version(NEW));
                machine.node_readiness = ready_since(ready);
            } else {
                machine.created = Some(ready);
            }
        }
        let late = ready + SignedDuration::from_mins(deadline);
        world.now = late - SignedDuration::from_secs(1);
        let decision = world.plan();
        assert_eq!(said(&decision), None, "{rule:?} {took}");
        assert_eq!(
            deadline_of_step(&world.snapshot(), &decision),
            Some(late),
            "{rule:?} {took}"
        );
        world.now = late;
        assert!(said(&world.plan()).is_some(), "{rule:?} {took}");
    }
}

type Change = fn(&mut World);

#[test]
fn what_is_slow_or_its_users_is_no_failure() {
    let machine = |world: &mut World, edit: fn(&mut instar_planner::Machine, jiff::Timestamp)| {
        let (name, now) = (new_machine(world), world.now);
        let mut machines = world.machines.iter_mut();
        edit(machines.find(|machine| machine.name == name).unwrap(), now);
    };
    let none: [(&str, Change); 6] = [
        ("its user has paused it", |world| {
            world.pause_pool("md-0", Lifecycle::Paused);
        }),
        ("an old machine is drained", |world| {
            let mut old = world
                .machines
                .iter_mut()
                .filter(|machine| machine.version != version(NEW));
            old.find(|machine| machine.pool == Some(PoolId::Workers("md-0".to_owned())))
                .unwrap()
                .lifecycle = Lifecycle::Deleting;
            // A new machine that doesn't come up is one by itself.
            let (new, now) = (new_machine(world), world.now);
            let mut machines = world.machines.iter_mut();
            machines.find(|machine| machine.name == new).unwrap().created = Some(now);
        }),
        ("its user deletes the machines", |world| {
            world.pools[0].object.rollout = instar_planner::Rollout::OnDelete;
        }),
        ("another upgrade's", |world| {
            world.upgrade_spec.upgrade = "other".to_owned();
        }),
        (
            "an older one was taken away first, and this one was made now",
            |world| {
                let mut old = world.machines.iter().filter(|machine| machine.version != version(NEW));
                let name = old
                    .find(|machine| machine.pool == Some(PoolId::Workers("md-0".to_owned())))
                    .unwrap()
                    .name
                    .clone();
                world.machines.retain(|machine| machine.name != name);
                let (new, now) = (new_machine(world), world.now);
                world
                    .machines
                    .iter_mut()
                    .find(|machine| machine.name == new)
                    .unwrap()
                    .created = Some(now);
            },
        ),
        ("one became ready a minute ago", |world| {
            let (name, now) = (new_machine(world), world.now);
            let mut machines = world.machines.iter_mut();
            let machine = machines.find(|machine| machine.name == name).unwrap();
            machine.node = joined(&name, &version(NEW));
            machine.node_readiness = ready_since(now - SignedDuration::from_mins(1));
        }),
    ];
    for (why, change) in none {
        let mut world = swapped();
        pass(&mut world, 31);
        change(&mut world);
        assert_eq!(said(&world.plan()), None, "{why}");
    }
    // What a MachineHealthCheck puts in the place of one that didn't come up is no progress.
    let mut replaced = swapped();
    pass(&mut replaced, 31);
    machine(&mut replaced, |machine, now| machine.created = Some(now));
    assert!(said(&replaced.plan()).is_some());
    // One machine that doesn't come up, while others do.
    let mut one = swapped();
    pass(&mut one, 20);
    machine(&mut one, |machine, now| {
        machine.created = Some(now - SignedDuration::from_mins(31));
    });
    assert!(said(&one.plan()).is_some());
}

#[test]
fn no_further_pool_begins_while_one_has_failed() {
    for (minutes, waits) in [(20, false), (31, true)] {
        let mut world = swapped();
        world.upgrade_spec.strategy = Strategy::Ordered;
        pass(&mut world, minutes);
        world.upgrade_spec.strategy = Strategy::All;
        let decision = world.plan();
        assert_eq!(decision.action == Action::Nothing, waits, "{decision:#?}");
    }
}

#[test]
fn what_becomes_of_it_is_what_the_rule_says_and_can_be_done() {
    let respond = |world: &mut World, on_failure| {
        world.failure_rule.on_failure = on_failure;
        world.plan().failed().unwrap().response.clone()
    };
    let mut world = swapped();
    pass(&mut world, 31);
    assert_eq!(respond(&mut world, OnFailure::Hold), FailureResponse::Hold);
    let workers = FailureResponse::TakeBack {
        scope: RollbackScope::Workers,
        because: None,
    };
    assert_eq!(respond(&mut world, OnFailure::RollbackWorkers), workers);
    let all = FailureResponse::TakeBack {
        scope: RollbackScope::All,
        because: None,
    };
    assert_eq!(respond(&mut world, OnFailure::Rollback), all);
    // A rollback that is there and does nothing isn't created again.
    for (state, says) in [
        (
            ExistingState::Open,
            "was to take it back, and its status says why it did not",
        ),
        (
            ExistingState::Completed,
            "has taken it back once already; create a rollback, or name another target",
        ),
        (
            ExistingState::Foreign,
            "has the name of its rollback, and its spec.clusterName or spec.rollbackOf is another; delete it",
        ),
    ] {
        let name = "up-rollback-1".to_owned();
        world.failure_rule.created = Some(ExistingRollback { name, state });
        assert_eq!(
            said(&world.plan()).unwrap().split_once("; ").unwrap().1,
            format!("it isn't taken back: ClusterUpgrade up-rollback-1 {says}")
        );
    }
    world.failure_rule.created = None;
    // A user has said what becomes of it.
    world.upgrade_spec.operation = Operation::Abort;
    assert_eq!(respond(&mut world, OnFailure::Rollback), FailureResponse::Hold);

    // Another minor version: the control plane stays.
    let mut world = at_a_release("v1.34.5", "3.6.5-0", "v1.35.5-1");
    world.add_pool("md-0", &version("v1.34.5"), 2);
    world.never_join.insert(version(NEW));
    let decision = until(&mut world, swaps_workers);
    world.write(&decision.action);
    pass(&mut world, 31);
    let FailureResponse::TakeBack {
        scope: RollbackScope::Workers,
        because: Some(because),
    } = respond(&mut world, OnFailure::Rollback)
    else {
        panic!("{:#?}", world.plan().failed());
    };
    assert!(because.starts_with("API servers of v1.35.5 have run"), "{because}");
}

#[test]
fn a_control_plane_that_is_stalled_has_no_workers_to_take_back() {
    let mut world = at_a_release("v1.35.1", "3.6.6-0", NEW);
    world.add_pool("md-0", &version("v1.35.1"), 1);
    let swap = until(&mut world, |decision| {
        matches!(decision.action, Action::SwapControlPlane(_))
    });
    world.write(&swap.action);
    world.now += SignedDuration::from_mins(31);
    world.failure_rule.on_failure = OnFailure::RollbackWorkers;
    let decision = world.plan();
    assert!(
        matches!(
            decision.failed(),
            Some(Failed {
                failure: Failure::StalledStep {
                    pool: PoolId::ControlPlane,
                    ..
                },
                response: FailureResponse::NotTakenBack { .. }
            })
        ),
        "{:#?}",
        decision.failed()
    );
    world.failure_rule.on_failure = OnFailure::Rollback;
    let decision = world.plan();
    let Some(FailureResponse::TakeBack { scope, .. }) = decision.failed().map(|failed| &failed.response) else {
        panic!("{decision:#?}");
    };
    assert_eq!(*scope, RollbackScope::All);
}

/// As [`until`], with gates.
fn until_asked(world: &mut World, is: impl Fn(&Decision) -> bool) -> Decision {
    let mut random = Random::new(1);
    for _ in 0..1_000 {
        let decision = world.plan();
        if is(&decision) {
            return decision;
        }
        world.write(&decision.action);
        world.tick(&mut random);
    }
    panic!("{:#?}", world.plan());
}

/// The gate of a point doesn't let through.
fn close(world: &mut World, problem: AddonProblem) {
    for state in world.addon_gates.states.values_mut() {
        *state = AddonState::Closed {
            problem,
            message: "not ready; that takes longer than 10m".to_owned(),
            until: None,
        };
    }
}

#[test]
fn a_gate_that_ends_the_upgrade_ends_it_before_anything_passes_it_and_not_after() {
    let mut world = at_a_release("v1.35.1", "3.6.6-0", NEW);
    for pool in ["md-0", "md-1"] {
        world.add_pool(pool, &version("v1.35.1"), 1);
    }
    world.addon_gates.points = [GatePoint::AfterControlPlane].into();
    let begin = until_asked(&mut world, |decision| matches!(decision.action, Action::BeginGates(_)));
    world.write(&begin.action);
    close(&mut world, AddonProblem::TimedOut);
    assert_eq!(said(&world.plan()), None, "it waits on");
    close(&mut world, AddonProblem::Expired);
    let decision = world.plan();
    assert_eq!(
        said(&decision).as_deref(),
        Some(
            "gate gate of UpgradePolicy p (AfterControlPlane v1.35.5): not ready; that takes longer than 10m; the upgrade has failed"
        )
    );
    assert_eq!(
        (decision.waiting[0].reason().as_str(), decision.progress.stage),
        ("UpgradeFailed", Stage::Held)
    );
    world.failure_rule.on_failure = OnFailure::RollbackWorkers;
    assert!(
        said(&world.plan()).unwrap().ends_with(
            "the upgrade has failed, and it isn't taken back: no MachineDeployment has gone anywhere that it could come back from"
        ),
        "{:?}",
        said(&world.plan())
    );
    // It was ready, and md-0 has gone.
    for state in world.addon_gates.states.values_mut() {
        *state = AddonState::Open;
    }
    let swap = until_asked(&mut world, swaps_workers);
    world.write(&swap.action);
    close(&mut world, AddonProblem::Expired);
    assert_eq!(said(&pass(&mut world, 5)), None);
}

fn unready(world: &mut World, pool: &str, minutes: i64) {
    let since = Some(world.now - SignedDuration::from_mins(minutes));
    let mut machines = world.machines.iter_mut();
    let of_pool = machines.find(|machine| machine.pool == Some(PoolId::Workers(pool.to_owned())));
    of_pool.unwrap().node_readiness = NodeReadiness::NotReady {
        message: "no CNI".to_owned(),
        since,
    };
}

#[test]
fn a_node_that_is_not_ready_fails_the_end_and_the_first_pools() {
    let mut world = at_a_release("v1.35.1", "3.6.6-0", NEW);
    for pool in ["md-0", "md-1"] {
        world.add_pool(pool, &version("v1.35.1"), 1);
    }
    world.canary = Some(CanaryRule {
        pools: 1,
        bake: SignedDuration::from_hours(2),
    });
    let bakes = |decision: &Decision| {
        let mut waiting = decision.waiting.iter();
        waiting.any(|waiting| waiting.to_string().contains("has been there since"))
    };
    until(&mut world, bakes);
    world.now += SignedDuration::from_mins(31);
    for (minutes, has_failed) in [(29, false), (30, true)] {
        unready(&mut world, "md-0", minutes);
        let decision = world.plan();
        let failure = decision.failed().map(|failed| &failed.failure);
        assert_eq!(
            matches!(failure, Some(Failure::CanaryFailed { pool, .. }) if pool == "md-0"),
            has_failed,
            "{failure:#?}"
        );
    }
    world.canary = None;
    let now = world.now;
    for machine in &mut world.machines {
        machine.node_readiness = ready_since(now - SignedDuration::from_hours(1));
    }
    until(&mut world, complete);
    world.now += SignedDuration::from_mins(31);
    for (minutes, has_failed) in [(29, false), (30, true)] {
        unready(&mut world, "md-1", minutes);
        let decision = world.plan();
        assert_eq!(decision.progress.stage, Stage::Verifying);
        let failure = decision.failed().map(|failed| &failed.failure);
        assert_eq!(
            matches!(failure, Some(Failure::VerificationFailed { .. })),
            has_failed,
            "{failure:#?}"
        );
    }
}

/// What wasn't ready before the upgrade came there, or where it never came, isn't its failure.
#[test]
fn a_node_counts_from_when_its_upgrade_has_arrived() {
    let mut world = at_a_release("v1.35.1", "3.6.6-0", NEW);
    for pool in ["md-0", "md-1"] {
        world.add_pool(pool, &version("v1.35.1"), 1);
    }
    world.upgrade_spec.pools.insert("md-1".to_owned(), PoolOverride::Hold);
    until(&mut world, complete);
    let arrived = world.now;
    let week = 7 * 24 * 60;
    for (pool, minutes, has_failed) in [("md-0", 20, false), ("md-0", 31, true), ("md-1", 31, false)] {
        let mut world = world.clone();
        world.now = arrived + SignedDuration::from_mins(minutes);
        unready(&mut world, pool, week);
        let decision = world.plan();
        assert_eq!(decision.progress.stage, Stage::Verifying, "{pool}");
        assert_eq!(decision.failed().is_some(), has_failed, "{pool} {minutes}");
    }
}

#[test]
fn a_pool_that_is_scaled_up_once_all_were_there_has_not_failed() {
    let mut world = at_a_release("v1.35.1", "3.6.6-0", NEW);
    world.add_pool("md-0", &version("v1.35.1"), 1);
    until(&mut world, complete);
    let template = world.pools[0].object.infrastructure.name.clone();
    world.pools[0].replicas += 1;
    world.now += SignedDuration::from_mins(1);
    world.machine(PoolId::Workers("md-0".to_owned()), version(NEW), &template);
    world.now += SignedDuration::from_mins(31);
    assert_eq!(said(&world.plan()), None);
}

/// The next pass, after so many minutes, and what it leaves to the one after it.
fn look(world: &mut World, minutes: i64) -> Option<FailureResponse> {
    world.now += SignedDuration::from_mins(minutes);
    let decision = world.plan();
    world.failure_rule.stood = standing(&world.snapshot(), &decision);
    decision.failed().map(|failed| failed.response.clone())
}

/// A drain that took longer than the deadline has just ended: the old machine is gone, and the next isn't made yet.
#[test]
fn nothing_becomes_of_a_failure_that_has_not_stood_in_every_pass_for_a_while() {
    let mut world = swapped();
    world.failure_rule.grace = SignedDuration::from_mins(5);
    world.failure_rule.on_failure = OnFailure::RollbackWorkers;
    pass(&mut world, 31);
    let first = PoolId::Workers("md-0".to_owned());
    world
        .machines
        .retain(|machine| machine.pool.as_ref() != Some(&first) || machine.version != version(NEW));
    let old = world
        .machines
        .iter()
        .position(|machine| machine.pool.as_ref() == Some(&first));
    world.machines.remove(old.unwrap());
    let until = world.now + SignedDuration::from_mins(5);
    let decision = world.plan();
    assert!(
        said(&decision)
            .unwrap()
            .ends_with(&format!("; this counts if it is still so at {until:.0}"))
    );
    assert_eq!(deadline_of_step(&world.snapshot(), &decision), Some(until));

    let waits = |response: Option<FailureResponse>| matches!(response, Some(FailureResponse::Confirm { .. }));
    let is_taken_back = |response: Option<FailureResponse>| matches!(response, Some(FailureResponse::TakeBack { .. }));
    for minutes in [0, 2, 2] {
        assert!(waits(look(&mut world, minutes)), "{minutes}");
    }
    let mut stood = world.clone();
    assert!(is_taken_back(look(&mut stood, 1)));
    // Another drain, and an outage.
    let mut drained = world.clone();
    let old = drained
        .machines
        .iter_mut()
        .find(|machine| machine.pool.as_ref() == Some(&first));
    old.unwrap().lifecycle = Lifecycle::Deleting;
    assert_eq!(look(&mut drained, 0), None);
    drained.machines = world.machines.clone();
    assert!(waits(look(&mut drained, 1)));
    assert!(waits(look(&mut world, 60)));
}

#[test]
fn where_all_goes_well_nothing_fails() {
    for seed in seeds().step_by(4) {
        let (start, _) = any_world(&mut Random::new(seed));
        let mut run = Run::new(start, seed, Faults::None);
        for _ in 0..400 {
            let decision = run.pass();
            assert_eq!(decision.failed(), None, "seed {seed}");
            run.world.tick(&mut run.random);
        }
    }
}

/// Whatever fails beside, and in every order.
#[test]
fn workers_that_never_join_go_back_by_themselves() {
    let (mut back, mut stood) = (0, 0);
    let worlds = seeds().step_by(3);
    let are_many = worlds.clone().count() > 50;
    for seed in worlds {
        let mut random = Random::new(seed);
        let mut start = start(&mut random);
        start.machine_pools.clear();
        let present = start.control_plane.version.clone();
        start.never_join = newer_than(&present);
        start.failure_rule.on_failure = if random.chance(70) {
            OnFailure::RollbackWorkers
        } else {
            OnFailure::Rollback
        };
        let mut run = Run::new(start.clone(), seed, Faults::Some);
        let (mut taken_back, mut ended, mut failed) = (None, false, false);
        for _ in 0..MOST_TICKS {
            let decision = run.pass();
            match decision.failed().map(|failed| &failed.response) {
                Some(FailureResponse::TakeBack { scope, .. }) if taken_back.is_none() => {
                    // What the controller creates.
                    take_back(&mut run.world, *scope, MinorRollback::Refuse);
                    taken_back = Some((*scope, run.world.control_plane.version.clone()));
                }
                Some(_) => failed = true,
                None => {}
            }
            run.world.tick(&mut run.random);
            let is_done = |decision: &Decision| decision.progress.stage == Stage::Complete;
            if is_done(&decision) && is_done(&run.world.plan()) {
                ended = true;
                break;
            }
        }
        let Some((scope, control_plane)) = taken_back else {
            stood += usize::from(failed && !ended);
            continue;
        };
        assert!(ended, "seed {seed}: it doesn't end: {:#?}", run.world.plan());
        back += 1;
        let (is, was) = (specs(&run.world), specs(&start));
        let pools = was.len() - 1;
        assert_eq!(is[..pools], was[..pools], "seed {seed}");
        match scope {
            RollbackScope::Workers => assert_eq!(run.world.control_plane.version, control_plane, "seed {seed}"),
            RollbackScope::All => assert_eq!(is, was, "seed {seed}"),
        }
    }
    assert!(!are_many || back > 0, "{back} went back, {stood} stood");
}

/// The versions at which no worker joins.
fn newer_than(present: &instar_domain::KubeVersion) -> std::collections::BTreeSet<instar_domain::KubeVersion> {
    let all = [
        "v1.31.5", "v1.32.5", "v1.33.5", "v1.33.9", "v1.34.5", "v1.35.1", "v1.35.5", "v1.36.5",
    ];
    all.into_iter()
        .map(version)
        .filter(|version| version > present)
        .collect()
}
