//! MachinePools: what is written, in which order, and what is left to their users.

use instar_api::RENDERED_ANNOTATION;
use instar_planner::{
    Action, Decision, InfrastructurePool, Lifecycle, MachinePool, MachinePoolChange, Observed, PatchMachinePool,
    PauseMark, PausedBy, PoolOverride, ResourceVersion, Snapshot, Stage, Swap, Target, Violation, check, resume,
};
use jiff::SignedDuration;
use serde_json::json;

use crate::{
    scenarios::{complete, decide, until},
    waiting::words,
    world::{World, machine_pools::paused, random::Random, version},
};

const PAUSED: &str = "cluster.x-k8s.io/paused";

fn world(from: &str, to: &str) -> World {
    let mut world = World::new(from, 1, Target::Text(to.to_owned()));
    world.add_machine_pool("mp", &version(from), 2);
    world
}

fn patch_of(decision: &Decision) -> Option<&PatchMachinePool> {
    match &decision.action {
        Action::PatchMachinePool(patch) => Some(patch),
        Action::MintTemplate(_)
        | Action::SwapControlPlane(_)
        | Action::SwapWorkers(_)
        | Action::DeleteTemplate(_)
        | Action::PinPath(_)
        | Action::RecordConvergence(_)
        | Action::EditVersion(_)
        | Action::CompletePins(_)
        | Action::HoldPool(_)
        | Action::SetConcurrency(_)
        | Action::BeginGates(_)
        | Action::AnswerHook(_)
        | Action::RestoreVersionCheck(_)
        | Action::FollowRelease(_)
        | Action::DeleteMachine(_)
        | Action::Nothing => None,
    }
}

fn does(change: fn(&MachinePoolChange) -> bool) -> impl Fn(&Decision) -> bool {
    move |decision| patch_of(decision).is_some_and(|patch| change(&patch.change))
}

fn pauses(change: &MachinePoolChange) -> bool {
    *change == MachinePoolChange::Pause
}

fn sets_values(change: &MachinePoolChange) -> bool {
    matches!(change, MachinePoolChange::SetValues { .. })
}

/// Every write to a MachinePool, and to what makes its machines, in a few words.
pub fn written(world: &mut World, ticks: usize) -> Vec<String> {
    let mut random = Random::new(7);
    let mut written = Vec::new();
    for _ in 0..ticks {
        let decision = decide(&world.snapshot());
        match &decision.action {
            Action::PatchMachinePool(patch) => {
                let what = match &patch.change {
                    MachinePoolChange::Pause => "pause",
                    MachinePoolChange::SetValues { .. } => "values",
                    MachinePoolChange::RestoreValues { .. } => "restore",
                    MachinePoolChange::GiveUp => "give up",
                    MachinePoolChange::Resume => "resume",
                };
                written.push(format!("{what} {}", patch.name));
            }
            Action::SwapWorkers(swap) => written.push(format!("{} {}", swap.version, swap.name)),
            Action::RecordConvergence(record) if record.kind == "MachinePool" => {
                written.push(format!("converged {}", record.name));
            }
            Action::RecordConvergence(_)
            | Action::MintTemplate(_)
            | Action::SwapControlPlane(_)
            | Action::DeleteTemplate(_)
            | Action::PinPath(_)
            | Action::EditVersion(_)
            | Action::CompletePins(_)
            | Action::HoldPool(_)
            | Action::SetConcurrency(_)
            | Action::BeginGates(_)
            | Action::AnswerHook(_)
            | Action::RestoreVersionCheck(_)
            | Action::FollowRelease(_)
            | Action::DeleteMachine(_)
            | Action::Nothing => {}
        }
        world.write(&decision.action);
        world.tick(&mut random);
    }
    written
}

#[test]
fn both_are_paused_then_values_then_version_then_both_go_on() {
    let mut world = world("v1.33.5", "v1.34.5");
    let writes = written(&mut world, 120);
    assert_eq!(
        writes,
        [
            "pause mp",
            "pause mp-infra",
            "values mp-infra",
            "v1.34.5 mp",
            "resume mp-infra",
            "resume mp",
            "converged mp",
        ]
    );
    let pool = &world.machine_pools[0];
    assert_eq!(pool.nodes, vec![(version("v1.34.5"), "Pool-v1.34.5-1".to_owned()); 2]);
    assert_eq!(pool.infrastructure.spec["size"], json!("small"));
    let history = pool.pool.object.swap_history.as_ref().unwrap();
    let entry = history.last().unwrap();
    assert_eq!(
        (entry.before.version.to_string(), &*entry.after.version.to_string()),
        ("v1.33.5".to_owned(), "v1.34.5")
    );
    assert_eq!(entry.after.release.as_deref(), Some("v1.34.5-1"));
    assert!(entry.converged.is_some());
    let pins = world.cluster.classic().unwrap().pins.as_ref().unwrap();
    let pin = &pins.releases[&version("v1.34.5")];
    assert_eq!(
        pin.machine_pools["mp"].values().collect::<Vec<_>>(),
        [&json!("Pool-v1.34.5-1")]
    );
}

