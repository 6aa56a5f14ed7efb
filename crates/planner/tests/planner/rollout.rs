//! What is said of machines while they are replaced.

use instar_api::HealthReason;
use instar_domain::KubeVersion;
use instar_planner::{
    Action, Condition, ConditionStatus, Decision, Lifecycle, Machine, MachinePhase, MachineSet, Node, PoolId, Replicas,
    Rollout, Stage, Target, Unversioned, WorkerKind, collect_templates,
};

use crate::{
    scenarios::{complete, decide, swaps_control_plane, until, world},
    waiting::{control_plane, middle, start, words},
    world::{World, api::Answer, random::Random, reference, version},
};

#[test]
fn what_has_no_version_is_left_out_and_named() {
    let mut world = world("v1.33.5", "v1.34.5-1");
    let template = reference("unversioned");
    let unversioned = |kind: WorkerKind, name: &str, maker: Option<&str>| Unversioned {
        kind,
        name: name.to_owned(),
        maker: maker.map(str::to_owned),
        templates: vec![template.clone()],
    };
    world.unversioned = vec![
        unversioned(WorkerKind::MachineSet, "autoscaled-x", Some("autoscaled")),
        unversioned(WorkerKind::MachineDeployment, "autoscaled", None),
    ];
    let named =
        "NoVersion: MachineDeployment autoscaled has no version, so it is left out: set one to have it upgraded";
    assert!(words(&decide(&world.snapshot())).contains(&named.to_owned()));
    let end = until(&mut world, complete);
    assert!(words(&end).contains(&named.to_owned()), "it is named at the end too");
}

#[test]
fn a_template_of_what_has_no_version_stays() {
    let mut world = world("v1.33.5", "v1.35");
    until(&mut world, complete);
    world.now += jiff::SignedDuration::from_hours(48);
    let first = match collect_templates(&world.snapshot()).action {
        Action::DeleteTemplate(delete) => delete.template,
        other => panic!("{other:?}"),
    };
    world.unversioned = vec![Unversioned {
        kind: WorkerKind::MachineSet,
        name: "alone".to_owned(),
        maker: None,
        templates: vec![first],
    }];
    assert_eq!(collect_templates(&world.snapshot()).action, Action::Nothing);
}

/// What a kubelet of a distribution says: the version with a mark behind it.
fn mark(world: &mut World) {
    let marked = |version: &KubeVersion| crate::world::version(&format!("{version}+k0s"));
    for machine in &mut world.machines {
        if let Node::Joined { version, .. } = &mut machine.node {
            *version = Some(marked(&machine.version));
        }
    }
    for seen in &mut world.control_plane.observed {
        let bare = seen.to_string();
        *seen = marked(&version(bare.trim_end_matches("+k0s")));
    }
}

#[test]
fn the_mark_of_a_distribution_is_no_other_version() {
    let mut world = world("v1.33.5", "v1.34.5-1");
    let mut random = Random::new(5);
    for _ in 0..1_000 {
        mark(&mut world);
        let decision = decide(&world.snapshot());
        if complete(&decision) {
            return;
        }
        assert_eq!(world.write(&decision.action), Answer::Done);
        world.tick(&mut random);
    }
    panic!("{:?}", words(&decide(&world.snapshot())));
}

/// A new machine of the pool that is swapped in [`rolling`].
fn is_new(machine: &Machine) -> bool {
    machine.pool == Some(PoolId::Workers("md-0".to_owned())) && machine.version == version("v1.34.5")
}

/// The first pool rolls out, and something is the matter with its new machines all the time.
fn rolling(trouble: impl Fn(&mut Machine)) -> World {
    let mut world = middle();
    let swap = decide(&world.snapshot());
    assert_eq!(world.write(&swap.action), Answer::Done);
    let mut random = Random::new(3);
    for _ in 0..50 {
        world.tick(&mut random);
        let new = world.machines.iter_mut().filter(|machine| is_new(machine));
        new.for_each(&trouble);
    }
    world
}

/// The first pool stops in the middle of its rollout; the second one is next.
fn stopped_in_the_middle(lifecycle: Lifecycle) -> Decision {
    let mut world = middle();
    let swap = decide(&world.snapshot());
    assert_eq!(world.write(&swap.action), Answer::Done);
    world.tick(&mut Random::new(3));
    world.pause_pool("md-0", lifecycle);
    let decision = decide(&world.snapshot());
    let next =
        matches!(&decision.action, Action::MintTemplate(mint) if mint.pool == PoolId::Workers("md-1".to_owned()));
    assert!(next, "the other pool needn't wait: {decision:?}");
    decision
}

