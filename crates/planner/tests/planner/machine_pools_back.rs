//! MachinePools on the way back: what their infrastructure had, then their version.

use instar_planner::{
    Action, ConditionStatus, Decision, JoinRule, MachinePoolChange, MachinePoolStays, MinorRollback, NoWayBack, PoolId,
    RollbackScope, Violation, Waiting, check, way_back,
};
use jiff::SignedDuration;

use crate::{
    machine_pools::written,
    scenarios::{complete, decide, until},
    way_back::{at_a_release, take_back},
    world::{World, closed, random::Random, version},
};

/// A patch release of a cluster with a MachinePool.
pub fn world() -> World {
    let mut world = at_a_release("v1.35.1", "3.6.6-0", "v1.35.5");
    world.add_machine_pool("mp", &version("v1.35.1"), 2);
    world
}

fn restores(decision: &Decision) -> bool {
    matches!(&decision.action, Action::PatchMachinePool(patch) if is_restore(&patch.change))
}

const fn is_restore(change: &MachinePoolChange) -> bool {
    match change {
        MachinePoolChange::RestoreValues { .. } => true,
        MachinePoolChange::Pause
        | MachinePoolChange::SetValues { .. }
        | MachinePoolChange::GiveUp
        | MachinePoolChange::Resume => false,
    }
}

fn swaps(decision: &Decision) -> bool {
    matches!(&decision.action, Action::SwapWorkers(swap) if swap.pool == PoolId::MachinePool("mp".to_owned()))
}

fn stays(decision: &Decision) -> Vec<&MachinePoolStays> {
    let reasons = decision.waiting.iter().filter_map(|waiting| match waiting {
        Waiting::NoWayBack(reason) => match &**reason {
            NoWayBack::MachinePool { because, .. } => Some(because),
            _ => None,
        },
        _ => None,
    });
    reasons.collect()
}

/// What a MachinePool and its infrastructure say.
fn says(world: &World) -> (String, serde_json::Value) {
    let pool = &world.machine_pools[0];
    (pool.pool.version.to_string(), pool.infrastructure.spec.clone())
}

#[test]
fn both_are_paused_then_what_was_there_then_the_version_then_both_go_on() {
    let mut world = world();
    let before = says(&world);
    until(&mut world, complete);
    assert_ne!(says(&world), before);
    let said = way_back(&world.snapshot(), &world.upgrade_spec.id()).unwrap();
    assert_eq!(said.refused, []);
    let to: Vec<String> = said
        .returning
        .iter()
        .map(|step| format!("{} {}", step.pool, step.to))
        .collect();
    assert_eq!(to, ["MachinePool mp v1.35.1", "the control plane v1.35.1"]);
    take_back(&mut world, RollbackScope::All, MinorRollback::Refuse);
    assert_eq!(
        written(&mut world, 200),
        [
            "pause mp",
            "pause mp-infra",
            "restore mp-infra",
            "v1.35.1 mp",
            "resume mp-infra",
            "resume mp",
            "converged mp"
        ]
    );
    let end = decide(&world.snapshot());
    assert!(complete(&end), "{end:#?}");
    assert_eq!(says(&world), before);
    assert_eq!(stays(&end), [] as [&MachinePoolStays; 0]);
    assert_eq!(world.machine_pools[0].infrastructure.rendered, None);
    assert!(world.marks().is_empty());
    let nodes = &world.machine_pools[0].nodes;
    assert!(
        nodes
            .iter()
            .all(|(runs, image)| *runs == version("v1.35.1") && image == "own-v1.35.1")
    );
}

#[test]
fn one_that_is_held_is_not_said_to_go_back() {
    let mut world = world();
    until(&mut world, complete);
    let hold = instar_planner::PoolOverride::Hold;
    world.upgrade_spec.pools.insert("mp".to_owned(), hold);
    let said = way_back(&world.snapshot(), &world.upgrade_spec.id()).unwrap();
    let pools: Vec<String> = said.returning.iter().map(|step| step.pool.to_string()).collect();
    assert_eq!(pools, ["the control plane"]);
}

