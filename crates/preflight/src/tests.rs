mod capi_ready;
mod control_plane_flags;
mod etcd_snapshot;
mod machine_image_present;
mod removed_apis;
mod templates;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use instar_api::{CatalogName, KubernetesReleaseSpec, OnClose};
use instar_capi::ClusterConfiguration;
use instar_catalog::{Catalog, Catalogs};
use instar_planner::{
    Cluster, ClusterKind, Condition, ConditionStatus, Contract, ControlPlane, DrainTimeout, Flavor, Initialization,
    JoinRule, Lifecycle, Machine, MachineDeployment, MachinePhase, MachinePool, ManagedBy, MinorRollback, Node, Object,
    Observed, PausedBy, PoolId, Replicas, ResourceVersion, Retention, Rollout, Target, Template, TemplateContent,
    TemplateRef, Unreadable, UpgradeSpec,
};
use serde_json::{Value, json};

use super::*;
use crate::workload::{ClusterApiVersion, Readings};

mod workload;

fn object(kind: &str, name: &str) -> Object {
    Object {
        api_version: "cluster.x-k8s.io/v1beta2".to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        resource_version: ResourceVersion("7".to_owned()),
        generation: 3,
        observed_generation: 3,
        lifecycle: Lifecycle::Active,
        managed_by: ManagedBy::User,
        swap_history: None,
        conditions: Vec::new(),
    }
}

fn pool(name: &str) -> MachineDeployment {
    MachineDeployment {
        object: object("MachineDeployment", name),
        labels: BTreeMap::new(),
        version: "v1.34.3".parse().unwrap(),
        infrastructure: TemplateRef {
            group: "infrastructure.cluster.x-k8s.io".to_owned(),
            kind: "DevMachineTemplate".to_owned(),
            name: name.to_owned(),
        },
        bootstrap: None,
        rollout: Rollout::Rolling,
        replicas: 1,
        joins: JoinRule::SameMinor,
        held: None,
        rollout_paused: None,
        drain_timeout: DrainTimeout::None,
        rollout_after: None,
    }
}

fn template(TemplateRef { group, kind, name }: &TemplateRef) -> Template {
    Template {
        api_version: format!("{group}/v1beta2"),
        kind: kind.clone(),
        name: name.clone(),
        resource_version: ResourceVersion("1".to_owned()),
        labels: BTreeMap::new(),
        content: None,
        kubelet_arguments: None,
        created: "2026-11-01T12:00:00Z".parse().unwrap(),
        lifecycle: Lifecycle::Active,
    }
}

fn content(spec: Value) -> TemplateContent {
    TemplateContent {
        spec,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        owners: Vec::new(),
    }
}

fn machine_pool() -> Observed<MachinePool> {
    Observed::Read(MachinePool {
        object: object("MachinePool", "mp"),
        paused_by: PausedBy::of(None),
        left: None,
        labels: BTreeMap::new(),
        version: "v1.34.3".parse().unwrap(),
        observed: Vec::new(),
        infrastructure: pool("mp").infrastructure,
        replicas: None,
        joins: JoinRule::SameMinor,
    })
}

fn control_plane() -> ControlPlane {
    ControlPlane {
        object: object("KubeadmControlPlane", "cp"),
        labels: BTreeMap::new(),
        version: "v1.34.3".parse().unwrap(),
        observed: vec!["v1.34.3".parse().unwrap()],
        infrastructure: None,
        contract: Contract::V1Beta2,
        flavor: Flavor::Kubeadm {
            cluster_configuration: ClusterConfiguration::default(),
            settings: Vec::new(),
        },
        replicas: Some(Replicas {
            desired: 3,
            total: 3,
            ready: 3,
            up_to_date: 3,
        }),
        drain_timeout: DrainTimeout::None,
        skipped_addons: std::collections::BTreeSet::new(),
        rollout_after: None,
    }
}

/// Rows of the minors from v1.34 to v1.38.
fn catalog() -> Arc<Catalog> {
    let rows = (34..=38).map(|minor| {
        let row = json!({ "version": format!("v1.{minor}.2"), "revision": 1, "machineImages": [] });
        (
            format!("v1.{minor}.2-1"),
            serde_json::from_value::<KubernetesReleaseSpec>(row).unwrap(),
        )
    });
    let rows: Vec<_> = rows.collect();
    Catalogs::new(rows.iter().map(|(name, spec)| (name.as_str(), spec))).of(&CatalogName::default())
}