#[test]
fn another_row_of_the_version_sets_values_with_the_ledger() {
    let mut world = world("v1.34.5", "v1.35.5-1");
    until(&mut world, complete);
    world.upgrade_spec.target = Target::Text("v1.35.5-2".to_owned());
    let writes = written(&mut world, 120);
    assert_eq!(
        writes[..4],
        ["pause mp", "pause mp-infra", "values mp-infra", "v1.35.5 mp"]
    );
    assert_eq!(world.machine_pools[0].nodes[0].1, "Pool-v1.35.5-2");
    assert!(complete(&decide(&world.snapshot())));
    let history = world.machine_pools[0].pool.object.swap_history.clone().unwrap();
    assert_eq!(history.last().unwrap().after.release.as_deref(), Some("v1.35.5-2"));
}

/// The control plane waits for it where it would be too old, as for any other pool.
#[test]
fn workers_stop_where_skew_asks_for_it() {
    let mut world = world("v1.32.5", "v1.36.5");
    let writes = written(&mut world, 400);
    let versions: Vec<_> = writes
        .iter()
        .filter(|write| write.starts_with('v') && write.ends_with(" mp"))
        .collect();
    assert_eq!(versions, ["v1.35.5 mp", "v1.36.5 mp"]);
    assert!(complete(&decide(&world.snapshot())));
}

fn pool(snapshot: &mut Snapshot) -> &mut MachinePool {
    match &mut snapshot.machine_pools[0] {
        Observed::Read(pool) => pool,
        Observed::Invalid(_) => panic!("it can be read"),
    }
}

fn infrastructure(snapshot: &mut Snapshot) -> &mut InfrastructurePool {
    match &mut snapshot.infrastructure_pools[0] {
        Observed::Read(pool) => pool,
        Observed::Invalid(_) => panic!("it can be read"),
    }
}

