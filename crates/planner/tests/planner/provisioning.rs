//! Control plane machines on their way to their node: the first ones of a Cluster, and new ones that never get there.

use instar_planner::{
    Action, Initialization, Lifecycle, Machine, MachinePhase, Node, Observed, PoolId, Snapshot, Target,
    collect_templates,
};

use crate::{
    scenarios::{complete, decide, swaps_control_plane, until, world},
    waiting::{control_plane, start, words},
    world::{World, api::Answer, random::Random, version},
};

const NOT_YET: &str = "NotProvisioned: the Cluster isn't provisioned yet: its control plane has not been initialized, and the upgrade begins when it is";

/// Cluster API says that the control plane was never up.
fn awaited() -> Snapshot {
    let mut snapshot = start();
    snapshot.cluster.initialization = Initialization::Awaited;
    snapshot
}

/// As its first machines come up.
fn without_nodes() -> Snapshot {
    let mut snapshot = awaited();
    for machine in &mut snapshot.machines {
        if let Observed::Read(machine) = machine {
            machine.phase = MachinePhase::Provisioned;
            machine.node = Node::Absent;
        }
    }
    snapshot
}

fn without_machines() -> Snapshot {
    let mut snapshot = awaited();
    snapshot.machines.clear();
    snapshot.machine_sets.clear();
    snapshot.pools.clear();
    snapshot
}

#[test]
fn a_cluster_that_is_not_up_yet_is_left_alone_and_said_to_be() {
    let mut nothing_there = without_machines();
    control_plane(&mut nothing_there).observed.clear();
    for snapshot in [without_nodes(), nothing_there] {
        let decision = decide(&snapshot);
        assert_eq!(decision.action, Action::Nothing);
        assert_eq!(words(&decision), [NOT_YET]);
        assert_eq!(collect_templates(&snapshot).action, Action::Nothing);
    }
}

/// A provider may never say that its control plane is initialized.
#[test]
fn a_control_plane_that_runs_is_not_held_whatever_its_provider_says() {
    for snapshot in [awaited(), without_machines()] {
        let decision = decide(&snapshot);
        assert!(matches!(decision.action, Action::PinPath(_)), "{decision:?}");
    }
}

#[test]
fn nothing_said_holds_nothing() {
    let decision = decide(&world("v1.33.5", "v1.34.5-1").snapshot());
    assert!(matches!(decision.action, Action::PinPath(_)), "{decision:?}");
}

/// The image of v1.34.5 never starts: the first new machine has no node, made as long ago as is said.
fn never_starts(minutes: i64) -> World {
    let mut world = world("v1.33.5", "v1.34.5-1");
    let swap = until(&mut world, swaps_control_plane);
    assert_eq!(world.write(&swap.action), Answer::Done);
    let mut random = Random::new(3);
    let made = world.now;
    for _ in 0..50 {
        world.tick(&mut random);
        for machine in &mut world.machines {
            if machine.version == version("v1.34.5") {
                machine.phase = MachinePhase::Provisioning;
                machine.node = Node::Absent;
                machine.created = Some(made);
            }
        }
    }
    world.now = made + jiff::SignedDuration::from_mins(minutes);
    world
}

fn new_machine(world: &World) -> String {
    let mut machines = world.machines.iter();
    let new = machines.find(|machine| machine.version == version("v1.34.5"));
    new.unwrap().name.clone()
}

#[test]
fn a_control_plane_whose_new_machine_never_starts_is_said_to_be_stuck() {
    let mut world = never_starts(10);
    let machine = new_machine(&world);
    let made = world.now - jiff::SignedDuration::from_mins(10);
    let rolling =
        "ControlPlaneRollingOut: the control plane goes to v1.34.5: 0 of 3 machines are there, the lowest runs v1.33.5";
    let stuck = format!(
        "ControlPlaneStuck: Machine {machine} of the control plane was created at {made} and has had no node since: the rollout to v1.34.5 has to end first; repair what keeps the Machine from starting, or name another release in spec.target of the ClusterUpgrade: the control plane then goes back to v1.33.5, and from there to that release"
    );
    let not_ready = format!("MachineNotReady: Machine {machine} is Provisioning, and its node isn't ready");
    let first = decide(&world.snapshot());
    assert_eq!(first.action, Action::Nothing);
    assert_eq!(words(&first), [&*stuck, rolling, &not_ready]);

    // That it lasts is no news.
    world.now += jiff::SignedDuration::from_mins(7);
    assert_eq!(decide(&world.snapshot()).waiting, first.waiting);

    // Who deletes it is not asked to do so again.
    let mut machines = world.machines.iter_mut();
    let new = machines.find(|machine| machine.version == version("v1.34.5")).unwrap();
    new.lifecycle = Lifecycle::Deleting;
    let said = words(&decide(&world.snapshot()));
    assert!(
        !said.iter().any(|said| said.starts_with("ControlPlaneStuck")),
        "{said:#?}"
    );
}

/// After a turn, of several machines to replace Cluster API deletes any, and waits for the one that never came up.
#[test]
fn a_machine_to_replace_that_never_started_is_named_where_others_may_go_before_it() {
    let mut world = never_starts(10);
    let new = new_machine(&world);
    let made = world
        .machines
        .iter()
        .find(|machine| machine.name == new)
        .unwrap()
        .created;
    let is_old =
        |machine: &&mut Machine| machine.pool == Some(PoolId::ControlPlane) && machine.version == version("v1.33.5");
    let old = world.machines.iter_mut().find(is_old).unwrap();
    (old.node, old.created) = (Node::Absent, made);
    let old = old.name.clone();
    let said = words(&decide(&world.snapshot()));
    let row = said
        .iter()
        .find(|row| row.starts_with(&format!("ControlPlaneStuck: Machine {old} ")))
        .unwrap();
    assert!(
        row.ends_with(
            ": the control plane goes to v1.34.5, and Cluster API deletes another Machine first and waits for this one to \
             become healthy; set the annotation cluster.x-k8s.io/delete-machine: \"\" on the Machine, and it goes first"
        ),
        "{row}"
    );
    // Where it is the only one, it is the next.
    world.machines.retain(|machine| {
        machine.pool != Some(PoolId::ControlPlane) || machine.version != version("v1.33.5") || machine.name == old
    });
    let said = words(&decide(&world.snapshot()));
    assert!(
        !said
            .iter()
            .any(|row| row.contains(&old) && row.starts_with("ControlPlaneStuck")),
        "{said:#?}"
    );
}

#[test]
fn a_new_target_goes_on_when_the_stuck_machine_has_made_way() {
    let mut world = never_starts(10);
    // The user deletes it, and Cluster API makes another one, which starts.
    let stuck = new_machine(&world);
    world.machines.retain(|machine| machine.name != stuck);
    world.upgrade_spec.target = Target::Text("v1.34.9".to_owned());
    assert_eq!(decide(&world.snapshot()).action, Action::Nothing);
    until(&mut world, complete);
    assert_eq!(world.control_plane.version, version("v1.34.9"));
    assert!(
        world
            .machines
            .iter()
            .all(|machine| machine.version == version("v1.34.9"))
    );
}

#[test]
fn a_machine_that_starts_has_its_time() {
    let said = words(&decide(&never_starts(9).snapshot()));
    assert!(
        !said.iter().any(|said| said.starts_with("ControlPlaneStuck")),
        "{said:#?}"
    );
}
