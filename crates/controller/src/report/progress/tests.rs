use instar_api::{ClusterUpgrade, ClusterUpgradeSpec, ClusterUpgradeStatus, OnClose, UpgradePhase};
use instar_capi::ClusterConfiguration;
use instar_planner::{
    Cluster, ClusterKind, Contract, ControlPlane, Decision, Flavor, Initialization, JoinRule, Lifecycle, Machine,
    MachineDeployment, MachinePhase, ManagedBy, MinorRollback, Node, Object, Observed, ResourceVersion, Retention,
    Rollout, Snapshot, Stage, Target, TemplateRef, UpgradeSpec, Waiting, WorkerKind, plan,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::*;
use crate::report::{Attempt, differs, status};

const POOLS: usize = 20;
const MACHINES: usize = 250;

fn object(kind: &str, name: &str) -> Object {
    Object {
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        resource_version: ResourceVersion("1".to_owned()),
        generation: 1,
        observed_generation: 1,
        lifecycle: Lifecycle::Active,
        managed_by: ManagedBy::User,
        swap_history: None,
        conditions: Vec::new(),
    }
}

fn template(name: &str) -> TemplateRef {
    TemplateRef {
        group: "infrastructure.cluster.x-k8s.io".to_owned(),
        kind: "VSphereMachineTemplate".to_owned(),
        name: name.to_owned(),
    }
}

fn pool(name: &str) -> MachineDeployment {
    MachineDeployment {
        object: object("MachineDeployment", name),
        labels: std::collections::BTreeMap::new(),
        version: "v1.34.3".parse().unwrap(),
        infrastructure: template(name),
        bootstrap: None,
        rollout: Rollout::Rolling,
        replicas: 1,
        joins: JoinRule::SameMinor,
        held: None,
        rollout_paused: None,
        drain_timeout: instar_planner::DrainTimeout::None,
        rollout_after: None,
    }
}

fn machine(pool: &str, number: usize) -> Machine {
    let name = format!("production-cluster-{pool}-x7k2p-{number:05}");
    Machine {
        pool: Some(PoolId::Workers(pool.to_owned())),
        version: "v1.34.3".parse().unwrap(),
        template: Some(pool.to_owned()),
        phase: MachinePhase::Running,
        node: Node::Joined {
            name: name.clone(),
            version: Some("v1.34.3".parse().unwrap()),
        },
        node_readiness: instar_planner::NodeReadiness::Ready {
            since: jiff::Timestamp::UNIX_EPOCH,
        },
        lifecycle: Lifecycle::Active,
        created: None,
        deletion_waits_for: None,
        up_to_date: instar_planner::UpToDate::Unknown,
        rollout_time: None,
        maker: None,
        name,
    }
}

/// Five thousand machines, all there; the target is in no catalog, so they stay.
pub(in crate::report) fn snapshot() -> Snapshot {
    let names: Vec<String> = (0..POOLS).map(|pool| format!("md-{pool:02}")).collect();
    let machines = names
        .iter()
        .flat_map(|pool| (0..MACHINES).map(|number| Observed::Read(machine(pool, number))));
    Snapshot {
        now: "2026-11-20T12:00:00.5Z".parse().unwrap(),
        cluster: Cluster {
            namespace: "n".to_owned(),
            name: "c".to_owned(),
            uid: "1".to_owned(),
            created: None,
            generation: 1,
            lifecycle: Lifecycle::Active,
            kind: ClusterKind::Classic(Box::default()),
            conditions: Vec::new(),
            initialization: Initialization::Done,
            labels: std::collections::BTreeMap::new(),
        },
        upgrade_spec: UpgradeSpec::new("up", Target::Text("v1.99".to_owned())),
        catalog: std::sync::Arc::default(),
        gates: std::collections::BTreeMap::new(),
        preflight: Vec::new(),
        approvals: instar_planner::Approvals::default(),
        addons: instar_planner::Addons::default(),
        canary: None,
        retention: Retention::default(),
        on_close: OnClose::FinishPool,
        minor_rollback: MinorRollback::Refuse,
        failure_rule: instar_planner::FailureRule::default(),
        nodes_ready_for: None,
        machine_start: jiff::SignedDuration::MAX,
        control_plane: Some(Observed::Read(ControlPlane {
            labels: std::collections::BTreeMap::new(),
            object: object("KubeadmControlPlane", "c"),
            version: "v1.34.3".parse().unwrap(),
            observed: vec!["v1.34.3".parse().unwrap()],
            infrastructure: Some(template("cp")),
            contract: Contract::V1Beta2,
            flavor: Flavor::Kubeadm {
                cluster_configuration: ClusterConfiguration::default(),
                settings: Vec::new(),
            },
            replicas: None,
            drain_timeout: instar_planner::DrainTimeout::None,
            skipped_addons: std::collections::BTreeSet::new(),
            rollout_after: None,
        })),
        machines: machines.collect(),
        pools: names.iter().map(|name| Observed::Read(pool(name))).collect(),
        machine_sets: Vec::new(),
        machine_pools: Vec::new(),
        infrastructure_pools: Vec::new(),
        templates: Vec::new(),
        used_elsewhere: std::collections::BTreeSet::new(),
        unversioned: Vec::new(),
        unreadable: Vec::new(),
    }
}

fn read<T>(part: &mut Observed<T>) -> &mut T {
    match part {
        Observed::Read(part) => part,
        Observed::Invalid(object) => panic!("{object:?}"),
    }
}

/// As it would be written after what is known of it now.
fn written(before: Option<ClusterUpgradeStatus>, snapshot: &Snapshot) -> ClusterUpgradeStatus {
    written_of(before, snapshot, &plan(snapshot))
}

fn written_of(before: Option<ClusterUpgradeStatus>, snapshot: &Snapshot, decision: &Decision) -> ClusterUpgradeStatus {
    let spec = ClusterUpgradeSpec {
        cluster_name: "c".to_owned(),
        target: "v1.99".to_owned(),
        ..ClusterUpgradeSpec::default()
    };
    let mut upgrade = ClusterUpgrade::new("up", spec);
    upgrade.status = before;
    let status = status(&upgrade, snapshot, decision, Attempt::Succeeded);
    // What the API server gives back.
    serde_json::from_value(serde_json::to_value(&status).unwrap()).unwrap()
}

#[test]
fn thousands_of_machines_make_a_small_status() {
    let mut snapshot = snapshot();
    // Two pools roll: more machines are on their way than a list takes.
    for part in &mut snapshot.machines {
        let machine = read(part);
        if machine.name.contains("md-07") || machine.name.contains("md-19") {
            machine.phase = MachinePhase::Provisioned;
            machine.node = Node::Absent;
        }
    }
    read(&mut snapshot.machines[0]).phase = MachinePhase::Failed;
    let status = written(None, &snapshot);
    let bytes = serde_json::to_vec(&status).unwrap().len();
    assert!(bytes < 64 * 1024, "{bytes} bytes");
    assert_eq!(status.machines, "4499/5000");
    assert_eq!((status.pool_count, status.pools.len()), (21, 21));
    let listed: usize = status.pools.iter().map(|pool| pool.machine_details.len()).sum();
    assert_eq!(listed, OF_ALL);
    for pool in &status.pools {
        assert_eq!(pool.machines, pool.unlisted + count(pool.machine_details.len()));
        assert!(pool.machine_details.len() <= OF_POOL);
    }
    let first = &status.pools[1];
    assert_eq!((first.name.as_str(), first.converged, first.failed), ("md-00", 249, 1));
    assert_eq!(first.machine_details[0].phase, MachineUpgradePhase::Failed);
    assert_eq!(first.machine_details[1].phase, MachineUpgradePhase::Running);
    let last = &status.pools[20];
    assert_eq!((last.name.as_str(), last.upgrading), ("md-19", 250));
    assert_eq!(last.machine_details.len(), OF_POOL, "what isn't there comes first");
    assert!(
        last.machine_details
            .iter()
            .all(|detail| detail.phase == MachineUpgradePhase::Upgrading)
    );
}

#[test]
fn a_record_that_is_over_has_the_counts_alone() {
    let snapshot = snapshot();
    let before = written(None, &snapshot);
    let mut decision = plan(&snapshot);
    decision.progress.stage = Stage::Complete;
    let over = written_of(Some(before), &snapshot, &decision);
    assert_eq!(over.machines, "5000/5000");
    for pool in &over.pools[1..] {
        assert_eq!((pool.machines, pool.converged, pool.unlisted), (250, 250, 0));
        assert_eq!(pool.machine_details, []);
    }
}

#[test]
fn a_status_is_written_when_something_has_changed_and_only_then() {
    let mut snapshot = snapshot();
    let first = written(None, &snapshot);
    assert_eq!(first.phase, UpgradePhase::Held);
    // Time goes on, and controllers write what is not read here.
    snapshot.now += SignedDuration::from_mins(1);
    for part in &mut snapshot.pools {
        read(part).object.resource_version = ResourceVersion("2".to_owned());
    }
    snapshot.machines.reverse();
    let second = written(Some(first.clone()), &snapshot);
    assert!(!differs(Some(&first), &second));
    read(&mut snapshot.machines[17]).phase = MachinePhase::Failed;
    assert!(differs(Some(&first), &written(Some(second), &snapshot)));
}

#[test]
fn what_was_known_stays_while_nothing_can_be_said() {
    let mut snapshot = snapshot();
    let first = written(None, &snapshot);
    read(snapshot.control_plane.as_mut().unwrap()).object.lifecycle = Lifecycle::Paused;
    let paused = written(Some(first.clone()), &snapshot);
    assert_eq!((paused.machines, paused.pools), (first.machines, first.pools));
    let health: Vec<_> = paused
        .health
        .iter()
        .map(|row| (row.reason.as_str(), row.kind.as_str(), row.name.as_str()))
        .collect();
    assert_eq!(health, [("Paused", "KubeadmControlPlane", "c")]);
}

#[test]
fn what_is_left_to_the_user_is_said_at_the_end_too() {
    let snapshot = snapshot();
    let mut decision = plan(&snapshot);
    decision.progress.stage = Stage::Complete;
    decision.waiting = vec![Waiting::LeftToUser {
        because: None,
        kind: WorkerKind::MachinePool,
        name: "mp".to_owned(),
        version: "v1.33.5".parse().unwrap(),
        target: "v1.34.3".parse().unwrap(),
    }];
    let upgrade = ClusterUpgrade::new("up", ClusterUpgradeSpec::default());
    let status = status(&upgrade, &snapshot, &decision, Attempt::Succeeded);
    let message = "MachinePool mp runs v1.33.5, and the upgrade leaves it there: upgrade it to v1.34.3 yourself";
    assert_eq!(status.phase, UpgradePhase::Completed);
    let first = &status.health[0];
    assert_eq!(
        (&*first.kind, &*first.name, &*first.message),
        ("MachinePool", "mp", message)
    );
    let completed = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "Completed")
        .unwrap();
    assert_eq!((&*completed.status, &*completed.message), ("True", message));
}

