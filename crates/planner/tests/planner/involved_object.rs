//! Which object each reason is about.

use instar_api::{ApprovedPart, PreflightCheck};
use instar_catalog::Catalog;
use instar_planner::{
    Field, Gate, MachinePhase, NoPath, PointerError, PoolId, Problem, RolloutPausedBy, SetBack, TemplateRef,
    TemplateRefusal, Unreadable, Waiting, WorkerKind,
};
use jiff::Timestamp;

use crate::{scenarios::world, world::reference, world::version};

fn pool() -> PoolId {
    PoolId::Workers("md-0".to_owned())
}

fn named<T>(make: impl Fn(String, String) -> T) -> T {
    make("Kind".to_owned(), "x".to_owned())
}

fn template() -> TemplateRef {
    reference("t")
}

/// A reason, with the kind and the name that it is about.
type Case = (Waiting, Option<(&'static str, &'static str)>);

/// What stops an upgrade before it has begun.
fn of_the_start() -> Vec<Case> {
    let (control_plane, release) = (Some(("KubeadmControlPlane", "blue")), Some(("KubernetesRelease", "r")));
    let object = Some(("Kind", "x"));
    let r = || "r".to_owned();
    let older = NoPath::Downgrade {
        present: version("v1.34.5"),
        wanted: "v1.33.5".to_owned(),
    };
    let gap = NoPath::Gap {
        missing: version("v1.34.5").minor(),
    };
    let miss = Catalog::default()
        .resolve("v1.40", None, None, "2026-11-20".parse().unwrap())
        .unwrap_err();
    vec![
        (named(|kind, name| Waiting::Paused { kind, name }), object),
        (named(|kind, name| Waiting::Deleting { kind, name }), object),
        (named(|kind, name| Waiting::TopologyOwned { kind, name }), object),
        (
            Waiting::Unreadable(Unreadable {
                kind: "Kind".to_owned(),
                name: "x".to_owned(),
                reason: "no".to_owned(),
            }),
            object,
        ),
        (Waiting::NoControlPlane, Some(("Cluster", "blue"))),
        (Waiting::NotProvisioned, Some(("Cluster", "blue"))),
        (
            Waiting::SourceMismatch {
                source: "v1.32".to_owned(),
                present: version("v1.33.5"),
            },
            control_plane,
        ),
        (Waiting::NoTarget(miss), None),
        (
            Waiting::NoRelease {
                pool: None,
                release: r(),
                elsewhere: None,
            },
            release,
        ),
        (
            Waiting::NoRow {
                version: version("v1.34.5"),
            },
            None,
        ),
        (Waiting::NoPath(Box::new(older)), control_plane),
        (Waiting::NoPath(Box::new(gap)), None),
        (Waiting::NoPath(Box::new(NoPath::NoImage { release: r() })), release),
        (
            Waiting::NoImage {
                pool: pool(),
                release: r(),
            },
            release,
        ),
        (
            Waiting::GateClosed {
                gate: Gate::Window,
                reason: r(),
                until: None,
            },
            None,
        ),
        (
            Waiting::ApprovalMissing {
                part: ApprovedPart::Workers,
                version: version("v1.34.5"),
                target: "v1.34".into(),
            },
            Some(("ClusterUpgrade", "up")),
        ),
        (
            Waiting::PreflightUnknown {
                check: PreflightCheck::MachinesReady,
                problem: Box::new(Problem {
                    kind: "MachineDeployment".to_owned(),
                    name: "md-0".to_owned(),
                    message: r(),
                }),
            },
            Some(("MachineDeployment", "md-0")),
        ),
    ]
}

/// What is waited for on the way.
/// Those of a template that is to be minted.
fn of_minting() -> Vec<Case> {
    let (workers, template_named) = (Some(("MachineDeployment", "md-0")), Some(("TestMachineTemplate", "t")));
    vec![
        (
            Waiting::TemplateNotVisible {
                pool: pool(),
                template: template(),
            },
            template_named,
        ),
        (
            Waiting::NameTaken {
                pool: pool(),
                template: template(),
                cluster: None,
            },
            template_named,
        ),
        (
            Waiting::TemplateDeleting {
                pool: pool(),
                template: template(),
            },
            template_named,
        ),
        (
            Waiting::ValueDropped {
                pool: pool(),
                template: template(),
                pointer: Box::new("/spec/a".parse().unwrap()),
            },
            template_named,
        ),
        (
            Waiting::TemplateRefused {
                pool: pool(),
                template: template(),
                refusal: Box::new(TemplateRefusal {
                    unknown: Vec::new(),
                    message: "m".to_owned(),
                }),
            },
            workers,
        ),
    ]
}