#[test]
fn a_pool_that_is_paused_in_the_middle_is_waited_for_and_said_to_be() {
    assert_eq!(
        words(&stopped_in_the_middle(Lifecycle::Paused)),
        [
            "Paused: MachineDeployment md-0 is paused",
            "PoolRollingOut: MachineDeployment md-0 goes to v1.34.5: 0 of 2 machines are there",
        ]
    );
}

#[test]
fn a_pool_that_is_deleted_in_the_middle_is_not_waited_for() {
    assert_eq!(
        words(&stopped_in_the_middle(Lifecycle::Deleting)),
        ["Deleting: MachineDeployment md-0 is being deleted"]
    );
}

#[test]
fn a_paused_pool_that_holds_the_control_plane_is_said_to_be() {
    let mut world = world("v1.34.5", "v1.35.5");
    world.give_own_template("md-0");
    world.pause_pool("md-0", Lifecycle::Paused);
    let decision = decide(&world.snapshot());
    assert_eq!(decision.action, Action::Nothing);
    assert_eq!(
        words(&decision),
        [
            "Paused: MachineDeployment md-0 is paused",
            "PoolRollingOut: MachineDeployment md-0 goes to v1.34.5: 0 of 2 machines are there",
        ]
    );
}

#[test]
fn a_control_plane_that_stops_in_the_middle_is_said_to() {
    for (lifecycle, said) in [
        (Lifecycle::Paused, "Paused: KubeadmControlPlane blue is paused"),
        (
            Lifecycle::Deleting,
            "Deleting: KubeadmControlPlane blue is being deleted",
        ),
    ] {
        let mut world = world("v1.33.5", "v1.34.5-1");
        let swap = until(&mut world, swaps_control_plane);
        assert_eq!(world.write(&swap.action), Answer::Done);
        world.pause_control_plane(lifecycle);
        let decision = decide(&world.snapshot());
        assert_eq!(
            (decision.action.clone(), words(&decision)),
            (Action::Nothing, vec![said.to_owned()])
        );
    }
}

#[test]
fn a_node_of_another_version_is_said_to_run_it() {
    let world = rolling(|machine| {
        if let Node::Joined { version, .. } = &mut machine.node {
            *version = Some(crate::world::version("v1.34.4"));
        }
    });
    let new = world.machines.iter().find(|machine| is_new(machine)).unwrap();
    assert_eq!(new.phase, MachinePhase::Running);
    let said = words(&decide(&world.snapshot()));
    let node = format!(
        "MachineNotReady: the node of Machine {} runs v1.34.4, and the Machine says v1.34.5",
        new.name
    );
    assert!(said.contains(&node), "{said:#?}");
}

#[test]
fn an_unready_control_plane_names_its_machine_and_not_a_count_that_is_full() {
    let mut snapshot = start();
    let message = "* Machine c-x: * NodeHealthy: Node.Ready is False";
    let control_plane = control_plane(&mut snapshot);
    control_plane.replicas.as_mut().unwrap().ready = 2;
    control_plane.object.conditions = vec![Condition {
        kind: "MachinesReady".to_owned(),
        status: ConditionStatus::False,
        reason: "NotReady".to_owned(),
        message: message.to_owned(),
        observed_generation: 1,
    }];
    assert_eq!(
        words(&decide(&snapshot)),
        [
            "ControlPlaneNotReady: all machines of the control plane run v1.33.5, and it isn't ready".to_owned(),
            format!("ClusterApi: KubeadmControlPlane blue, MachinesReady: {message}"),
        ]
    );
}

