//! Everything that can be waited for, and what is said of it.

use instar_api::HealthReason;
use instar_planner::{
    Action, ClusterKind, Decision, Lifecycle, Machine, MachineDeployment, MachinePhase, MachineSet, ManagedBy, Node,
    Observed, PoolId, PoolOverride, Snapshot, Target, TemplateRef, Unreadable, plan,
};
use serde_json::json;

use crate::{
    scenarios::{complete, decide, swaps_control_plane, swaps_workers, until, world},
    world::{World, catalog, machine_pools::machine_pool, ready_since, reference, swap_history, version},
};

/// At the start, in the middle of the workers, and at the end of an upgrade by one minor.
pub fn start() -> Snapshot {
    world("v1.33.5", "v1.34.5-1").snapshot()
}

pub fn middle() -> World {
    let mut world = world("v1.33.5", "v1.34.5-1");
    until(&mut world, swaps_workers);
    world
}

pub fn control_plane(snapshot: &mut Snapshot) -> &mut instar_planner::ControlPlane {
    match &mut snapshot.control_plane {
        Some(Observed::Read(control_plane)) => control_plane,
        Some(Observed::Invalid(_)) | None => panic!("no control plane"),
    }
}

fn pool<'a>(snapshot: &'a mut Snapshot, name: &str) -> &'a mut MachineDeployment {
    let mut pools = snapshot.pools.iter_mut().filter_map(|pool| match pool {
        Observed::Read(pool) => Some(pool),
        Observed::Invalid(_) => None,
    });
    pools.find(|pool| pool.object.name == name).unwrap()
}

fn invalid<T>(kind: &str) -> Observed<T> {
    Observed::Invalid(Unreadable {
        kind: kind.to_owned(),
        name: "x".to_owned(),
        reason: "spec.version is missing".to_owned(),
    })
}

pub fn words(decision: &Decision) -> Vec<String> {
    let words = decision.waiting.iter();
    words
        .map(|waiting| format!("{}: {waiting}", waiting.reason()))
        .collect()
}

type Case = (&'static str, fn(&mut Snapshot), &'static str);