fn rollout_paused(since: Timestamp) -> Waiting {
    Waiting::RolloutPaused {
        pool: pool(),
        version: version("v1.34.5"),
        since,
        by: RolloutPausedBy::Windows,
    }
}

fn of_the_way() -> Vec<Case> {
    let (workers, template_named) = (Some(("MachineDeployment", "md-0")), Some(("TestMachineTemplate", "t")));
    let control_plane = Some(("KubeadmControlPlane", "blue"));
    let r = || "r".to_owned();
    let since = || "2026-11-20T12:00:00Z".parse().unwrap();
    vec![
        (Waiting::NoBootstrapTemplate { pool: pool() }, workers),
        (
            Waiting::ValueMisfit {
                pool: PoolId::ControlPlane,
                error: PointerError {
                    pointer: "/spec/a".parse().unwrap(),
                },
            },
            control_plane,
        ),
        (
            Waiting::ControlPlaneNotReady {
                version: version("v1.34.5"),
            },
            control_plane,
        ),
        (
            Waiting::ControlPlaneRollingOut {
                version: version("v1.34.5"),
                lowest: None,
                there: 0,
                desired: 3,
            },
            control_plane,
        ),
        (
            Waiting::PoolRollingOut {
                pool: pool(),
                version: version("v1.34.5"),
                converged: 0,
                machines: 2,
            },
            workers,
        ),
        (
            Waiting::MachineNotReady {
                name: "m".to_owned(),
                phase: MachinePhase::Failed,
            },
            Some(("Machine", "m")),
        ),
        (
            Waiting::OnDelete {
                pool: pool(),
                machines: Vec::new(),
            },
            workers,
        ),
        (
            Waiting::WorkersBehind {
                kind: WorkerKind::MachinePool,
                name: "x".to_owned(),
                version: version("v1.31.5"),
                next: version("v1.35.5"),
            },
            Some(("MachinePool", "x")),
        ),
        (
            Waiting::PoolAhead {
                pool: pool(),
                version: version("v1.34.5"),
            },
            workers,
        ),
        (
            Waiting::PinOutOfReach {
                pool: pool(),
                release: r(),
            },
            workers,
        ),
        (
            Waiting::Reverted {
                pool: pool(),
                written: version("v1.34.5"),
                found: version("v1.33.5"),
            },
            Some(("MachineDeployment", "md-0")),
        ),
        (
            Waiting::ForeignWriter {
                pool: pool(),
                field: Field::Version,
            },
            workers,
        ),
        (
            Waiting::Retained {
                template: template(),
                until: since(),
            },
            template_named,
        ),
        (rollout_paused(since()), workers),
    ]
}

/// What is said of machines and what makes them.
fn of_machines() -> Vec<Case> {
    vec![
        (
            Waiting::ControlPlaneStuck {
                machine: "m".to_owned(),
                since: "2026-11-20T12:00:00Z".parse().unwrap(),
                version: version("v1.34.5"),
                next: None,
                remedy: Box::new(instar_planner::StuckRemedy::Repair),
            },
            Some(("Machine", "m")),
        ),
        (
            Waiting::Drifted {
                pool: pool(),
                what: SetBack::Template {
                    written: "new".to_owned(),
                    found: "old".to_owned(),
                },
            },
            Some(("MachineDeployment", "md-0")),
        ),
        (
            Waiting::PauseAwaited {
                pool: "mp".to_owned(),
                kind: "TestMachinePool".to_owned(),
                name: "infra".to_owned(),
            },
            Some(("TestMachinePool", "infra")),
        ),
        (
            Waiting::LeftToUser {
                because: None,
                kind: WorkerKind::MachineSet,
                name: "x".to_owned(),
                version: version("v1.33.5"),
                target: version("v1.34.5"),
            },
            Some(("MachineSet", "x")),
        ),
        (
            Waiting::NodeVersion {
                machine: "m".to_owned(),
                version: version("v1.34.5"),
                node: version("v1.34.4"),
            },
            Some(("Machine", "m")),
        ),
        (
            Waiting::NoVersion {
                kind: WorkerKind::MachinePool,
                name: "x".to_owned(),
            },
            Some(("MachinePool", "x")),
        ),
    ]
}

#[test]
fn every_reason_names_its_object() {
    let snapshot = world("v1.33.5", "v1.34").snapshot();
    let cases = of_the_start().into_iter().chain(of_minting());
    for (waiting, expected) in cases.chain(of_the_way()).chain(of_machines()) {
        let found = waiting.involved_object().map(|about| about.kind_and_name(&snapshot));
        assert_eq!(found, expected, "{waiting}");
    }
}
