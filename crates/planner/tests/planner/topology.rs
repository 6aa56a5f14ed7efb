//! Topology clusters: where they are, and the two writes that are left for us.

mod addons;
mod canary;
mod held;
mod holds;
mod hooks;
mod hooks_addons;
mod landing;
mod landing_table;
mod release_change;
mod sampled;
mod written;

use std::sync::Arc;

use instar_api::{Pin, Pins};
use instar_planner::{
    ClusterKind, Condition, ConditionStatus, ControlPlane, Decision, Machine, MachineDeployment, ManagedBy, Observed,
    Origin, ResourceVersion, RuntimeHooks, Snapshot, Stage, Target, Topology, UpgradeConcurrency, VersionSetBy, check,
    follow, under_way,
};

use crate::world::{World, joined, machine_pools::machine_pool, ready_since, version};

/// A cluster at one version whose Cluster says another: 3 and 2x2, of the topology controller.
fn cluster(runs: &str, says: &str) -> Snapshot {
    cluster_of(runs, says, &["md-0", "md-1"])
}

/// The same with these pools.
fn cluster_of(runs: &str, says: &str, names: &[&str]) -> Snapshot {
    let mut world = World::new(runs, 3, Target::Text(says.to_owned()));
    for pool in names {
        world.add_pool(pool, &version(runs), 2);
    }
    let mut snapshot = world.snapshot();
    control_plane(&mut snapshot).object.managed_by = ManagedBy::Topology;
    for pool in pools(&mut snapshot) {
        pool.object.managed_by = ManagedBy::Topology;
    }
    snapshot.upgrade_spec.origin = Origin::Cluster;
    snapshot.cluster.generation = 2;
    snapshot.cluster.kind = ClusterKind::Topology(Box::new(Observed::Read(Topology {
        resource_version: ResourceVersion("7".to_owned()),
        version: version(says),
        pins: None,
        control_plane_plan: Vec::new(),
        workers_plan: Vec::new(),
        version_set_by: None,
        landing_mark: None,
        concurrency: UpgradeConcurrency::default(),
        hooks: RuntimeHooks::Off(String::new()),
        hook_answer: None,
        conditions: vec![reconciled(ConditionStatus::True, "ReconcileSucceeded", "")],
    })));
    snapshot
}

fn reconciled(status: ConditionStatus, reason: &str, message: &str) -> Condition {
    Condition {
        kind: "TopologyReconciled".to_owned(),
        status,
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: 2,
    }
}

fn topology(snapshot: &mut Snapshot) -> &mut Topology {
    match &mut snapshot.cluster.kind {
        ClusterKind::Topology(topology) => match topology.as_mut() {
            Observed::Read(topology) => topology,
            Observed::Invalid(_) => panic!("a topology that can't be read"),
        },
        ClusterKind::Classic(_) => panic!("a classic cluster"),
    }
}

fn says(snapshot: &mut Snapshot, status: ConditionStatus, reason: &str, message: &str) {
    topology(snapshot).conditions = vec![reconciled(status, reason, message)];
}

/// Pins for versions, each from the first row of its version.
fn pins(adopted: &str, versions: &[&str]) -> Pins {
    let pin = |text: &&str| {
        let pin = Pin {
            release: format!("{text}-1"),
            ..Pin::default()
        };
        (version(text), pin)
    };
    Pins {
        adopted: [version(adopted)].into(),
        releases: versions.iter().map(pin).collect(),
        ..Pins::default()
    }
}

fn control_plane(snapshot: &mut Snapshot) -> &mut ControlPlane {
    match &mut snapshot.control_plane {
        Some(Observed::Read(control_plane)) => control_plane,
        Some(Observed::Invalid(_)) | None => panic!("no control plane"),
    }
}

fn pools(snapshot: &mut Snapshot) -> impl Iterator<Item = &mut MachineDeployment> {
    snapshot.pools.iter_mut().filter_map(|pool| match pool {
        Observed::Read(pool) => Some(pool),
        Observed::Invalid(_) => None,
    })
}

fn machines(snapshot: &mut Snapshot) -> impl Iterator<Item = &mut Machine> {
    snapshot.machines.iter_mut().filter_map(|machine| match machine {
        Observed::Read(machine) => Some(machine),
        Observed::Invalid(_) => None,
    })
}

/// The control plane and all of its machines go to a version.
fn control_plane_goes(snapshot: &mut Snapshot, to: &str) {
    let to = version(to);
    control_plane(snapshot).version = to.clone();
    control_plane(snapshot).observed = vec![to.clone()];
    for machine in machines(snapshot).filter(|machine| machine.pool == Some(instar_planner::PoolId::ControlPlane)) {
        machine.version = to.clone();
        machine.node = joined(&machine.name, &to);
    }
}

/// All pools and their machines go to a version.
fn workers_go(snapshot: &mut Snapshot, to: &str) {
    let to = version(to);
    for pool in pools(snapshot) {
        pool.version = to.clone();
    }
    for set in &mut snapshot.machine_sets {
        if let Observed::Read(set) = set {
            set.version = to.clone();
        }
    }
    for machine in machines(snapshot).filter(|machine| machine.pool != Some(instar_planner::PoolId::ControlPlane)) {
        machine.version = to.clone();
        machine.node = joined(&machine.name, &to);
    }
}

