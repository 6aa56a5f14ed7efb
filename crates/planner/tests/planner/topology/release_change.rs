//! Another release of the version that runs: the control plane first, then pool by pool, and a Machine that never joined.

use instar_api::{ApprovalPoint, ApprovedPart, LeftTemplate, ReleaseChange};
use instar_capi::labels::TOPOLOGY_DEPLOYMENT_NAME;
use instar_planner::{
    Action, CanaryRule, FollowRelease, Gate, GateState, Lifecycle, Node, Observed, PoolId, PoolOverride, Snapshot,
    Strategy, UpToDate, Violation, is_aimed_at_present, replaces_changing_release,
};
use jiff::SignedDuration;

use super::*;
use crate::world::closed;

const VERSION: &str = "v1.35.5";

/// The control plane of 3 and three pools of 2 run `v1.35.5-1`, and `v1.35.5-2` was named.
fn changing() -> Snapshot {
    let names = ["md-0", "md-1", "md-2"];
    let mut snapshot = cluster_of(VERSION, VERSION, &names);
    for pool in pools(&mut snapshot) {
        let name = pool.object.name.clone();
        pool.labels.insert(TOPOLOGY_DEPLOYMENT_NAME.to_owned(), name);
    }
    let left = control_plane(&mut snapshot)
        .infrastructure
        .as_ref()
        .unwrap()
        .name
        .clone();
    let mut pins = pins("v1.34.5", &[VERSION]);
    let pin = pins.releases.get_mut(&version(VERSION)).unwrap();
    "v1.35.5-2".clone_into(&mut pin.release);
    pin.change.machine_deployments = names.map(|name| (name.to_owned(), "v1.35.5-1".to_owned())).into();
    pin.change.left.control_plane = Some(LeftTemplate {
        name: left,
        release: "v1.35.5-1".to_owned(),
    });
    topology(&mut snapshot).pins = Some(pins);
    snapshot
}

/// What makes a snapshot another one.
type Change = fn(&mut Snapshot);

fn change(snapshot: &mut Snapshot) -> &mut ReleaseChange {
    let pins = topology(snapshot).pins.as_mut().unwrap();
    &mut pins.releases.get_mut(&version(VERSION)).unwrap().change
}

/// Cluster API has replaced the control plane's template, and all of its machines.
fn control_plane_arrives(snapshot: &mut Snapshot) {
    "second".clone_into(&mut control_plane(snapshot).infrastructure.as_mut().unwrap().name);
    for machine in machines(snapshot).filter(|machine| machine.pool == Some(PoolId::ControlPlane)) {
        machine.template = Some("second".to_owned());
    }
}

fn pool<'s>(snapshot: &'s mut Snapshot, name: &str) -> &'s mut MachineDeployment {
    pools(snapshot).find(|pool| pool.object.name == name).unwrap()
}

/// Cluster API gives a pool its template, and its machines are still those of before.
fn begins(snapshot: &mut Snapshot, name: &str) {
    pool(snapshot, name).infrastructure.name = format!("{name}-second");
}

fn arrives(snapshot: &mut Snapshot, name: &str) {
    begins(snapshot, name);
    for set in &mut snapshot.machine_sets {
        if let Observed::Read(set) = set
            && set.pool.as_deref() == Some(name)
        {
            set.infrastructure.name = format!("{name}-second");
        }
    }
    for machine in machines(snapshot).filter(|machine| machine.pool == Some(PoolId::Workers(name.to_owned()))) {
        machine.template = Some(format!("{name}-second"));
    }
}

fn followed(decision: &Decision) -> Vec<&str> {
    match &decision.action {
        Action::FollowRelease(FollowRelease { pools, .. }) => pools
            .iter()
            .map(|pool| match pool {
                PoolId::Workers(name) | PoolId::MachinePool(name) => name.as_str(),
                PoolId::ControlPlane => "the control plane",
            })
            .collect(),
        action => panic!("{action:?}"),
    }
}