/// A cluster that is well, with the pools md-0 and md-1.
fn well() -> Snapshot {
    Snapshot {
        now: "2026-11-20T12:00:00Z".parse().unwrap(),
        cluster: Cluster {
            namespace: "n".to_owned(),
            name: "c".to_owned(),
            uid: "1".to_owned(),
            created: None,
            generation: 4,
            lifecycle: Lifecycle::Active,
            kind: ClusterKind::Classic(Box::default()),
            conditions: Vec::new(),
            initialization: Initialization::Done,
            labels: BTreeMap::new(),
        },
        upgrade_spec: UpgradeSpec::new("up", Target::Text("v1.35".to_owned())),
        catalog: catalog(),
        gates: BTreeMap::new(),
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
        control_plane: Some(Observed::Read(control_plane())),
        pools: vec![Observed::Read(pool("md-0")), Observed::Read(pool("md-1"))],
        machine_sets: Vec::new(),
        machine_pools: Vec::new(),
        infrastructure_pools: Vec::new(),
        machines: Vec::new(),
        templates: vec![
            Observed::Read(template(&pool("md-0").infrastructure)),
            Observed::Read(template(&pool("md-1").infrastructure)),
        ],
        used_elsewhere: BTreeSet::new(),
        unversioned: Vec::new(),
        unreadable: Vec::new(),
    }
}

fn condition(kind: &str, status: ConditionStatus, message: &str) -> Condition {
    Condition {
        kind: kind.to_owned(),
        status,
        reason: "Because".to_owned(),
        message: message.to_owned(),
        observed_generation: 0,
    }
}

fn of_pool(snapshot: &mut Snapshot, at: usize) -> &mut Object {
    match &mut snapshot.pools[at] {
        Observed::Read(pool) => &mut pool.object,
        Observed::Invalid(_) => panic!("it can be read"),
    }
}

fn of_control_plane(snapshot: &mut Snapshot) -> &mut ControlPlane {
    match &mut snapshot.control_plane {
        Some(Observed::Read(control_plane)) => control_plane,
        other => panic!("{other:?}"),
    }
}

fn failed_machine(pool: PoolId) -> Observed<Machine> {
    Observed::Read(Machine {
        name: "m".to_owned(),
        pool: Some(pool),
        maker: None,
        version: "v1.34.3".parse().unwrap(),
        template: None,
        phase: MachinePhase::Failed,
        node: Node::Absent,
        node_readiness: instar_planner::NodeReadiness::Unknown { message: String::new() },
        lifecycle: Lifecycle::Active,
        created: None,
        deletion_waits_for: None,
        up_to_date: instar_planner::UpToDate::Unknown,
        rollout_time: None,
    })
}

/// No workload cluster may be read.
const UNREAD: Workload<'static> = Workload {
    access: &WorkloadAccess::Disabled,
    readings: &Readings::new(),
    snapshots: &[],
    cluster_api: &ClusterApiVersion::NotListed,
};

/// Every check enforced that is asked without a policy and reads no workload cluster, so that what it finds is what it
/// comes to.
fn strict() -> PreflightSettings {
    let all = PreflightCheck::ALL
        .iter()
        .filter(|check| check.reads() == ClusterRead::Management && check.default_mode() != Enforcement::Off);
    modes(all.map(|check| (*check, Enforcement::Enforce)))
}

fn modes(modes: impl IntoIterator<Item = (PreflightCheck, Enforcement)>) -> PreflightSettings {
    PreflightSettings {
        modes: modes.into_iter().collect(),
        ..PreflightSettings::default()
    }
}

/// The checks that ask how the cluster is.
const HEALTH: [PreflightCheck; 4] = [
    PreflightCheck::ClusterAvailable,
    PreflightCheck::ControlPlaneHealthy,
    PreflightCheck::MachinesReady,
    PreflightCheck::NoRolloutUnderWay,
];

/// What the checks come to, but for those that pass: the check, the result, the object, the message.
fn found(snapshot: &Snapshot, checks: &[PreflightCheck]) -> Vec<String> {
    let outcomes = examine(snapshot, &strict(), &[], UNREAD);
    assert_eq!(outcomes.len(), strict().modes.len());
    let not_passed = outcomes
        .iter()
        // Of a Cluster API that nothing tells it says so.
        .filter(|outcome| checks.contains(&outcome.check) && outcome.check != PreflightCheck::CapiReady)
        .filter_map(|CheckOutcome { check, outcome, .. }| match outcome {
            PreflightOutcome::Pass => None,
            PreflightOutcome::Fail(Problem { kind, name, message }) => {
                Some(format!("{check} Fail {kind}/{name}: {message}"))
            }
            PreflightOutcome::Unknown(Problem { kind, name, message }) => {
                Some(format!("{check} Unknown {kind}/{name}: {message}"))
            }
            PreflightOutcome::NotApplicable(reason) => Some(format!("{check} NotApplicable: {reason}")),
            PreflightOutcome::Warn(Problem { kind, name, message }) => {
                Some(format!("{check} Warn {kind}/{name}: {message}"))
            }
            PreflightOutcome::Skipped { .. } => Some(format!("{check} {outcome:?}")),
        });
    not_passed.collect()
}

