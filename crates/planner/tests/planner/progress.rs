//! How far each machine has come.

use instar_planner::{Decision, Lifecycle, MachinePhase, MachineState, Node, PoolOverride, Stage, plan};

use crate::{
    scenarios::{complete, decide, swaps_control_plane, swaps_workers, until, world},
    world::{World, api::Answer, random::Random, version},
};

/// How many machines of each pool are Failed, Upgrading, Pending, Running.
fn counts(decision: &Decision) -> Vec<[usize; 4]> {
    let states = [
        MachineState::Failed,
        MachineState::Upgrading,
        MachineState::Pending,
        MachineState::Running,
    ];
    let pools = decision.progress.pools.iter();
    pools.map(|pool| states.map(|state| pool.count(state))).collect()
}

#[test]
fn pending_before_and_running_after() {
    let mut world = world("v1.33.5", "v1.35");
    assert_eq!(
        counts(&decide(&world.snapshot())),
        [[0, 0, 3, 0], [0, 0, 2, 0], [0, 0, 2, 0]]
    );
    // One minor is done, and there is another to go: nothing of the last one has begun.
    let second = |decision: &Decision| swaps_control_plane(decision) && decision.progress.path.len() == 1;
    assert_eq!(counts(&until(&mut world, second))[0], [0, 0, 3, 0]);
    let workers = until(&mut world, swaps_workers);
    assert_eq!(counts(&workers), [[0, 0, 0, 3], [0, 0, 2, 0], [0, 0, 2, 0]]);
    let done = until(&mut world, complete);
    assert_eq!(counts(&done), [[0, 0, 0, 3], [0, 0, 0, 2], [0, 0, 0, 2]]);
    let machine = &done.progress.pools[1].machines[0];
    assert_eq!(machine.version, Some(version("v1.35.5")));
    assert_eq!(machine.node.as_deref(), Some(format!("node-{}", machine.name).as_str()));
}

/// A pool of two with one machine more, which is new.
fn rolling() -> (World, usize) {
    let mut world = world("v1.33.5", "v1.34.5-1");
    let swap = until(&mut world, swaps_workers);
    assert_eq!(world.write(&swap.action), Answer::Done);
    let mut random = Random::new(3);
    for _ in 0..1_000 {
        let new = |machine: &instar_planner::Machine| {
            machine.pool == Some(decide(&world.snapshot()).progress.pools[1].pool.clone())
                && machine.version == version("v1.34.5")
        };
        if let Some(at) = world.machines.iter().position(new) {
            return (world, at);
        }
        world.tick(&mut random);
    }
    panic!("no new machine");
}

type Change = fn(&mut instar_planner::Machine);

#[test]
fn a_new_machine_is_upgrading_until_its_node_says_so() {
    let (world, at) = rolling();
    let table: [(Change, [usize; 4]); 7] = [
        (|m| m.phase = MachinePhase::Provisioning, [0, 1, 2, 0]),
        (|m| m.node = Node::Absent, [0, 1, 2, 0]),
        (
            |m| {
                m.node = Node::Joined {
                    name: "n".to_owned(),
                    version: None,
                }
            },
            [0, 1, 2, 0],
        ),
        (
            |m| {
                m.node = Node::Joined {
                    name: "n".to_owned(),
                    version: Some(version("v1.33.5")),
                }
            },
            [0, 1, 2, 0],
        ),
        (|_| {}, [0, 0, 2, 1]),
        (|m| m.phase = MachinePhase::Failed, [1, 0, 2, 0]),
        (|m| m.lifecycle = Lifecycle::Deleting, [0, 1, 2, 0]),
    ];
    for (change, expected) in table {
        let mut world = world.clone();
        let machine = &mut world.machines[at];
        machine.phase = MachinePhase::Running;
        machine.node = Node::Joined {
            name: "n".to_owned(),
            version: Some(version("v1.34.5")),
        };
        change(machine);
        assert_eq!(
            counts(&plan(&world.snapshot()))[1],
            expected,
            "{:?}",
            world.machines[at]
        );
    }
}

#[test]
fn a_pool_that_stays_is_where_it_ends() {
    let mut world = world("v1.33.5", "v1.34.5-1");
    world.upgrade_spec.pools.insert("md-1".to_owned(), PoolOverride::Hold);
    assert_eq!(counts(&decide(&world.snapshot()))[2], [0, 0, 0, 2]);
    // Where nobody can say where it goes, its spec is what counts.
    world.upgrade_spec.target = instar_planner::Target::Text("v1.99".to_owned());
    let held = decide(&world.snapshot());
    assert_eq!(held.progress.stage, Stage::Held);
    assert_eq!(counts(&held), [[0, 0, 0, 3], [0, 0, 0, 2], [0, 0, 0, 2]]);
}