/// As the API server and admission take it.
fn write(snapshot: &mut Snapshot, decision: &Decision) {
    let Action::FollowRelease(follow) = &decision.action else {
        panic!("{decision:?}")
    };
    let text = follow.patch["metadata"]["annotations"]["upgrade.cluster.x-k8s.io/releases"].as_str();
    topology(snapshot).pins = Some(Pins::from_annotation(text.unwrap()).unwrap());
}

#[test]
fn the_control_plane_arrives_before_the_first_pool_follows_and_each_before_the_next() {
    let mut snapshot = changing();
    assert!(under_way(&snapshot));
    let told = decide(&snapshot);
    assert_eq!(
        (told.action.clone(), told.progress.stage),
        (Action::Nothing, Stage::ControlPlane)
    );
    assert_eq!(
        words(&told)[0],
        "ReleaseAwaited: Cluster API has still to give the control plane a template of release v1.35.5-2"
    );
    // It has the template, and a machine is still of the one before.
    control_plane_arrives(&mut snapshot);
    control_plane(&mut snapshot).replicas.as_mut().unwrap().up_to_date = 2;
    let told = decide(&snapshot);
    assert_eq!(
        (told.action.clone(), told.progress.stage),
        (Action::Nothing, Stage::ControlPlane)
    );
    control_plane(&mut snapshot).replicas.as_mut().unwrap().up_to_date = 3;
    for name in ["md-0", "md-1", "md-2"] {
        let decision = decide(&snapshot);
        assert_eq!(followed(&decision), [name]);
        write(&mut snapshot, &decision);
        let told = decide(&snapshot);
        assert_eq!(
            (told.action.clone(), told.progress.stage),
            (Action::Nothing, Stage::Workers)
        );
        assert!(
            words(&told).contains(&format!(
                "ReleaseAwaited: Cluster API has still to give MachineDeployment {name} a template of release v1.35.5-2"
            )),
            "{:?}",
            words(&told)
        );
        begins(&mut snapshot, name);
        if name != "md-2" {
            assert_eq!(decide(&snapshot).action, Action::Nothing, "{name}");
        }
        arrives(&mut snapshot, name);
    }
    let decision = decide(&snapshot);
    assert_eq!(followed(&decision), [""; 0]);
    assert_eq!(decision.progress.stage, Stage::Workers);
    write(&mut snapshot, &decision);
    assert!(change(&mut snapshot).is_empty());
    let told = decide(&snapshot);
    assert_eq!(
        (told.action, told.progress.stage, told.waiting),
        (Action::Nothing, Stage::Complete, vec![])
    );
    assert!(!under_way(&snapshot));
}

#[test]
fn the_last_pool_is_waited_for_when_the_list_is_gone() {
    let mut snapshot = changing();
    control_plane_arrives(&mut snapshot);
    change(&mut snapshot).machine_deployments.clear();
    begins(&mut snapshot, "md-2");
    let decision = decide(&snapshot);
    assert_eq!(followed(&decision), [""; 0]);
    write(&mut snapshot, &decision);
    assert_eq!(decide(&snapshot).progress.stage, Stage::Workers);
    arrives(&mut snapshot, "md-2");
    assert_eq!(decide(&snapshot).progress.stage, Stage::Complete);
}

#[test]
fn order_and_strategy_say_which_and_how_many() {
    let mut snapshot = changing();
    control_plane_arrives(&mut snapshot);
    snapshot.upgrade_spec.origin = Origin::Upgrade;
    snapshot.upgrade_spec.target = Target::Text("v1.35.5-2".to_owned());
    snapshot.upgrade_spec.order = vec!["md-2".to_owned()];
    snapshot.upgrade_spec.strategy = Strategy::Parallel { limit: 2 };
    assert_eq!(followed(&decide(&snapshot)), ["md-2", "md-0"]);
    // One that stands half way goes before the others, and takes no room.
    snapshot.upgrade_spec.strategy = Strategy::Ordered;
    let machine = machines(&mut snapshot).find(|machine| machine.pool == Some(PoolId::Workers("md-1".to_owned())));
    machine.unwrap().node = Node::Absent;
    assert_eq!(followed(&decide(&snapshot)), ["md-1"]);
    snapshot
        .upgrade_spec
        .pools
        .insert("md-1".to_owned(), PoolOverride::Hold);
    assert_eq!(followed(&decide(&snapshot)), ["md-2"]);
}