#[test]
fn what_cluster_api_says_of_a_rollout_is_passed_on() {
    let mut world = middle();
    let swap = decide(&world.snapshot());
    assert_eq!(world.write(&swap.action), Answer::Done);
    let said = |kind: &str, status: ConditionStatus, message: &str| Condition {
        kind: kind.to_owned(),
        status,
        reason: String::new(),
        message: message.to_owned(),
        observed_generation: 1,
    };
    let object = &mut world
        .pools
        .iter_mut()
        .find(|pool| pool.object.object.name == "md-0")
        .unwrap()
        .object
        .object;
    object.conditions = vec![
        said(
            "RollingOut",
            ConditionStatus::True,
            "Rolling out 3 not up-to-date replicas",
        ),
        said("ScalingUp", ConditionStatus::True, "* waiting for preflight"),
        said("ScalingDown", ConditionStatus::False, "no"),
        said("MachinesReady", ConditionStatus::False, "of every rollout"),
    ];
    assert_eq!(
        words(&decide(&world.snapshot())),
        [
            "PoolRollingOut: MachineDeployment md-0 goes to v1.34.5: 0 of 2 machines are there",
            "ClusterApi: MachineDeployment md-0, RollingOut: Rolling out 3 not up-to-date replicas",
            "ClusterApi: MachineDeployment md-0, ScalingUp: * waiting for preflight",
        ]
    );

    // Why no machine is made, its MachineSet alone says; what the one before says is over.
    let pool = world.pools[0].object.clone();
    let of_pool = |set: &&mut MachineSet| set.pool.as_ref() == Some(&pool.object.name);
    let set = world.sets.iter_mut().find(of_pool).unwrap();
    set.blocked = Some("Scaling up from 1 to 2 replicas is blocked because:\n* of before".to_owned());
    let before = set.clone();
    let why = "Scaling up from 0 to 2 replicas is blocked because:\n* GenericControlPlane is upgrading";
    world.sets.push(MachineSet {
        name: "md-0-new".to_owned(),
        version: pool.version,
        infrastructure: pool.infrastructure,
        blocked: Some(why.to_owned()),
        ..before
    });
    assert_eq!(
        words(&decide(&world.snapshot())).last(),
        Some(&format!("ClusterApi: MachineSet md-0-new, ScalingUp: {why}"))
    );
}

/// A control plane goes to another row of its version, as a cache sees it: from which template a Machine of it was made
/// isn't known.
fn same_version() -> World {
    let mut world = world("v1.34.5", "v1.35.5-1");
    until(&mut world, complete);
    world.upgrade_spec.target = Target::Text("v1.35.5-2".to_owned());
    let swap = until(&mut world, swaps_control_plane);
    assert_eq!(world.write(&swap.action), Answer::Done);
    let machines = world.machines.iter_mut();
    for machine in machines.filter(|machine| machine.pool == Some(PoolId::ControlPlane)) {
        machine.template = None;
    }
    world
}

#[test]
fn a_swap_of_the_same_version_has_not_ended_before_it_began() {
    let world = same_version();
    let full = world.control_plane.replicas.unwrap();
    assert_eq!((full.total, full.up_to_date), (3, 3), "counts of before");
    let rolling = |there: u32| {
        format!(
            "ControlPlaneRollingOut: the control plane goes to v1.35.5: {there} of 3 machines are there, the lowest runs v1.35.5"
        )
    };
    let unseen = decide(&world.snapshot());
    assert_eq!(
        (unseen.action.clone(), words(&unseen)),
        (Action::Nothing, vec![rolling(0)])
    );

    // Its conditions come first, and then the counts.
    let mut conditions = world.clone();
    let object = &mut conditions.control_plane.object;
    object.observed_generation = object.generation;
    let message = "Rolling out 3 not up-to-date replicas";
    object.conditions = vec![Condition {
        kind: "RollingOut".to_owned(),
        status: ConditionStatus::True,
        reason: "RollingOut".to_owned(),
        message: message.to_owned(),
        observed_generation: object.generation,
    }];
    let said = format!("ClusterApi: KubeadmControlPlane blue, RollingOut: {message}");
    let decision = decide(&conditions.snapshot());
    assert_eq!(decision.action, Action::Nothing);
    assert_eq!(words(&decision), [rolling(3), said.clone()]);

    conditions.control_plane.replicas.as_mut().unwrap().up_to_date = 1;
    assert_eq!(words(&decide(&conditions.snapshot())), [rolling(1), said]);
}