fn decide(snapshot: &Snapshot) -> Decision {
    let decision = follow(snapshot);
    assert_eq!(check(snapshot, &decision), [], "{decision:#?}");
    assert_eq!(follow(snapshot), decision, "the same input, another decision");
    decision
}

fn words(decision: &Decision) -> Vec<String> {
    let words = decision.waiting.iter();
    words
        .map(|waiting| format!("{}: {waiting}", waiting.reason()))
        .collect()
}

#[test]
fn each_stage_is_told_as_it_is() {
    let mut snapshot = cluster("v1.33.5", "v1.35.5");
    topology(&mut snapshot).pins = Some(pins("v1.33.5", &["v1.34.5", "v1.35.5"]));
    says(
        &mut snapshot,
        ConditionStatus::False,
        "ClusterUpgrading",
        "Cluster is upgrading to v1.35.5",
    );
    assert!(under_way(&snapshot));
    let told = decide(&snapshot);
    assert_eq!(told.progress.stage, Stage::ControlPlane);
    assert_eq!(told.progress.path, ["v1.34.5-1", "v1.35.5-1"]);
    assert_eq!(
        words(&told),
        [
            "ControlPlaneRollingOut: the control plane goes to v1.35.5: 0 of 3 machines are there, the lowest runs v1.33.5",
            "PoolRollingOut: MachineDeployment md-0 goes to v1.35.5: 0 of 2 machines are there",
            "PoolRollingOut: MachineDeployment md-1 goes to v1.35.5: 0 of 2 machines are there",
            "ClusterApi: Cluster blue, TopologyReconciled: Cluster is upgrading to v1.35.5",
        ]
    );

    // On its way to the version between, with one machine still old.
    control_plane_goes(&mut snapshot, "v1.34.5");
    control_plane(&mut snapshot).observed.push(version("v1.33.5"));
    topology(&mut snapshot).control_plane_plan = vec![version("v1.35.5")];
    let told = decide(&snapshot);
    assert_eq!(told.progress.path, ["v1.34.5-1", "v1.35.5-1"]);
    assert_eq!(told.progress.stage, Stage::ControlPlane);
    control_plane(&mut snapshot).observed.pop();
    assert_eq!(decide(&snapshot).progress.path, ["v1.35.5-1"]);

    control_plane_goes(&mut snapshot, "v1.35.5");
    assert_eq!(decide(&snapshot).progress.stage, Stage::Workers);

    // A machine of the control plane that isn't ready for a moment takes it back only before the workers have begun.
    let ready = |snapshot: &mut Snapshot, ready| control_plane(snapshot).replicas.as_mut().unwrap().ready = ready;
    ready(&mut snapshot, 2);
    assert_eq!(decide(&snapshot).progress.stage, Stage::ControlPlane);
    pools(&mut snapshot).next().unwrap().version = version("v1.35.5");
    let told = decide(&snapshot);
    assert_eq!(told.progress.stage, Stage::Workers);
    assert_eq!(
        words(&told)[0],
        "ControlPlaneNotReady: all machines of the control plane run v1.35.5, and it isn't ready"
    );
    // One that is replaced once more is a rollout.
    control_plane(&mut snapshot).replicas.as_mut().unwrap().up_to_date = 2;
    assert_eq!(decide(&snapshot).progress.stage, Stage::ControlPlane);
    control_plane(&mut snapshot).replicas.as_mut().unwrap().up_to_date = 3;
    workers_go(&mut snapshot, "v1.35.5");
    assert_eq!(decide(&snapshot).progress.stage, Stage::Workers);
    ready(&mut snapshot, 3);
    assert!(!under_way(&snapshot));
    // All is there, and Cluster API has something to do yet.
    let told = decide(&snapshot);
    assert_eq!(told.progress.stage, Stage::Workers);
    assert_eq!(words(&told).len(), 1);
    says(&mut snapshot, ConditionStatus::True, "ReconcileSucceeded", "");
    let told = decide(&snapshot);
    assert_eq!((told.progress.stage, told.waiting), (Stage::Complete, Vec::new()));
    // What was said of an older edit counts for nothing.
    snapshot.cluster.generation = 3;
    assert_eq!(decide(&snapshot).progress.stage, Stage::Workers);
}

#[test]
fn it_is_complete_when_its_nodes_are_ready() {
    let mut snapshot = cluster("v1.35.5", "v1.35.5");
    assert_eq!(decide(&snapshot).progress.stage, Stage::Complete);
    let now = snapshot.now;
    let worker = machines(&mut snapshot).last().unwrap();
    worker.node_readiness = ready_since(now);
    let told = decide(&snapshot);
    assert_eq!(told.progress.stage, Stage::Verifying);
    assert_eq!(words(&told).len(), 1, "{:?}", words(&told));
    // A user's own pool beside the topology isn't the upgrade's.
    for pool in pools(&mut snapshot) {
        pool.object.managed_by = ManagedBy::User;
    }
    assert_eq!(decide(&snapshot).progress.stage, Stage::Complete);
    // A newer version supersedes what is still verified.
    for pool in pools(&mut snapshot) {
        pool.object.managed_by = ManagedBy::Topology;
    }
    topology(&mut snapshot).version = version("v1.35.9");
    assert_eq!(
        words(&decide(&snapshot))[0],
        "Superseded: spec.topology.version is v1.35.9 by now, so this upgrade is over"
    );
}