/// What is changed in a cluster that is well, how, and what is found then.
type Case = (&'static str, fn(&mut Snapshot), &'static [&'static str]);

#[test]
fn a_cluster_that_is_well_passes() {
    assert_eq!(found(&well(), PreflightCheck::ALL), [] as [String; 0]);
}

const FALSE: ConditionStatus = ConditionStatus::False;
const UNKNOWN: ConditionStatus = ConditionStatus::Unknown;

fn each(cases: &[Case]) {
    for (name, change, expected) in cases {
        let mut snapshot = well();
        change(&mut snapshot);
        assert_eq!(found(&snapshot, &HEALTH), *expected, "{name}");
    }
}

#[test]
fn of_the_cluster_and_its_control_plane_each_check_fails_for_its_own_reason() {
    each(&[
        (
            "not available",
            |s| s.cluster.conditions = vec![condition("Available", FALSE, "* WorkersAvailable:\n  * md-0: 1 of 2")],
            &[
                "cluster-available Fail Cluster/c: condition Available of Cluster c is False: * WorkersAvailable: * md-0: 1 of 2",
            ],
        ),
        (
            "nobody knows whether it is available",
            |s| s.cluster.conditions = vec![condition("Available", UNKNOWN, "")],
            &["cluster-available Unknown Cluster/c: condition Available of Cluster c is Unknown"],
        ),
        (
            "it was not available before the last edit",
            |s| {
                s.cluster.conditions = vec![Condition {
                    observed_generation: 3,
                    ..condition("Available", FALSE, "no")
                }];
            },
            &[
                "cluster-available Unknown Cluster/c: condition Available of Cluster c describes generation 3, and not 4 yet",
            ],
        ),
        (
            "of MachinePools Cluster API says nothing",
            |s| {
                s.machine_pools.push(machine_pool());
                s.cluster.conditions = ["Available", "WorkersAvailable"]
                    .map(|kind| condition(kind, UNKNOWN, "not yet reported"))
                    .into();
            },
            &[
                "cluster-available NotApplicable: Cluster API doesn't say whether MachinePools are available, and all else of \
               Cluster c is",
            ],
        ),
        (
            "of MachinePools Cluster API says nothing, and something else isn't known",
            |s| {
                s.machine_pools.push(machine_pool());
                s.cluster.conditions = ["Available", "RemoteConnectionProbe", "WorkersAvailable"]
                    .map(|kind| condition(kind, UNKNOWN, ""))
                    .into();
            },
            &["cluster-available Unknown Cluster/c: condition RemoteConnectionProbe of Cluster c is Unknown"],
        ),
        (
            "etcd is sick",
            |s| {
                of_control_plane(s).object.conditions = vec![
                    condition("ControlPlaneComponentsHealthy", UNKNOWN, "not known"),
                    condition("EtcdClusterHealthy", FALSE, "m has an alarm"),
                ];
            },
            &["control-plane-healthy Fail KubeadmControlPlane/cp: \
               condition EtcdClusterHealthy of KubeadmControlPlane cp is False: m has an alarm"],
        ),
        (
            "a machine of the control plane isn't ready",
            |s| of_control_plane(s).replicas.as_mut().unwrap().ready = 2,
            &["control-plane-healthy Fail KubeadmControlPlane/cp: 2 of 3 machines of KubeadmControlPlane cp are ready"],
        ),
        (
            "the control plane can't be read",
            |s| {
                s.control_plane = Some(Observed::Invalid(Unreadable {
                    kind: "KubeadmControlPlane".to_owned(),
                    name: "cp".to_owned(),
                    reason: "spec.version is no text".to_owned(),
                }));
            },
            &["control-plane-healthy Unknown KubeadmControlPlane/cp: \
               KubeadmControlPlane cp can't be read: spec.version is no text"],
        ),
        (
            "no control plane",
            |s| s.control_plane = None,
            &["control-plane-healthy NotApplicable: the Cluster has no control plane that can be seen"],
        ),
        (
            "a managed control plane",
            |s| {
                let control_plane = of_control_plane(s);
                control_plane.object.kind = "AKSControlPlane".to_owned();
                control_plane.flavor = Flavor::Other;
                control_plane.replicas = None;
            },
            &["control-plane-healthy NotApplicable: \
               AKSControlPlane cp reports neither how many machines it has nor how they are"],
        ),
    ]);
}

#[test]
fn of_the_pools_each_check_fails_for_its_own_reason() {
    each(&[
        (
            "machines of two pools aren't ready",
            |s| {
                for at in [1, 0] {
                    of_pool(s, at).conditions = vec![condition("MachinesReady", FALSE, "* Machine m: no node")];
                }
            },
            &[
                "machines-ready Fail MachineDeployment/md-0: condition MachinesReady of MachineDeployment md-0 is False: \
               * Machine m: no node; so it is with MachineDeployment md-1",
            ],
        ),
        (
            "a machine of a pool has failed",
            |s| s.machines.push(failed_machine(PoolId::Workers("md-0".to_owned()))),
            &["machines-ready Fail Machine/m: Machine m has failed"],
        ),
        (
            "one of the control plane is that one's matter",
            |s| s.machines.push(failed_machine(PoolId::ControlPlane)),
            &[],
        ),
        (
            "a pool is rolling out",
            |s| of_pool(s, 1).conditions = vec![condition("RollingOut", ConditionStatus::True, "Rolling out 2")],
            &["no-rollout-under-way Fail MachineDeployment/md-1: \
               MachineDeployment md-1 is replacing machines: Rolling out 2"],
        ),
        (
            "a pool was edited just now",
            |s| of_pool(s, 0).generation = 4,
            &["no-rollout-under-way Unknown MachineDeployment/md-0: \
               the status of MachineDeployment md-0 describes generation 3, and not 4 yet"],
        ),
    ]);
}

fn skip(until: Option<&str>, is_stamped: bool) -> PreflightSkip {
    let set_by = is_stamped.then(|| json!({ "user": "ann", "time": "2026-11-20T11:00:00Z" }));
    let skip = json!({ "name": "cluster-available", "reason": "a test", "until": until, "setBy": set_by });
    serde_json::from_value(skip).unwrap()
}

#[test]
fn a_mode_or_a_user_lets_it_through() {
    let mut sick = well();
    sick.cluster.conditions = vec![condition("Available", ConditionStatus::False, "no")];
    let one = |mode: Enforcement, skips: &[PreflightSkip]| {
        let modes = modes([(PreflightCheck::ClusterAvailable, mode)]);
        let found = examine(&sick, &modes, skips, UNREAD).into_iter();
        let mut found = found.filter(|found| found.check == PreflightCheck::ClusterAvailable);
        found.next().map(|found| found.outcome)
    };
    let message = "condition Available of Cluster c is False: no";
    let said = |outcome: Option<PreflightOutcome>| match outcome {
        Some(PreflightOutcome::Fail(problem)) => problem.message,
        other => panic!("{other:?}"),
    };
    assert_eq!(one(Enforcement::Off, &[]), None);
    assert!(matches!(one(Enforcement::Warn, &[]), Some(PreflightOutcome::Warn(problem)) if problem.message == message));
    assert_eq!(said(one(Enforcement::Enforce, &[])), message);
    for until in [None, Some("2026-11-20T12:00:01Z")] {
        match one(Enforcement::Enforce, &[skip(until, true)]) {
            Some(PreflightOutcome::Skipped { problem, skip }) => {
                assert_eq!(
                    (&*problem.message, &*skip.user, &*skip.reason),
                    (message, "ann", "a test")
                );
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        said(one(Enforcement::Enforce, &[skip(Some("2026-11-20T12:00:00Z"), true)])),
        format!("{message} (it was skipped until 2026-11-20T12:00:00Z)")
    );
    assert_eq!(
        said(one(Enforcement::Enforce, &[skip(None, false)])),
        format!(
            "{message} (its entry in spec.preflight.skip has no setBy, which admission writes, so it doesn't count: remove it and add it again)"
        )
    );
    let of_another = PreflightSkip {
        name: PreflightCheck::MachinesReady,
        ..skip(None, true)
    };
    assert_eq!(said(one(Enforcement::Enforce, &[of_another])), message);
    // What is well needs no skip, and none is on record.
    let found = examine(&well(), &strict(), &[skip(None, true)], UNREAD);
    assert!(
        found
            .iter()
            .all(|found| found.outcome == PreflightOutcome::Pass || found.check == PreflightCheck::CapiReady)
    );
}