/// Each is a change of the start that stops everything, and what is said.
const STOPS: [Case; 28] = [
    (
        "the Cluster is paused",
        |s| s.cluster.lifecycle = Lifecycle::Paused,
        "Paused: Cluster blue is paused",
    ),
    (
        "the Cluster is deleted",
        |s| s.cluster.lifecycle = Lifecycle::Deleting,
        "Deleting: Cluster blue is being deleted",
    ),
    (
        "a topology cluster",
        |s| s.cluster.kind = ClusterKind::Topology(Box::new(invalid("Cluster"))),
        "TopologyOwned: Cluster blue belongs to the topology controller, which mints and swaps itself",
    ),
    (
        "the upgrade is paused",
        |s| s.upgrade_spec.paused = true,
        "Paused: ClusterUpgrade up is paused",
    ),
    (
        "the control plane is paused",
        |s| control_plane(s).object.lifecycle = Lifecycle::Paused,
        "Paused: KubeadmControlPlane blue is paused",
    ),
    (
        "the control plane is owned",
        |s| control_plane(s).object.managed_by = ManagedBy::Topology,
        "TopologyOwned: KubeadmControlPlane blue belongs to the topology controller, which mints and swaps itself",
    ),
    (
        "no control plane",
        |s| s.control_plane = None,
        "NoControlPlane: the Cluster has no control plane that can be seen",
    ),
    (
        "a garbled control plane",
        |s| s.control_plane = Some(invalid("KubeadmControlPlane")),
        "Unreadable: KubeadmControlPlane x can't be read: spec.version is missing",
    ),
    (
        "a garbled pool",
        |s| s.pools.push(invalid("MachineDeployment")),
        "Unreadable: MachineDeployment x can't be read: spec.version is missing",
    ),
    (
        "a garbled machine",
        |s| s.machines.push(invalid("Machine")),
        "Unreadable: Machine x can't be read: spec.version is missing",
    ),
    (
        "a garbled ClusterUpgrade of the Cluster",
        |s| {
            s.unreadable.push(Unreadable {
                kind: "ClusterUpgrade".to_owned(),
                name: "x".to_owned(),
                reason: "spec.target: invalid type".to_owned(),
            });
        },
        "Unreadable: ClusterUpgrade x can't be read: spec.target: invalid type",
    ),
    (
        "an unknown target",
        |s| s.upgrade_spec.target = Target::Text("v1.40".to_owned()),
        "NoTarget: \"v1.40\" is not in the catalog; it has v1.33.9, v1.34.1, v1.34.5, v1.34.9, v1.35.1, v1.35.5, v1.36.1, v1.36.5 and 6 older; the nearest that would work is v1.36.5",
    ),
    (
        "an unknown release",
        |s| s.upgrade_spec.target = Target::Release("gone".to_owned()),
        "NoRelease: release gone is not in the catalog",
    ),
    (
        "an older target",
        |s| s.upgrade_spec.target = Target::Text("v1.32".to_owned()),
        "NoPath: v1.32 is older than v1.33.5, to which the control plane has gone: set the target to v1.33.5 to stop there, or to a newer version to go on",
    ),
    (
        "the control plane's template is gone",
        |s| s.templates.clear(),
        "TemplateNotVisible: TestMachineTemplate blue-cp, referenced by the control plane, was not found",
    ),
    (
        "the control plane's template is garbled",
        |s| {
            s.templates = vec![Observed::Invalid(Unreadable {
                kind: "TestMachineTemplate".to_owned(),
                name: "blue-cp".to_owned(),
                reason: "no spec".to_owned(),
            })];
        },
        "Unreadable: TestMachineTemplate blue-cp can't be read: no spec",
    ),
    (
        "no image for the control plane",
        |s| control_plane(s).infrastructure = Some(other_kind()),
        "NoImage: release v1.34.5-1 has no image for the control plane: create a release of the same version that has one",
    ),
    (
        "no image for a pool, said before the control plane moves",
        |s| {
            let mut rows = catalog::rows();
            for (_, row) in rows.iter_mut().filter(|(name, _)| name == "v1.34.5-1") {
                row["machineImages"][1]["labels"] = json!({"arch": "arm64"});
            }
            s.catalog = catalog::of(rows);
            pool(s, "md-0").labels.insert("arch".to_owned(), "arm64".to_owned());
        },
        "NoImage: release v1.34.5-1 has no image for MachineDeployment md-1: create a release of the same version that has one",
    ),
    (
        "no image for the control plane's labels",
        |s| {
            let mut rows = catalog::rows();
            for (_, row) in rows.iter_mut().filter(|(name, _)| name == "v1.34.5-1") {
                row["machineImages"][0]["labels"] = json!({"arch": "arm64"});
            }
            s.catalog = catalog::of(rows);
            control_plane(s).labels.insert("arch".to_owned(), "amd64".to_owned());
        },
        "NoImage: release v1.34.5-1 has no image for the control plane: create a release of the same version that has one",
    ),
    (
        "no bootstrap template to set a value in",
        |s| {
            let patch = [("/spec/template/spec/a".parse().unwrap(), json!(1))];
            s.upgrade_spec
                .bootstrap_patches
                .insert("md-0".to_owned(), patch.into_iter().collect());
        },
        "NoBootstrapTemplate: MachineDeployment md-0 has no bootstrap template, so what is asked for it can't be set",
    ),
    (
        "a value that goes nowhere",
        |s| {
            let patch = [("/spec/template/spec/pool/size".parse().unwrap(), json!(1))];
            s.upgrade_spec
                .patches
                .insert(PoolId::ControlPlane, patch.into_iter().collect());
        },
        "ValueMisfit: the template of the control plane: /spec/template/spec/pool/size leads through something that is no object",
    ),
    (
        "an edit that isn't observed",
        |s| control_plane(s).object.generation = 2,
        "ControlPlaneRollingOut: the control plane goes to v1.33.5: 3 of 3 machines are there, the lowest runs v1.33.5",
    ),
    (
        "a MachinePool that can't follow",
        |s| {
            s.machine_pools = vec![Observed::Read(machine_pool("mp", "v1.30.5", &[]))];
        },
        "WorkersBehind: MachinePool mp runs v1.30.5 and blocks the control plane's next version v1.34.5 (a kubelet may be 3 minors older)",
    ),
    (
        "a MachinePool whose spec went on and whose nodes didn't",
        |s| {
            s.machine_pools = vec![Observed::Read(machine_pool("mp", "v1.33.5", &["v1.33.5", "v1.30.5"]))];
        },
        "WorkersBehind: MachinePool mp runs v1.30.5 and blocks the control plane's next version v1.34.5 (a kubelet may be 3 minors older)",
    ),
    (
        "a Machine that stands alone",
        |s| s.machines.push(Observed::Read(machine_of(None, "v1.30.5"))),
        "WorkersBehind: Machine m runs v1.30.5 and blocks the control plane's next version v1.34.5 (a kubelet may be 3 minors older)",
    ),
    (
        "a Machine whose MachineDeployment is gone",
        |s| {
            let pool = PoolId::Workers("gone".to_owned());
            s.machines.push(Observed::Read(machine_of(Some(pool), "v1.30.5")));
        },
        "WorkersBehind: Machine m runs v1.30.5 and blocks the control plane's next version v1.34.5 (a kubelet may be 3 minors older)",
    ),
    (
        "a MachineSet that stands alone",
        |s| {
            s.machine_sets.push(Observed::Read(MachineSet {
                name: "alone".to_owned(),
                pool: None,
                version: version("v1.30.5"),
                infrastructure: reference("blue-cp"),
                bootstrap: None,
                replicas: 1,
                lifecycle: Lifecycle::Active,
                created: None,
                blocked: None,
            }));
        },
        "WorkersBehind: MachineSet alone runs v1.30.5 and blocks the control plane's next version v1.34.5 (a kubelet may be 3 minors older)",
    ),
    (
        "somebody put the control plane back",
        |s| control_plane(s).object.swap_history = Some(swap_history("up", "v1.34.5", "t")),
        "ForeignWriter: the control plane: spec.version was set back from v1.34.5 to v1.33.5 by another client after Instar set it: set it to v1.34.5 again, or edit the upgrade's target to continue from v1.33.5",
    ),
];

