//! An upgrade is complete when its Nodes have been Ready for long enough.

use instar_planner::{
    Action, Decision, Lifecycle, NodeReadiness, PoolId, Snapshot, Stage, Target, Violation, check, collect_templates,
};
use jiff::SignedDuration;

use crate::{
    scenarios::{complete, decide, swaps_control_plane, until, world},
    world::{NODES_READY_FOR, World, not_ready, ready_since, version},
};

const MD_0: &str = "md-0";

/// All machines are there, and their Nodes have been Ready for long.
fn at_the_end() -> World {
    let mut world = world("v1.33.5", "v1.34.5");
    until(&mut world, complete);
    let since = world.now - SignedDuration::from_hours(1);
    for machine in &mut world.machines {
        machine.node_readiness = ready_since(since);
    }
    world
}

/// The readiness of one machine of a pool, and its name.
fn one_of<'w>(world: &'w mut World, pool: &PoolId) -> (&'w mut NodeReadiness, String) {
    let mut machines = world.machines.iter_mut();
    let machine = machines.find(|machine| machine.pool.as_ref() == Some(pool)).unwrap();
    (&mut machine.node_readiness, machine.name.clone())
}

fn said(decision: &Decision) -> Vec<String> {
    let waiting = decision.waiting.iter();
    waiting
        .map(|waiting| format!("{}: {waiting}", waiting.reason()))
        .collect()
}

fn is_verifying(snapshot: &Snapshot) -> Vec<String> {
    let decision = decide(snapshot);
    assert_eq!(
        (decision.progress.stage, &decision.action),
        (Stage::Verifying, &Action::Nothing)
    );
    said(&decision)
}

#[test]
fn it_completes_when_the_last_node_has_been_ready_for_a_minute() {
    let mut world = at_the_end();
    let now = world.now;
    *one_of(&mut world, &PoolId::ControlPlane).0 = ready_since(now - SignedDuration::from_secs(30));
    *one_of(&mut world, &PoolId::Workers(MD_0.to_owned())).0 = ready_since(now - SignedDuration::from_secs(10));
    let until = now + SignedDuration::from_secs(50);
    assert_eq!(
        is_verifying(&world.snapshot()),
        [format!(
            "NodesSettling: all machines are there, and the upgrade is complete when each Node has been Ready for 1m, at {until}"
        )]
    );
    world.now = until - SignedDuration::from_secs(1);
    is_verifying(&world.snapshot());
    world.now = until;
    assert!(complete(&decide(&world.snapshot())));
}

#[test]
fn a_node_that_is_not_known_to_be_ready_is_named() {
    let mut world = at_the_end();
    let (readiness, unknown) = one_of(&mut world, &PoolId::ControlPlane);
    *readiness = NodeReadiness::Unknown { message: String::new() };
    let (readiness, late) = one_of(&mut world, &PoolId::Workers(MD_0.to_owned()));
    *readiness = not_ready();
    assert_eq!(
        is_verifying(&world.snapshot()),
        [
            format!(
                "NodeUnknown: Machine {unknown} is there, and its condition NodeReady doesn't say whether its Node is Ready"
            ),
            format!("NodeNotReady: Machine {late} is there, and its Node is not Ready: Node.Ready: no CNI"),
        ]
    );
}

#[test]
fn a_new_target_is_let_through() {
    let mut world = at_the_end();
    *one_of(&mut world, &PoolId::Workers(MD_0.to_owned())).0 = not_ready();
    is_verifying(&world.snapshot());
    world.upgrade_spec.target = Target::Text("v1.35.5".to_owned());
    let swap = until(&mut world, swaps_control_plane);
    let Action::SwapControlPlane(swap) = swap.action else {
        panic!("{:?}", swap.action);
    };
    assert_eq!(swap.version, version("v1.35.5"));
}

#[test]
fn what_goes_or_was_left_to_its_user_holds_nothing() {
    let mut world = at_the_end();
    world.machine(PoolId::Workers("gone".to_owned()), version("v1.34.5"), "blue-md-0");
    world.machine(PoolId::Workers("gone".to_owned()), version("v1.34.5"), "blue-md-0");
    let mut added = world.machines.iter_mut().rev();
    added.next().unwrap().pool = None;
    assert!(complete(&decide(&world.snapshot())));
    // Its rollout holds the upgrade, and nothing is said of its node.
    let at = world
        .machines
        .iter()
        .position(|machine| machine.pool == Some(PoolId::Workers(MD_0.to_owned())));
    world.machines[at.unwrap()].node_readiness = not_ready();
    world.remove_machine(at.unwrap());
    assert_eq!(world.machines[at.unwrap()].lifecycle, Lifecycle::Deleting);
    assert!(
        !said(&decide(&world.snapshot()))
            .iter()
            .any(|row| row.contains("Node is"))
    );
}

#[test]
fn a_node_that_is_not_ready_later_says_nothing_of_a_finished_upgrade() {
    let mut world = at_the_end();
    *one_of(&mut world, &PoolId::ControlPlane).0 = not_ready();
    let mut snapshot = world.snapshot();
    snapshot.nodes_ready_for = None;
    assert_eq!(check(&snapshot, &collect_templates(&snapshot)), []);
    assert!(complete(&decide(&snapshot)));
}

#[test]
fn completing_without_it_breaks_an_invariant() {
    let mut world = at_the_end();
    let decision = decide(&world.snapshot());
    assert_eq!(check(&world.snapshot(), &decision), []);
    let late = world.now - NODES_READY_FOR + SignedDuration::from_secs(1);
    for readiness in [
        not_ready(),
        NodeReadiness::Unknown { message: String::new() },
        ready_since(late),
    ] {
        *one_of(&mut world, &PoolId::Workers(MD_0.to_owned())).0 = readiness;
        assert_eq!(check(&world.snapshot(), &decision), [Violation::NotVerified]);
    }
}