#[test]
fn gates_hold_the_pools_and_not_the_control_plane() {
    let mut snapshot = changing();
    control_plane_arrives(&mut snapshot);
    snapshot.gates.insert(Gate::Window, closed("closed"));
    let told = decide(&snapshot);
    assert_eq!(told.action, Action::Nothing);
    assert!(
        words(&told).iter().any(|words| words.starts_with("GateClosed")),
        "{:?}",
        words(&told)
    );
    snapshot.gates.insert(Gate::Window, GateState::Open { until: None });
    snapshot.approvals.required = [ApprovalPoint::Workers].into();
    let told = decide(&snapshot);
    assert_eq!(told.action, Action::Nothing);
    assert!(
        words(&told).iter().any(|words| words.starts_with("ApprovalMissing")),
        "{:?}",
        words(&told)
    );
    snapshot.approvals.given = [(ApprovedPart::Workers, version(VERSION))].into();
    assert_eq!(followed(&decide(&snapshot)), ["md-0"]);
    // While Cluster API leaves it alone, nothing follows.
    snapshot.cluster.lifecycle = Lifecycle::Paused;
    assert_eq!(decide(&snapshot).action, Action::Nothing);
}

#[test]
fn a_pool_that_goes_first_bakes() {
    let mut snapshot = changing();
    control_plane_arrives(&mut snapshot);
    let bake = SignedDuration::from_mins(30);
    snapshot.canary = Some(CanaryRule { pools: 1, bake });
    snapshot.upgrade_spec.strategy = Strategy::All;
    snapshot.upgrade_spec.origin = Origin::Upgrade;
    snapshot.upgrade_spec.target = Target::Text("v1.35.5-2".to_owned());
    let decision = decide(&snapshot);
    assert_eq!(followed(&decision), ["md-0"]);
    write(&mut snapshot, &decision);
    arrives(&mut snapshot, "md-0");
    let Action::RecordConvergence(arrival) = decide(&snapshot).action else {
        panic!("{:?}", decide(&snapshot).action)
    };
    let text = arrival.patch["metadata"]["annotations"]["upgrade.cluster.x-k8s.io/swap-history"].as_str();
    pool(&mut snapshot, "md-0").object.swap_history = instar_planner::SwapHistory::from_annotation(text.unwrap());
    assert_eq!(decide(&snapshot).action, Action::Nothing);
    snapshot.now += bake;
    let decision = decide(&snapshot);
    assert_eq!(followed(&decision), ["md-1"]);
    snapshot.now -= SignedDuration::from_mins(1);
    assert_eq!(check(&snapshot, &decision), [Violation::GateClosed]);
}

#[test]
fn what_would_follow_too_early_is_found() {
    let mut snapshot = changing();
    control_plane_arrives(&mut snapshot);
    let decision = decide(&snapshot);
    let found = |change: &dyn Fn(&mut Snapshot)| {
        let mut snapshot = snapshot.clone();
        change(&mut snapshot);
        check(&snapshot, &decision)
    };
    assert_eq!(found(&|_| {}), []);
    let left = change(&mut snapshot.clone()).left.control_plane.clone().unwrap().name;
    assert_eq!(
        found(&|snapshot| control_plane(snapshot)
            .infrastructure
            .as_mut()
            .unwrap()
            .name
            .clone_from(&left)),
        [Violation::ControlPlaneMoving]
    );
    assert_eq!(
        found(&|snapshot| control_plane(snapshot).replicas.as_mut().unwrap().up_to_date = 2),
        [Violation::ControlPlaneMoving]
    );
    let mut two = snapshot.clone();
    two.upgrade_spec.origin = Origin::Upgrade;
    two.upgrade_spec.target = Target::Text("v1.35.5-2".to_owned());
    two.upgrade_spec.strategy = Strategy::Parallel { limit: 2 };
    let both = decide(&two);
    two.upgrade_spec.strategy = Strategy::Ordered;
    assert_eq!(check(&two, &both), [Violation::TooManyPools]);
    assert_eq!(
        found(&|snapshot| topology(snapshot).resource_version = ResourceVersion("8".to_owned())),
        [Violation::NoCompare]
    );
    assert_eq!(
        found(&|snapshot| drop(snapshot.gates.insert(Gate::Window, closed("closed")))),
        [Violation::GateClosed]
    );
    assert_eq!(
        found(&|snapshot| snapshot.upgrade_spec.paused = true),
        [Violation::Untouchable]
    );
}