#[test]
fn each_template_says_what_for_and_until_when() {
    let until: Timestamp = "2026-11-20T12:00:00.5Z".parse().unwrap();
    let table = [
        (TemplateState::InUse, TemplateUse::InUse, false),
        (TemplateState::InMachineSet, TemplateUse::InMachineSet, false),
        (TemplateState::Previous { until: Some(until) }, TemplateUse::Kept, true),
        (TemplateState::Previous { until: None }, TemplateUse::Kept, false),
        (TemplateState::Unused { until: Some(until) }, TemplateUse::Unused, true),
    ];
    for (state, expected, ends) in table {
        let progress = Progress {
            stage: Stage::Complete,
            path: Vec::new(),
            pools: Vec::new(),
            templates: vec![TemplateProgress {
                template: template("t"),
                release: "r".to_owned(),
                state,
            }],
        };
        let listed = templates(&progress);
        assert_eq!(listed[0].state, expected);
        let text = serde_json::to_value(&listed[0]).unwrap();
        let until = ends.then(|| json!("2026-11-20T12:00:00Z"));
        assert_eq!(text.get("keptUntil"), until.as_ref());
        let back: MintedTemplate = serde_json::from_value(text).unwrap();
        assert_eq!(back, listed[0], "nothing to write a second time");
    }
}