#[test]
fn what_cannot_be_upgraded_is_left_and_said_why() {
    type Case = (fn(&mut World), &'static str);
    let cases: [Case; 3] = [
        (
            |world| world.machine_pools[0].infrastructure.object.conditions.clear(),
            "TestMachinePool has no condition Paused, so its provider doesn't say when it may be changed",
        ),
        (
            |world| {
                world.machine_pools[0].infrastructure.object.kind = "OtherMachinePool".to_owned();
                world.machine_pools[0].pool.infrastructure.kind = "OtherMachinePool".to_owned();
            },
            "release v1.34.5-1 has no machineImages entry for OtherMachinePool",
        ),
        (
            |world| world.machine_pools[0].pool.infrastructure.name = "gone".to_owned(),
            "TestMachinePool gone, its infrastructureRef, was not found",
        ),
    ];
    for (change, because) in cases {
        let mut world = world("v1.33.5", "v1.34.5");
        world.machine_pools[0].says_paused = false;
        change(&mut world);
        assert_eq!(written(&mut world, 120), [""; 0], "{because}");
        let end = decide(&world.snapshot());
        assert_eq!(end.progress.stage, Stage::Complete);
        let left = format!(
            "LeftToUser: MachinePool mp runs v1.33.5, and the upgrade leaves it there ({because}): upgrade it to \
             v1.34.5 yourself"
        );
        assert!(words(&end).contains(&left), "{:?}", words(&end));
    }
}

#[test]
fn one_that_does_not_become_paused_is_given_up_and_its_marks_go() {
    let mut world = world("v1.33.5", "v1.34.5");
    world.machine_pools[0].says_paused = false;
    let awaits = |decision: &Decision| {
        let told = words(decision);
        told.iter().any(|told| told.starts_with("PauseAwaited: "))
    };
    let waiting = until(&mut world, awaits);
    assert_eq!(waiting.action, Action::Nothing);
    let writes = written(&mut world, 60);
    assert_eq!(writes, ["give up mp-infra", "resume mp-infra", "resume mp"]);
    assert_eq!(world.values_set + world.pool_swaps, 0);
    let end = decide(&world.snapshot());
    assert!(complete(&end));
    let told = words(&end).into_iter().find(|told| told.starts_with("LeftToUser"));
    assert_eq!(
        told.as_deref(),
        Some(
            "LeftToUser: MachinePool mp runs v1.33.5, and the upgrade leaves it there (TestMachinePool mp-infra was not \
             paused within 5 minutes): upgrade it to v1.34.5 yourself"
        )
    );
    // Another upgrade tries again.
    world.upgrade_spec.upgrade = "next".to_owned();
    world.machine_pools[0].says_paused = true;
    assert_eq!(written(&mut world, 60)[2..4], ["values mp-infra", "v1.34.5 mp"]);
}

#[test]
fn a_pause_of_the_users_is_a_hold() {
    for of_infrastructure in [false, true] {
        let mut world = world("v1.33.5", "v1.34.5");
        world.pause_machine_pool(0, of_infrastructure, PausedBy::User);
        assert_eq!(written(&mut world, 80), [""; 0]);
        let held = decide(&world.snapshot());
        assert_eq!(held.progress.stage, Stage::Workers);
        let object = if of_infrastructure {
            "TestMachinePool mp-infra"
        } else {
            "MachinePool mp"
        };
        assert_eq!(words(&held)[0], format!("Paused: {object} is paused"));
        world.pause_machine_pool(0, of_infrastructure, PausedBy::NoOne);
        assert_eq!(written(&mut world, 80).len(), 7);
    }
}

/// Paused by a user after our mark was put: ours goes, his stays.
#[test]
fn a_users_pause_in_the_middle_takes_our_mark_off_the_other() {
    let mut world = world("v1.33.5", "v1.34.5");
    until(&mut world, does(sets_values));
    world.pause_machine_pool(0, true, PausedBy::User);
    let decision = decide(&world.snapshot());
    assert_eq!(patch_of(&decision).unwrap().change, MachinePoolChange::Resume);
    assert_eq!(patch_of(&decision).unwrap().name, "mp");
    world.write(&decision.action);
    assert_eq!(decide(&world.snapshot()).action, Action::Nothing);
    assert_eq!(world.machine_pools[0].infrastructure.paused_by, PausedBy::User);
}

#[test]
fn a_held_pool_and_one_that_goes_are_not_waited_for() {
    type Case = fn(&mut World);
    let cases: [Case; 2] = [
        |world| {
            world.upgrade_spec.pools.insert("mp".to_owned(), PoolOverride::Hold);
        },
        |world| world.machine_pools[0].pool.object.lifecycle = Lifecycle::Deleting,
    ];
    for change in cases {
        let mut world = world("v1.33.5", "v1.34.5");
        change(&mut world);
        assert_eq!(written(&mut world, 80), [""; 0]);
        assert!(complete(&decide(&world.snapshot())));
    }
}

/// A held or a deleted pool would stay paused for ever.
#[test]
fn what_is_held_or_deleted_in_the_middle_goes_on_first() {
    type Case = fn(&mut Snapshot);
    let cases: [Case; 4] = [
        |s| drop(s.upgrade_spec.pools.insert("mp".to_owned(), PoolOverride::Hold)),
        |s| pool(s).object.lifecycle = Lifecycle::Deleting,
        |s| infrastructure(s).object.lifecycle = Lifecycle::Deleting,
        |s| infrastructure(s).object.conditions.clear(),
    ];
    let mut world = world("v1.33.5", "v1.34.5");
    until(&mut world, does(sets_values));
    for change in cases {
        let mut snapshot = world.snapshot();
        change(&mut snapshot);
        let decision = decide(&snapshot);
        let patch = patch_of(&decision).unwrap();
        assert_eq!((&patch.change, &*patch.name), (&MachinePoolChange::Resume, "mp-infra"));
    }
}

/// The upgrade that set them is over; the next one takes them over where it needs them, and off where it doesn't.
#[test]
fn marks_of_another_upgrade_are_taken_over_or_off() {
    let mut world = world("v1.33.5", "v1.34.5");
    until(&mut world, does(sets_values));
    world.upgrade_spec.upgrade = "next".to_owned();
    let taken_over = written(&mut world.clone(), 60);
    assert_eq!(taken_over[..3], ["pause mp", "pause mp-infra", "values mp-infra"]);
    world.upgrade_spec.pools.insert("mp".to_owned(), PoolOverride::Hold);
    assert_eq!(written(&mut world, 60), ["resume mp-infra", "resume mp"]);
}

#[test]
fn a_value_that_a_webhook_normalises_is_set_once() {
    let mut world = world("v1.33.5", "v1.34.5");
    world.webhook = |spec| spec["template"]["spec"]["image"] = json!("normal");
    written(&mut world, 120);
    assert_eq!((world.values_set, world.pool_swaps), (1, 1));
    assert!(complete(&decide(&world.snapshot())));
}

#[test]
fn a_value_that_is_dropped_is_said_and_set_once() {
    let mut world = world("v1.33.5", "v1.34.5");
    world.webhook = |spec| {
        let spec = spec["template"]["spec"].as_object_mut().unwrap();
        if spec.contains_key("size") {
            spec.remove("image");
        }
    };
    let writes = written(&mut world, 120);
    assert_eq!(
        writes,
        [
            "pause mp",
            "pause mp-infra",
            "values mp-infra",
            "resume mp-infra",
            "resume mp"
        ]
    );
    let told = words(&decide(&world.snapshot()));
    assert!(told[0].starts_with("ValueMisfit: TestMachinePool mp-infra"), "{told:?}");
}

fn patch(decision: &mut Decision) -> &mut PatchMachinePool {
    match &mut decision.action {
        Action::PatchMachinePool(patch) => patch,
        other => panic!("{other:?}"),
    }
}

fn swap(decision: &mut Decision) -> &mut Swap {
    match &mut decision.action {
        Action::SwapWorkers(swap) => swap,
        other => panic!("{other:?}"),
    }
}

type Case = (Violation, fn(&mut Snapshot, &mut Decision));

fn find(cases: &[Case], snapshot: &Snapshot, decision: &Decision) {
    assert_eq!(check(snapshot, decision), []);
    for (at, (violation, change)) in cases.iter().enumerate() {
        let (mut snapshot, mut decision) = (snapshot.clone(), decision.clone());
        change(&mut snapshot, &mut decision);
        let found = check(&snapshot, &decision);
        assert!(
            found.contains(violation),
            "{at}: {violation:?} isn't found, but {found:?}"
        );
    }
}

#[test]
fn check_finds_what_a_pause_must_not_do() {
    let mut world = world("v1.33.5", "v1.34.5");
    let decision = until(&mut world, does(pauses));
    let cases: [Case; 10] = [
        (Violation::UnknownObject, |s, _| s.machine_pools.clear()),
        (Violation::UnknownObject, |_, d| patch(d).kind = "Machine".to_owned()),
        (Violation::NoCompare, |_, d| {
            patch(d).resource_version = ResourceVersion("0".to_owned());
        }),
        (Violation::NoCompare, |_, d| {
            patch(d).patch["metadata"]["resourceVersion"] = json!(null);
        }),
        (Violation::NotOurs, |_, d| {
            patch(d).patch["spec"] = json!({ "replicas": 0 });
        }),
        (Violation::NotOurs, |_, d| {
            patch(d).patch["metadata"]["annotations"]["a"] = json!("b");
        }),
        (Violation::Incomplete, |_, d| {
            patch(d).patch["metadata"]["annotations"][PAUSED] = json!("");
        }),
        (Violation::Incomplete, |s, _| {
            s.upgrade_spec.upgrade = "another".to_owned();
        }),
        (Violation::Untouchable, |s, _| pool(s).paused_by = PausedBy::User),
        (Violation::Untouchable, |s, _| s.cluster.lifecycle = Lifecycle::Deleting),
    ];
    find(&cases, &world.snapshot(), &decision);
}

fn of_another_upgrade() -> PausedBy {
    PausedBy::Upgrade(PauseMark {
        upgrade: "another".to_owned(),
        since: None,
        paused: "2026-11-20T12:00:00Z".parse().unwrap(),
    })
}

#[test]
fn check_finds_what_values_must_not_do() {
    let mut world = world("v1.33.5", "v1.34.5");
    let decision = until(&mut world, does(sets_values));
    let cases: [Case; 12] = [
        (Violation::NotPaused, |s, _| pool(s).paused_by = PausedBy::NoOne),
        (Violation::NotPaused, |s, _| {
            infrastructure(s).paused_by = of_another_upgrade();
        }),
        (Violation::NotPaused, |s, _| {
            infrastructure(s).object.conditions = vec![paused(false, 1)];
        }),
        (Violation::NotOurs, |_, d| {
            patch(d).patch["spec"]["size"] = json!("large");
        }),
        (Violation::NotOurs, |_, d| patch(d).patch["spec"] = json!(null)),
        (Violation::NotOurs, |_, d| {
            patch(d).change = MachinePoolChange::SetValues {
                release: "v1.34.5-1".to_owned(),
                pointers: ["/spec/image".parse().unwrap(), "/spec/size".parse().unwrap()].into(),
            };
        }),
        (Violation::Incomplete, |_, d| {
            patch(d).change = MachinePoolChange::SetValues {
                release: "none".to_owned(),
                pointers: ["/spec/image".parse().unwrap()].into(),
            };
        }),
        (Violation::WorkersAhead, |_, d| {
            patch(d).change = MachinePoolChange::SetValues {
                release: "v1.35.5-1".to_owned(),
                pointers: ["/spec/image".parse().unwrap()].into(),
            };
        }),
        (Violation::NotOurs, |_, d| {
            patch(d).patch["metadata"]["annotations"] = json!({ RENDERED_ANNOTATION: "{}", PAUSED: null });
        }),
        (Violation::Incomplete, |_, d| {
            let annotations = &mut patch(d).patch["metadata"]["annotations"];
            annotations[instar_api::VALUES_HISTORY_ANNOTATION] = json!("{}");
        }),
        (Violation::Untouchable, |s, _| {
            infrastructure(s).object.lifecycle = Lifecycle::Deleting;
        }),
        (Violation::NoCompare, |s, _| {
            infrastructure(s).object.resource_version = ResourceVersion("0".to_owned());
        }),
    ];
    find(&cases, &world.snapshot(), &decision);
}

#[test]
fn check_finds_what_a_version_must_not_do() {
    let mut world = world("v1.33.5", "v1.34.5");
    let swaps = |decision: &Decision| matches!(decision.action, Action::SwapWorkers(_));
    let decision = until(&mut world, swaps);
    let cases: [Case; 7] = [
        (Violation::NotPaused, |s, _| {
            infrastructure(s).paused_by = PausedBy::NoOne;
        }),
        (Violation::NotPaused, |s, _| pool(s).object.conditions.clear()),
        (Violation::UnknownObject, |s, _| s.infrastructure_pools.clear()),
        (Violation::Incomplete, |_, d| {
            swap(d).patch["metadata"]["annotations"] = json!({});
        }),
        (Violation::NotOurs, |_, d| swap(d).patch["spec"]["replicas"] = json!(0)),
        (Violation::WorkersAhead, |_, d| swap(d).version = version("v1.35.5")),
        (Violation::Lowered, |_, d| swap(d).version = version("v1.33.1")),
    ];
    find(&cases, &world.snapshot(), &decision);
}

#[test]
fn check_finds_what_the_end_of_a_pause_must_not_do() {
    let mut world = world("v1.33.5", "v1.34.5");
    until(&mut world, does(sets_values));
    let mut snapshot = world.snapshot();
    snapshot.control_plane = None;
    snapshot.cluster.lifecycle = Lifecycle::Deleting;
    let decision = resume(&snapshot);
    let cases: [Case; 4] = [
        (Violation::NotOurs, |s, _| infrastructure(s).paused_by = PausedBy::User),
        (Violation::NotOurs, |_, d| patch(d).patch["spec"] = json!({})),
        (Violation::Incomplete, |_, d| {
            patch(d).patch["metadata"]["annotations"][PAUSED] = json!("");
        }),
        (Violation::Untouchable, |s, _| s.cluster.lifecycle = Lifecycle::Paused),
    ];
    find(&cases, &snapshot, &decision);
}

#[test]
fn check_finds_what_giving_up_must_not_do() {
    let mut world = world("v1.33.5", "v1.34.5");
    world.machine_pools[0].says_paused = false;
    let awaits = |decision: &Decision| words(decision).iter().any(|told| told.starts_with("PauseAwaited"));
    until(&mut world, awaits);
    world.now += SignedDuration::from_mins(6);
    let decision = decide(&world.snapshot());
    let cases: [Case; 3] = [
        (Violation::NotOurs, |s, _| {
            infrastructure(s).paused_by = of_another_upgrade();
        }),
        (Violation::NotOurs, |_, d| patch(d).patch["spec"] = json!({})),
        (Violation::Incomplete, |s, _| {
            s.upgrade_spec.upgrade = "another".to_owned();
        }),
    ];
    find(&cases, &world.snapshot(), &decision);
}