#[test]
fn a_record_is_made_for_what_was_named_by_hand_alone() {
    let mut snapshot = changing();
    assert!(under_way(&snapshot));
    assert_eq!(
        snapshot.cluster.topology().unwrap().changing_release(),
        Some("v1.35.5-2")
    );
    snapshot.upgrade_spec.target = Target::Text("v1.35.5-2".to_owned());
    assert_eq!(decide(&snapshot).progress.stage, Stage::ControlPlane);
    snapshot.upgrade_spec.target = Target::Text("v1.35.5-1".to_owned());
    assert!(
        words(&decide(&snapshot))[0].starts_with("Superseded"),
        "{:?}",
        words(&decide(&snapshot))
    );
    // A ClusterUpgrade that has named it may be gone, or an older one.
    snapshot.upgrade_spec.target = Target::Text("v1.35.5-2".to_owned());
    snapshot.upgrade_spec.origin = Origin::Upgrade;
    written_by_us(&mut snapshot);
    assert!(under_way(&snapshot));
    assert_eq!(decide(&snapshot).progress.stage, Stage::ControlPlane);
}

/// `md-2` is held by a ClusterUpgrade that has brought all else there.
fn with_held_pool() -> Snapshot {
    let mut snapshot = changing();
    control_plane_arrives(&mut snapshot);
    snapshot.upgrade_spec.origin = Origin::Upgrade;
    snapshot.upgrade_spec.target = Target::Text("v1.35.5-2".to_owned());
    snapshot
        .upgrade_spec
        .pools
        .insert("md-2".to_owned(), PoolOverride::Hold);
    for name in ["md-0", "md-1"] {
        let decision = decide(&snapshot);
        assert_eq!(followed(&decision), [name]);
        write(&mut snapshot, &decision);
        arrives(&mut snapshot, name);
    }
    snapshot
}

#[test]
fn a_pool_that_is_held_stays_when_its_upgrade_is_gone() {
    let mut snapshot = with_held_pool();
    assert!(under_way(&snapshot));
    let decision = decide(&snapshot);
    assert_eq!((followed(&decision), decision.progress.stage), (vec![], Stage::Workers));
    // No pool is called held that the upgrade takes along.
    let mut other = snapshot.clone();
    other.upgrade_spec.pools.clear();
    assert_eq!(check(&other, &decision), [Violation::Incomplete]);
    write(&mut snapshot, &decision);
    assert!(!under_way(&snapshot));
    assert_eq!(snapshot.cluster.topology().unwrap().changing_release(), None);
    assert_eq!(decide(&snapshot).progress.stage, Stage::Complete);
    // A record takes nothing along, another upgrade to the release does.
    let mut record = other;
    topology(&mut record).pins = topology(&mut snapshot).pins.clone();
    let taken = decide(&record);
    assert_eq!(followed(&taken), ["md-2"]);
    record.upgrade_spec.origin = Origin::Cluster;
    assert_eq!(decide(&record).progress.stage, Stage::Complete);
    assert!(check(&record, &taken).contains(&Violation::Incomplete));
    // A user that takes it off the list lets it follow.
    change(&mut snapshot).machine_deployments.clear();
    assert!(under_way(&snapshot));
}