fn machine_of(pool: Option<PoolId>, runs: &str) -> Machine {
    Machine {
        name: "m".to_owned(),
        pool,
        version: version(runs),
        template: None,
        phase: MachinePhase::Running,
        node: Node::Joined {
            name: "n".to_owned(),
            version: Some(version(runs)),
        },
        node_readiness: ready_since(jiff::Timestamp::UNIX_EPOCH),
        lifecycle: Lifecycle::Active,
        created: None,
        deletion_waits_for: None,
        up_to_date: instar_planner::UpToDate::Unknown,
        rollout_time: None,
        maker: None,
    }
}

fn other_kind() -> TemplateRef {
    TemplateRef {
        kind: "OtherTemplate".to_owned(),
        ..reference("blue-cp")
    }
}

#[test]
fn what_stops_everything_is_named() {
    for (name, change, expected) in STOPS {
        let mut snapshot = start();
        change(&mut snapshot);
        let decision = decide(&snapshot);
        assert_eq!(decision.action, Action::Nothing, "{name}");
        assert_eq!(words(&decision), [expected], "{name}");
    }
}

/// What is done for the workers after a change, whether the other pool gets its turn.
#[test]
fn a_pool_that_cannot_move_lets_the_others() {
    let cases: [Case; 9] = [
        (
            "paused",
            |s| pool(s, "md-0").object.lifecycle = Lifecycle::Paused,
            "Paused: MachineDeployment md-0 is paused",
        ),
        (
            "deleted",
            |s| pool(s, "md-0").object.lifecycle = Lifecycle::Deleting,
            "Deleting: MachineDeployment md-0 is being deleted",
        ),
        (
            "owned",
            |s| pool(s, "md-0").object.managed_by = ManagedBy::Topology,
            "TopologyOwned: MachineDeployment md-0 belongs to the topology controller, which mints and swaps itself",
        ),
        ("held", |s| upgrade_spec(s, PoolOverride::Hold), ""),
        (
            "pinned to nothing",
            |s| upgrade_spec(s, PoolOverride::Pin("gone".to_owned())),
            "NoRelease: release gone, to which MachineDeployment md-0 is pinned, is not in the catalog",
        ),
        (
            "pinned above",
            |s| upgrade_spec(s, PoolOverride::Pin("v1.35.5-1".to_owned())),
            "PinOutOfReach: MachineDeployment md-0 is pinned to release v1.35.5-1, and no machine of it can be made under the control plane's present version",
        ),
        (
            "pinned below",
            |s| upgrade_spec(s, PoolOverride::Pin("v1.32.5-1".to_owned())),
            "PoolAhead: MachineDeployment md-0 is at v1.33.5, newer than it should be, and is not lowered",
        ),
        (
            "ahead",
            |s| pool(s, "md-0").version = version("v1.35.5"),
            "PoolAhead: MachineDeployment md-0 is at v1.35.5, newer than it should be, and is not lowered",
        ),
        (
            "put back",
            |s| pool(s, "md-0").object.swap_history = Some(swap_history("up", "v1.34.5", "t")),
            "ForeignWriter: MachineDeployment md-0: spec.template.spec.version was set back from v1.34.5 to v1.33.5 by another client after Instar set it: set it to v1.34.5 again, or edit the upgrade's target to continue from v1.33.5",
        ),
    ];
    for (name, change, expected) in cases {
        let mut snapshot = middle().snapshot();
        change(&mut snapshot);
        let decision = decide(&snapshot);
        let minted =
            matches!(&decision.action, Action::MintTemplate(mint) if mint.pool == PoolId::Workers("md-1".to_owned()));
        assert!(minted, "{name}: {decision:?}");
        assert_eq!(words(&decision).join("\n"), expected, "{name}");
    }
}