/// As many are ready as there should be; the new one isn't.
#[test]
fn of_a_control_plane_without_machines_no_old_one_is_counted() {
    for (total, ready, up_to_date, there) in [(4, 3, 1, 0), (4, 4, 2, 2), (3, 3, 2, 2)] {
        let mut snapshot = start();
        snapshot.machines.clear();
        let control_plane = control_plane(&mut snapshot);
        control_plane.replicas = Some(Replicas {
            desired: 3,
            total,
            ready,
            up_to_date,
        });
        let rolling =
            format!("the control plane goes to v1.33.5: {there} of 3 machines are there, the lowest runs v1.33.5");
        assert_eq!(
            words(&decide(&snapshot)),
            [format!("ControlPlaneRollingOut: {rolling}")]
        );
    }
}

const HOOK: &str = "Waiting for pre-drain hooks to succeed (hooks: pre-drain.delete.hook.machine.cluster.x-k8s.io/x)";

/// The first old machine of a pool is being deleted, and something holds that up; the last one isn't, whatever is said
/// of it.
fn held_up(machines: &mut [Machine], pool: &PoolId) -> String {
    let mut old: Vec<&mut Machine> = machines
        .iter_mut()
        .filter(|machine| machine.pool.as_ref() == Some(pool) && machine.version == version("v1.33.5"))
        .collect();
    for machine in &mut old {
        machine.deletion_waits_for = Some(HOOK.to_owned());
    }
    old[0].lifecycle = Lifecycle::Deleting;
    format!("ClusterApi: Machine {}, Deleting: {HOOK}", old[0].name)
}

#[test]
fn what_holds_up_the_deletion_of_an_old_machine_is_said_in_cluster_apis_words() {
    let mut world = middle();
    let swap = decide(&world.snapshot());
    assert_eq!(world.write(&swap.action), Answer::Done);
    let told = held_up(&mut world.machines, &PoolId::Workers("md-0".to_owned()));
    let rolling = "PoolRollingOut: MachineDeployment md-0 goes to v1.34.5: 0 of 2 machines are there";
    assert_eq!(words(&decide(&world.snapshot())), [rolling, &told]);
}

#[test]
fn what_holds_up_an_old_machine_of_the_control_plane_is_said_too() {
    let mut world = world("v1.33.5", "v1.34.5-1");
    let swap = until(&mut world, swaps_control_plane);
    assert_eq!(world.write(&swap.action), Answer::Done);
    let told = held_up(&mut world.machines, &PoolId::ControlPlane);
    let rolling =
        "ControlPlaneRollingOut: the control plane goes to v1.34.5: 0 of 3 machines are there, the lowest runs v1.33.5";
    assert_eq!(words(&decide(&world.snapshot())), [rolling, &told]);
}

#[test]
fn a_machine_that_never_comes_up_holds_the_rest_and_is_named() {
    let mut world = rolling(|machine| {
        machine.phase = MachinePhase::Failed;
        machine.node = Node::Absent;
    });
    let decision = decide(&world.snapshot());
    assert_eq!(decision.action, Action::Nothing);
    let stuck = world
        .machines
        .iter()
        .find(|machine| is_new(machine))
        .unwrap()
        .name
        .clone();
    assert_eq!(
        words(&decision),
        [
            "PoolRollingOut: MachineDeployment md-0 goes to v1.34.5: 0 of 3 machines are there".to_owned(),
            format!("MachineNotReady: Machine {stuck} is Failed, and its node isn't ready"),
        ]
    );
    // Mended, it goes on by itself.
    for machine in world.machines.iter_mut().filter(|machine| is_new(machine)) {
        machine.phase = MachinePhase::Provisioned;
    }
    until(&mut world, complete);
}

#[test]
fn a_pool_on_delete_waits_for_somebody_and_for_nobody_else() {
    let mut world = world("v1.33.5", "v1.34.5-1");
    world.pools[0].object.rollout = Rollout::OnDelete;
    let waits = |decision: &Decision| {
        decision.action == Action::Nothing
            && decision.waiting.len() == 1
            && decision.waiting[0].reason() == HealthReason::OnDelete
    };
    let decision = until(&mut world, waits);
    assert_eq!(decision.progress.stage, Stage::Workers);
    assert_eq!(
        decision.progress.pools[2].converged(),
        2,
        "the other pool is done: {decision:?}"
    );
    let old: Vec<String> = world
        .machines
        .iter()
        .filter(|machine| machine.version == version("v1.33.5"))
        .map(|machine| machine.name.clone())
        .collect();
    assert_eq!(
        words(&decision),
        [format!(
            "OnDelete: MachineDeployment md-0 replaces machines when they are deleted: delete {}",
            old.join(", ")
        )]
    );
}