#[test]
fn the_checks_of_the_next_upgrade_are_asked_while_a_pool_is_held() {
    let mut snapshot = with_held_pool();
    // This one has begun, and another one waits for it.
    assert!(!instar_planner::checks_are_asked(&snapshot));
    let held = decide(&snapshot);
    let mut next = snapshot.clone();
    next.upgrade_spec.target = Target::Text("v1.36.5".to_owned());
    assert!(
        words(&decide(&next))[0].starts_with("UpgradeUnderWay"),
        "{:?}",
        words(&decide(&next))
    );
    write(&mut snapshot, &held);
    next.cluster = snapshot.cluster.clone();
    assert!(instar_planner::checks_are_asked(&next));
    assert!(
        matches!(decide(&next).action, Action::EditVersion(_)),
        "{:?}",
        decide(&next)
    );
}

#[test]
fn another_release_replaces_one_that_comes() {
    let mut snapshot = changing();
    snapshot.upgrade_spec.origin = Origin::Upgrade;
    snapshot.upgrade_spec.target = Target::Text("v1.35.5-2".to_owned());
    assert!(!replaces_changing_release(&snapshot) && is_aimed_at_present(&snapshot));
    snapshot.upgrade_spec.target = Target::Text("v1.35.5-1".to_owned());
    assert!(replaces_changing_release(&snapshot) && !is_aimed_at_present(&snapshot));
    assert!(matches!(decide(&snapshot).action, Action::EditVersion(_)));
    snapshot.upgrade_spec.target = Target::Text("v1.36.5".to_owned());
    assert!(!replaces_changing_release(&snapshot));
}

#[test]
fn a_template_that_has_the_values_anyway_is_read_and_not_waited_for() {
    let mut snapshot = changing();
    let pins = topology(&mut snapshot).pins.as_mut().unwrap();
    let pin = pins.releases.get_mut(&version(VERSION)).unwrap();
    let image = "/spec/template/spec/image"
        .parse::<instar_domain::JsonPointer>()
        .unwrap();
    let values: instar_api::Values = [(image, serde_json::json!("old"))].into();
    pin.control_plane = values.clone();
    pin.workers = values;
    let mut unread = snapshot.clone();
    for template in &mut unread.templates {
        if let Observed::Read(template) = template {
            template.content = None;
        }
    }
    let asked = decide(&unread);
    assert_eq!(
        (asked.action, asked.unread.len(), asked.progress.stage),
        (Action::Nothing, 1, Stage::ControlPlane)
    );
    for name in ["md-0", "md-1", "md-2"] {
        let decision = decide(&snapshot);
        assert_eq!((followed(&decision), decision.unread.len()), (vec![name], 0));
        write(&mut snapshot, &decision);
    }
    let decision = decide(&snapshot);
    write(&mut snapshot, &decision);
    assert_eq!(decide(&snapshot).progress.stage, Stage::Complete);
}

#[test]
fn etcd_that_comes_alone_is_waited_for() {
    for (part, at, before) in [
        (
            "etcd/local/imageTag",
            "etcd",
            serde_json::json!({"local": {"imageTag": "one"}}),
        ),
        ("dns/imageRepository", "dns", serde_json::json!({"imageTag": "one"})),
    ] {
        let mut snapshot = changing();
        let pins = topology(&mut snapshot).pins.as_mut().unwrap();
        let pin = pins.releases.get_mut(&version(VERSION)).unwrap();
        let pointer = format!("/spec/template/spec/kubeadmConfigSpec/clusterConfiguration/{part}");
        pin.kubeadm = [(pointer.parse().unwrap(), serde_json::json!("two"))].into();
        pin.change = ReleaseChange::default();
        pin.change.left.kubeadm = Some("v1.35.5-1".to_owned());
        let asks = |snapshot: &mut Snapshot, what: serde_json::Value| {
            control_plane(snapshot).flavor = instar_planner::Flavor::Kubeadm {
                cluster_configuration: serde_json::from_value(serde_json::json!({ at: what })).unwrap(),
                settings: Vec::new(),
            };
        };
        asks(&mut snapshot, before);
        assert!(under_way(&snapshot));
        let told = decide(&snapshot);
        assert_eq!(
            (told.action.clone(), told.progress.stage),
            (Action::Nothing, Stage::ControlPlane)
        );
        assert!(words(&told)[0].starts_with("ReleaseAwaited"), "{:?}", words(&told));
        let now = match at {
            "etcd" => serde_json::json!({"local": {"imageTag": "two"}}),
            _ => serde_json::json!({"imageTag": "one", "imageRepository": "two"}),
        };
        asks(&mut snapshot, now);
        let decision = decide(&snapshot);
        write(&mut snapshot, &decision);
        assert_eq!(decide(&snapshot).progress.stage, Stage::Complete);
        assert!(!under_way(&snapshot));
    }
}