fn upgrade_spec(snapshot: &mut Snapshot, upgrade_spec: PoolOverride) {
    snapshot.upgrade_spec.pools.insert("md-0".to_owned(), upgrade_spec);
}

#[test]
fn a_held_pool_stops_the_control_plane_where_skew_ends() {
    let mut world = world("v1.32.5", "v1.36.5");
    world.upgrade_spec.pools.insert("md-0".to_owned(), PoolOverride::Hold);
    let waits = |decision: &Decision| {
        decision.action == Action::Nothing
            && decision.waiting.len() == 1
            && decision.waiting[0].reason() == HealthReason::WorkersBehind
    };
    until(&mut world, waits);
    assert_eq!(world.control_plane.version, version("v1.35.5"));
    world.upgrade_spec.pools.clear();
    until(&mut world, complete);
    assert_eq!(world.control_plane.version, version("v1.36.5"));
}

#[test]
fn a_pinned_pool_ends_at_its_pin() {
    let mut world = world("v1.33.5", "v1.35.5-1");
    world
        .upgrade_spec
        .pools
        .insert("md-0".to_owned(), PoolOverride::Pin("v1.34.5-1".to_owned()));
    until(&mut world, complete);
    assert_eq!(world.pools[0].object.version, version("v1.34.5"));
    assert_eq!(world.pools[1].object.version, version("v1.35.5"));
}