/// Taken back at each of its writes: it is as it was, and no version is set that was never changed.
#[test]
fn what_is_half_way_turns_around() {
    type Moment = (&'static str, fn(&Decision) -> bool);
    let moments: [Moment; 4] = [
        (
            "one is paused",
            |decision| matches!(&decision.action, Action::PatchMachinePool(patch) if patch.name == "mp-infra"),
        ),
        ("both are paused", |decision| {
            matches!(&decision.action, Action::PatchMachinePool(patch)
                if matches!(patch.change, MachinePoolChange::SetValues { .. }))
        }),
        ("the values are set", swaps),
        (
            "the version is set",
            |decision| matches!(&decision.action, Action::PatchMachinePool(patch) if patch.change == MachinePoolChange::Resume),
        ),
    ];
    for (moment, is) in moments {
        let mut world = world();
        let before = says(&world);
        until(&mut world, is);
        take_back(&mut world, RollbackScope::All, MinorRollback::Refuse);
        // What has begun with one goes on: it is paused meanwhile.
        let closed = closed("no maintenance window is open");
        world.gates.insert(instar_planner::Gate::Window, closed);
        let writes = written(&mut world, 60);
        assert!(world.marks().is_empty(), "{moment}: {writes:?}");
        assert_eq!(says(&world), before, "{moment}: {writes:?}");
        world.gates.clear();
        until(&mut world, complete);
        assert_eq!(says(&world), before, "{moment}");
        let swapped = world.pool_swaps;
        assert_eq!(swapped, if moment == "the version is set" { 2 } else { 0 }, "{moment}");
    }
}

/// As what is under way with a MachineDeployment: no window holds it, and no machine is replaced that is still old.
#[test]
fn one_in_the_middle_of_its_rollout_turns_around_whatever_is_closed() {
    let mut world = at_a_release("v1.35.1", "3.6.6-0", "v1.35.5");
    world.add_machine_pool("mp", &version("v1.35.1"), 6);
    let before = says(&world);
    until(&mut world, swaps);
    let mut random = Random::new(3);
    for _ in 0..200 {
        let new = version("v1.35.5");
        if world.machine_pools[0].nodes.iter().any(|(runs, _)| *runs == new) {
            break;
        }
        let decision = world.plan();
        world.write(&decision.action);
        world.tick(&mut random);
    }
    take_back(&mut world, RollbackScope::All, MinorRollback::Refuse);
    let closed = closed("no maintenance window is open");
    world.gates.insert(instar_planner::Gate::Window, closed);
    let born = world.births.len();
    let writes = written(&mut world, 100);
    assert_eq!(says(&world), before, "{writes:?}");
    assert!(world.marks().is_empty(), "{writes:?}");
    let births = world.births[born..].iter();
    let of_pool = births.filter(|birth| matches!(birth.0, PoolId::MachinePool(_)));
    let back = of_pool.filter(|birth| birth.1 == version("v1.35.1")).count();
    assert!((1..6).contains(&back), "what was old stays: {back} were replaced again");
}

#[test]
fn one_stays_where_nothing_says_what_it_had_or_it_would_never_come_up() {
    let done = |from: &str, etcd: &str, joins: JoinRule| {
        let mut world = at_a_release(from, etcd, "v1.35.5");
        world.add_machine_pool("mp", &version(from), 2);
        world.machine_pools[0].pool.joins = joins;
        until(&mut world, complete);
        world
    };
    let patch = || done("v1.35.1", "3.6.6-0", JoinRule::SameMinor);
    let mut unknown = patch();
    unknown.machine_pools[0].infrastructure.values_history = None;
    let mut changed = patch();
    changed.machine_pools[0].pool.version = version("v1.35.2");
    let mut edited = patch();
    edited.machine_pools[0].infrastructure.spec["image"] = "mine".into();
    let mut silent = patch();
    silent.machine_pools[0].says_paused = false;
    silent.machine_pools[0].infrastructure.object.conditions.clear();
    let by_kubeadm = done("v1.34.5", "3.6.5-0", JoinRule::SameMinor);
    for (mut world, expected) in [
        (unknown, "Unknown"),
        (changed, "Changed"),
        (edited, "ValueChanged"),
        (silent, "Left"),
        (by_kubeadm, "OlderMachines"),
    ] {
        let stood = says(&world);
        let said = way_back(&world.snapshot(), &world.upgrade_spec.id()).unwrap();
        assert!(
            !said.returning.iter().any(|step| step.pool != PoolId::ControlPlane),
            "{expected}"
        );
        take_back(&mut world, RollbackScope::Workers, MinorRollback::Refuse);
        let end = until(&mut world, complete);
        let because = format!("{:?}", stays(&end));
        assert!(because.starts_with(&format!("[{expected}")), "{expected}: {because}");
        assert_eq!(says(&world), stood, "{expected}");
    }
    // What something else joins goes back below the control plane.
    let mut other = done("v1.34.5", "3.6.5-0", JoinRule::AnyMinor);
    take_back(&mut other, RollbackScope::Workers, MinorRollback::Refuse);
    until(&mut other, complete);
    assert_eq!(says(&other).0, "v1.34.5");
}

/// As a provider's webhook may.
fn image_of_the_webhook(spec: &mut serde_json::Value) {
    spec["template"]["spec"]["image"] = "of-the-webhook".into();
}

#[test]
fn what_a_webhook_sets_again_is_set_back_once() {
    for moment in ["after the end", "when the values are set"] {
        let mut world = world();
        until(&mut world, if moment == "after the end" { complete } else { swaps });
        take_back(&mut world, RollbackScope::All, MinorRollback::Refuse);
        world.webhook = image_of_the_webhook;
        let writes = written(&mut world, 200);
        let restored = writes.iter().filter(|write| write.starts_with("restore")).count();
        assert_eq!(restored, 1, "{moment}: {writes:?}");
        let end = decide(&world.snapshot());
        assert!(complete(&end), "{moment}: {end:#?}");
        assert_eq!(says(&world).0, "v1.35.1", "{moment}");
        assert!(world.marks().is_empty(), "{moment}");
    }
}

#[test]
fn what_a_webhook_made_of_the_values_goes_back_as_what_was_set() {
    let mut world = world();
    let before = says(&world);
    world.webhook = image_of_the_webhook;
    until(&mut world, complete);
    assert_eq!(says(&world).1["image"], "of-the-webhook");
    world.webhook = |_| ();
    take_back(&mut world, RollbackScope::All, MinorRollback::Refuse);
    let end = until(&mut world, complete);
    assert_eq!(stays(&end), [] as [&MachinePoolStays; 0]);
    assert_eq!(says(&world), before);
}

#[test]
fn one_that_does_not_become_paused_is_left_to_its_user() {
    let mut world = world();
    until(&mut world, complete);
    world.machine_pools[0].says_paused = false;
    take_back(&mut world, RollbackScope::Workers, MinorRollback::Refuse);
    until(&mut world, |decision| {
        let mut waiting = decision.waiting.iter();
        waiting.any(|waiting| matches!(waiting, Waiting::PauseAwaited { .. }))
    });
    world.now += SignedDuration::from_mins(6);
    let end = until(&mut world, complete);
    assert!(format!("{:?}", stays(&end)).starts_with("[Left"), "{end:#?}");
    assert!(world.marks().is_empty());
}

#[test]
fn check_finds_what_the_way_back_must_not_do() {
    let mut world = world();
    until(&mut world, complete);
    take_back(&mut world, RollbackScope::All, MinorRollback::Refuse);
    let decision = until(&mut world, restores);
    let snapshot = world.snapshot();
    assert_eq!(check(&snapshot, &decision), []);
    let breaks = |change: fn(&mut World, &mut Decision)| {
        let (mut world, mut decision) = (world.clone(), decision.clone());
        change(&mut world, &mut decision);
        check(&world.snapshot(), &decision)
    };
    assert_eq!(
        breaks(|world, _| world.machine_pools[0].infrastructure.values_history = None),
        [Violation::Incomplete, Violation::NotWhatWas]
    );
    assert_eq!(
        breaks(|world, _| world.machine_pools[0].infrastructure.object.conditions[0].status = ConditionStatus::False),
        [Violation::NotPaused]
    );
    assert_eq!(
        breaks(|_, decision| match &mut decision.action {
            Action::PatchMachinePool(patch) => patch.patch["spec"]["size"] = "large".into(),
            other => panic!("{other:?}"),
        }),
        [Violation::NotWhatWas]
    );
    assert_eq!(
        breaks(|_, decision| match &mut decision.action {
            Action::PatchMachinePool(patch) => {
                let annotations = &mut patch.patch["metadata"]["annotations"];
                annotations[instar_api::VALUES_HISTORY_ANNOTATION] = "{}".into();
            }
            other => panic!("{other:?}"),
        }),
        [Violation::Incomplete]
    );
    assert_eq!(
        breaks(|world, _| world.upgrade_spec.operation = instar_planner::Operation::Upgrade),
        [Violation::NotWhatWas]
    );
}