/// The first machine of a release that never boots is there beside the ones of before, and another release was named.
fn stuck() -> Snapshot {
    let mut snapshot = changing();
    control_plane_arrives(&mut snapshot);
    let counts = control_plane(&mut snapshot).replicas.as_mut().unwrap();
    (counts.total, counts.up_to_date) = (4, 0);
    let mut machine = machines(&mut snapshot).next().unwrap().clone();
    "stuck".clone_into(&mut machine.name);
    machine.node = Node::Absent;
    machine.phase = instar_planner::MachinePhase::Provisioned;
    machine.up_to_date = UpToDate::No;
    machine.created = Some(snapshot.now - SignedDuration::from_mins(10));
    snapshot.machines.push(Observed::Read(machine));
    snapshot
}

fn stuck_machine(snapshot: &mut Snapshot) -> &mut Machine {
    machines(snapshot).find(|machine| machine.name == "stuck").unwrap()
}

#[test]
fn a_machine_that_never_joined_is_deleted_where_another_release_waits_for_it() {
    let snapshot = stuck();
    let decision = decide(&snapshot);
    let Action::DeleteMachine(delete) = &decision.action else {
        panic!("{decision:#?}")
    };
    assert_eq!(delete.name, "stuck");
    assert_eq!(decision.progress.stage, Stage::ControlPlane);
    let stays: [(&str, Change); 9] = [
        ("it has a node", |s| {
            stuck_machine(s).node = joined("stuck", &version(VERSION));
        }),
        ("it is what is asked for", |s| {
            stuck_machine(s).up_to_date = UpToDate::Yes;
        }),
        ("nothing says what it is", |s| {
            stuck_machine(s).up_to_date = UpToDate::Unknown;
        }),
        ("it is young", |s| s.now -= SignedDuration::from_secs(1)),
        ("it goes", |s| stuck_machine(s).lifecycle = Lifecycle::Deleting),
        ("another one goes", |s| {
            machines(s).next().unwrap().lifecycle = Lifecycle::Deleting;
        }),
        ("it is the last", |s| {
            for machine in machines(s).filter(|machine| machine.pool == Some(PoolId::ControlPlane)) {
                machine.node = Node::Absent;
            }
        }),
        ("the control plane is paused", |s| {
            control_plane(s).object.lifecycle = Lifecycle::Paused;
        }),
        ("another kind", |s| {
            control_plane(s).flavor = instar_planner::Flavor::Other;
        }),
    ];
    for (case, change) in stays {
        let mut changed = snapshot.clone();
        change(&mut changed);
        assert!(!matches!(decide(&changed).action, Action::DeleteMachine(_)), "{case}");
        assert!(!check(&changed, &decision).is_empty(), "{case}");
    }
    // What its controller hasn't seen yet isn't judged.
    let mut unseen = snapshot.clone();
    control_plane(&mut unseen).object.generation = 9;
    assert_eq!(decide(&unseen).action, Action::Nothing);
    // One that is what is asked for is named, so that a user names another release.
    let mut good = snapshot;
    stuck_machine(&mut good).up_to_date = UpToDate::Yes;
    assert!(
        words(&decide(&good))
            .iter()
            .any(|words| words.starts_with("ControlPlaneStuck")),
        "{:?}",
        words(&decide(&good))
    );
}