#[test]
fn an_own_template_is_kept_at_its_version_and_named() {
    let mut world = world("v1.33.5", "v1.34.5-1");
    until(&mut world, complete);
    world.give_own_template("md-0");
    let decision = until(&mut world, complete);
    let named = "ForeignWriter: MachineDeployment md-0: spec.template.spec.infrastructureRef was changed by another client after Instar set it, and the upgrade keeps it";
    assert!(words(&decision).contains(&named.to_owned()), "{decision:?}");
    assert!(world.pools[0].object.infrastructure.name.starts_with("own-"));
}

#[test]
fn a_version_raised_by_hand_is_named_and_completed() {
    let mut world = world("v1.32.5", "v1.35.5-1");
    let second = |decision: &Decision| swaps_control_plane(decision) && decision.progress.path.len() == 2;
    until(&mut world, second);
    world.raise_control_plane();
    let decision = decide(&world.snapshot());
    let named = "ForeignWriter: the control plane: spec.version was changed by another client after Instar set it, and the upgrade continues from there";
    assert!(words(&decision).contains(&named.to_owned()), "{decision:?}");
    until(&mut world, complete);
    assert_eq!(world.control_plane.version, version("v1.35.5"));
}

#[test]
fn extra_values_and_bootstrap_go_with_the_swap() {
    let mut world = world("v1.33.5", "v1.34.5-1");
    let patch = |at: &str, value: i64| [(at.parse().unwrap(), json!(value))].into_iter().collect();
    let id = PoolId::Workers("md-0".to_owned());
    world
        .upgrade_spec
        .patches
        .insert(id, patch("/spec/template/spec/cpus", 8));
    world
        .upgrade_spec
        .bootstrap_patches
        .insert("md-0".to_owned(), patch("/spec/template/spec/files", 1));
    world.add_template("boot");
    world.pools[0].object.bootstrap = Some(reference("boot"));
    world.sets[0].bootstrap = Some(reference("boot"));
    let decision = until(&mut world, swaps_workers);
    let Action::SwapWorkers(swap) = &decision.action else {
        panic!("{decision:?}")
    };
    let spec = |name: &str| {
        world
            .templates
            .iter()
            .find(|template| template.name == name)
            .unwrap()
            .content
            .as_ref()
            .unwrap()
            .spec["template"]["spec"]
            .clone()
    };
    let machines = spec(
        swap.patch["spec"]["template"]["spec"]["infrastructureRef"]["name"]
            .as_str()
            .unwrap(),
    );
    assert_eq!(
        machines,
        json!({"image": "Worker-v1.34.5-1", "pool": "blue-md-0", "cpus": 8})
    );
    let bootstrap = spec(
        swap.patch["spec"]["template"]["spec"]["bootstrap"]["configRef"]["name"]
            .as_str()
            .unwrap(),
    );
    assert_eq!(bootstrap["files"], json!(1));
    until(&mut world, complete);
}

#[test]
fn the_row_that_the_control_plane_took_is_the_workers_too() {
    let mut world = world("v1.33.5", "v1.34");
    until(&mut world, swaps_workers);
    let mut rows = catalog::rows();
    rows.push(catalog::row("v1.34.5", 9, "3.6.5-0", "v1.12.1"));
    world.catalog = catalog::of(rows);
    until(&mut world, complete);
    let labels: Vec<_> = world
        .templates
        .iter()
        .filter_map(instar_planner::Template::minted_for)
        .collect();
    assert!(labels.iter().all(|label| *label == "v1.34.5-1"), "{labels:?}");
}

#[test]
fn a_planner_without_objects_has_an_answer() {
    let mut snapshot = start();
    snapshot.pools.clear();
    snapshot.machines.clear();
    snapshot.machine_sets.clear();
    assert!(matches!(plan(&snapshot).action, Action::PinPath(_)));
}