/// What is changed, and how.
type Case = (&'static str, fn(&mut Snapshot));

#[test]
fn completed_means_every_machine_and_every_node() {
    let done = || {
        let mut snapshot = cluster("v1.35.5", "v1.35.5");
        topology(&mut snapshot).pins = Some(pins("v1.35.5", &[]));
        snapshot
    };
    assert_eq!(decide(&done()).progress.stage, Stage::Complete);
    let cases: [Case; 8] = [
        ("an old machine", |s| {
            machines(s).last().unwrap().version = version("v1.34.5");
        }),
        ("a node of another version", |s| {
            let machine = machines(s).next().unwrap();
            machine.node = joined("x", &version("v1.34.5"));
        }),
        ("a machine without a node", |s| {
            machines(s).next().unwrap().node = instar_planner::Node::Absent;
        }),
        ("an old MachineSet", |s| {
            let Some(Observed::Read(set)) = s.machine_sets.first().cloned() else {
                panic!("no MachineSet")
            };
            s.machine_sets.push(Observed::Read(instar_planner::MachineSet {
                name: "old".to_owned(),
                version: version("v1.34.5"),
                ..set
            }));
        }),
        ("a control plane that wasn't observed", |s| {
            control_plane(s).object.generation = 2;
        }),
        ("a control plane that isn't counted", |s| {
            control_plane(s).replicas.as_mut().unwrap().up_to_date = 2;
        }),
        ("a pool from another template", |s| {
            pools(s).next().unwrap().infrastructure.name = "new".to_owned();
        }),
        ("a MachinePool", |s| {
            let mut pool = machine_pool("mp", "v1.35.5", &["v1.34.5"]);
            pool.object.managed_by = ManagedBy::Topology;
            s.machine_pools.push(Observed::Read(pool));
        }),
    ];
    for (case, change) in cases {
        let mut snapshot = done();
        change(&mut snapshot);
        let told = decide(&snapshot);
        assert_ne!(told.progress.stage, Stage::Complete, "{case}");
        assert!(!told.waiting.is_empty(), "{case}");
    }
}

#[test]
fn what_stands_beside_the_topology_is_left_out() {
    let mut snapshot = cluster("v1.35.5", "v1.35.5");
    let mut world = World::new("v1.33.5", 0, Target::Text(String::new()));
    world.add_pool("beside", &version("v1.33.5"), 1);
    let beside = world.snapshot();
    snapshot.pools.extend(beside.pools);
    snapshot.machine_sets.extend(beside.machine_sets);
    snapshot.machines.extend(beside.machines);
    assert!(!under_way(&snapshot));
    let told = decide(&snapshot);
    assert_eq!(told.progress.stage, Stage::Complete);
    assert_eq!(told.progress.pools.len(), 3);
}

#[test]
fn what_is_being_created_is_not_under_way() {
    let mut snapshot = cluster("v1.35.5", "v1.35.5");
    for machine in machines(&mut snapshot) {
        machine.node = instar_planner::Node::Absent;
        machine.phase = instar_planner::MachinePhase::Provisioning;
    }
    assert!(!under_way(&snapshot));
    snapshot.control_plane = None;
    snapshot.machines.clear();
    assert!(!under_way(&snapshot));
    snapshot.cluster.kind = ClusterKind::Classic(Box::default());
    assert!(!under_way(&snapshot));
}

/// A ClusterUpgrade set the version of a Cluster whose machines do not change.
fn asked(runs: &str, target: &str) -> Snapshot {
    asked_of(cluster(runs, runs), target)
}

fn asked_of(mut snapshot: Snapshot, target: &str) -> Snapshot {
    let runs = topology(&mut snapshot).version.to_string();
    snapshot.upgrade_spec.origin = Origin::Upgrade;
    snapshot.upgrade_spec.target = Target::Text(target.to_owned());
    topology(&mut snapshot).pins = Some(pins(&runs, &[]));
    snapshot
}

fn written_by_us(snapshot: &mut Snapshot) {
    let Target::Text(target) = snapshot.upgrade_spec.target.clone() else {
        panic!("a release")
    };
    let upgrade = snapshot.upgrade_spec.upgrade.clone();
    topology(snapshot).version_set_by = Some(VersionSetBy {
        upgrade,
        target,
        landed: None,
    });
}

fn catalog_of(snapshot: &mut Snapshot, rows: Vec<(String, serde_json::Value)>) {
    snapshot.catalog = Arc::clone(&crate::world::catalog::of(rows));
}
