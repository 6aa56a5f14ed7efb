//! A Cluster that is still on its way to its first API server.

use instar_planner::{Action, Initialization, MachinePhase, Node, Observed, Snapshot, collect_templates};

use crate::{
    scenarios::{decide, world},
    waiting::{control_plane, start, words},
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
