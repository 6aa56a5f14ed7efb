//! Workers that no upgrade moves: MachinePools, and MachineSets and Machines outside of MachineDeployments.

use instar_planner::{
    Action, Lifecycle, Machine, MachinePhase, MachinePool, MachineSet, Observed, PoolId, Snapshot, Stage, Unversioned,
    WorkerKind,
};

use crate::{
    scenarios::{complete, decide, until, world},
    waiting::{start, words},
    world::{self, joined, ready_since, reference, version},
};

fn machine_pool(name: &str, says: &str, runs: &str) -> Observed<MachinePool> {
    Observed::Read(world::machine_pools::machine_pool(name, says, &[says, runs]))
}

fn machine_set(name: &str, says: &str, replicas: u32) -> Observed<MachineSet> {
    Observed::Read(MachineSet {
        name: name.to_owned(),
        pool: None,
        version: version(says),
        infrastructure: reference("alone"),
        bootstrap: None,
        replicas,
        lifecycle: Lifecycle::Active,
        created: None,
        blocked: None,
    })
}

fn machine(name: &str, runs: &str, pool: Option<&str>, maker: Option<&str>) -> Machine {
    Machine {
        name: name.to_owned(),
        pool: pool.map(|name| PoolId::Workers(name.to_owned())),
        maker: maker.map(str::to_owned),
        version: version(runs),
        template: None,
        phase: MachinePhase::Running,
        node: joined(name, &version(runs)),
        node_readiness: ready_since(jiff::Timestamp::UNIX_EPOCH),
        lifecycle: Lifecycle::Active,
        created: None,
        deletion_waits_for: None,
        up_to_date: instar_planner::UpToDate::Unknown,
        rollout_time: None,
    }
}

/// Workers of each kind, some of them old.
fn add_workers(snapshot: &mut Snapshot) {
    snapshot.machine_pools = vec![
        machine_pool("mp-old", "v1.33.5", "v1.33.5"),
        machine_pool("mp-behind", "v1.34.5", "v1.33.5"),
        machine_pool("mp-there", "v1.34.5", "v1.34.5+k0s"),
    ];
    snapshot.machine_sets.extend([
        machine_set("set-old", "v1.33.5", 1),
        machine_set("set-raised", "v1.34.5", 1),
        machine_set("set-empty", "v1.33.5", 0),
    ]);
    snapshot.unversioned.push(Unversioned {
        kind: WorkerKind::MachineDeployment,
        name: "autoscaled".to_owned(),
        maker: None,
        templates: Vec::new(),
    });
    let going = Machine {
        lifecycle: Lifecycle::Deleting,
        ..machine("going", "v1.33.5", None, None)
    };
    let machines = [
        machine("of-set", "v1.33.5", None, Some("set-raised")),
        machine("of-mp", "v1.33.5", None, Some("mp-old")),
        machine("alone", "v1.33.5", None, None),
        machine("orphan", "v1.32.5", Some("gone"), None),
        machine("unversioned", "v1.33.5", Some("autoscaled"), None),
        machine("new", "v1.34.5", None, None),
        going,
    ];
    snapshot.machines.extend(machines.map(Observed::Read));
}

#[test]
fn what_stays_old_is_named_at_the_end_with_what_it_runs() {
    let mut world = world("v1.33.5", "v1.34.5-1");
    until(&mut world, complete);
    let mut snapshot = world.snapshot();
    add_workers(&mut snapshot);
    let decision = decide(&snapshot);
    assert_eq!(
        (&decision.action, decision.progress.stage),
        (&Action::Nothing, Stage::Complete)
    );
    let left = |object: &str, runs: &str| {
        let because = object.strip_prefix("MachinePool ").map_or_else(String::new, |name| {
            format!(" (TestMachinePool {name}-infra, its infrastructureRef, was not found)")
        });
        format!(
            "LeftToUser: {object} runs {runs}, and the upgrade leaves it there{because}: upgrade it to v1.34.5 yourself"
        )
    };
    let told: Vec<String> = words(&decision)
        .into_iter()
        .filter(|told| !told.starts_with("Retained"))
        .collect();
    assert_eq!(
        told,
        [
            left("MachineSet set-old", "v1.33.5"),
            left("MachineSet set-raised", "v1.33.5"),
            left("MachinePool mp-behind", "v1.33.5"),
            left("MachinePool mp-old", "v1.33.5"),
            left("Machine alone", "v1.33.5"),
            left("Machine orphan", "v1.32.5"),
            "NoVersion: MachineDeployment autoscaled has no version, so it is left out: set one to have it upgraded"
                .to_owned(),
        ]
    );
}

#[test]
fn it_is_named_from_the_start_and_holds_nothing() {
    let mut snapshot = start();
    snapshot.machine_pools = vec![machine_pool("mp", "v1.33.5", "v1.33.5")];
    let decision = decide(&snapshot);
    assert!(matches!(decision.action, Action::PinPath(_)), "{decision:?}");
    assert_eq!(
        words(&decision),
        [
            "LeftToUser: MachinePool mp runs v1.33.5, and the upgrade leaves it there (TestMachinePool mp-infra, its \
         infrastructureRef, was not found): upgrade it to v1.34.5 yourself"
        ]
    );
}
