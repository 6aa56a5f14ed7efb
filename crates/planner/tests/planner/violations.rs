//! Each invariant, broken by hand: `check` reads the snapshot for itself, so it finds what the
//! planner would never do.

use instar_api::{
    ApprovalPoint, ApprovedPart, GatePoint, PATH_ANNOTATION, RELEASES_ANNOTATION, SWAP_HISTORY_ANNOTATION,
};
use instar_planner::{
    Action, AddonGate, AddonId, AddonOwner, AddonState, AskedPoint, Contract, Convergence, Decision, DeleteTemplate,
    Flavor, Gate, Lifecycle, Observed, PinPath, PoolId, ResourceVersion, Snapshot, Swap, Target, Violation, check,
};
use serde_json::json;

use crate::{
    scenarios::{complete, decide, mints, swaps_control_plane, swaps_workers, until, world},
    world::{closed, configuration, held_by_check, reference, version},
};

type Case = (Violation, fn(&mut Snapshot, &mut Decision));

fn swap(decision: &mut Decision) -> &mut Swap {
    match &mut decision.action {
        Action::SwapControlPlane(swap) | Action::SwapWorkers(swap) => swap,
        Action::MintTemplate(_)
        | Action::PatchMachinePool(_)
        | Action::PinPath(_)
        | Action::RecordConvergence(_)
        | Action::DeleteTemplate(_)
        | Action::EditVersion(_)
        | Action::CompletePins(_)
        | Action::HoldPool(_)
        | Action::SetConcurrency(_)
        | Action::BeginGates(_)
        | Action::AnswerHook(_)
        | Action::RestoreVersionCheck(_)
        | Action::FollowRelease(_)
        | Action::DeleteMachine(_)
        | Action::Nothing => panic!("no swap"),
    }
}

fn to(decision: &mut Decision, to: &str) {
    let swap = swap(decision);
    swap.version = version(to);
    let place = match swap.pool {
        PoolId::ControlPlane => "/spec/version",
        PoolId::Workers(_) | PoolId::MachinePool(_) => "/spec/template/spec/version",
    };
    *swap.patch.pointer_mut(place).unwrap() = json!(to);
}

fn control_plane(snapshot: &mut Snapshot) -> &mut instar_planner::ControlPlane {
    match &mut snapshot.control_plane {
        Some(Observed::Read(control_plane)) => control_plane,
        Some(Observed::Invalid(_)) | None => panic!("no control plane"),
    }
}

fn workers_at(snapshot: &mut Snapshot, at: &str) {
    for pool in &mut snapshot.pools {
        if let Observed::Read(pool) = pool {
            pool.version = version(at);
        }
    }
}

/// A gate that doesn't let through.
fn add_gate(snapshot: &mut Snapshot, when: GatePoint, at: &str) {
    let point = AskedPoint {
        when,
        version: version(at),
        release: None,
    };
    let id = AddonId {
        owner: AddonOwner::Policy("p".to_owned()),
        name: "cni".to_owned(),
        when,
        version: version(at),
    };
    let gate = AddonGate {
        id,
        kind: "DaemonSet".to_owned(),
        object: "cni".to_owned(),
        state: AddonState::Due(None),
    };
    snapshot.addons.found.insert(point, vec![gate]);
}

fn find(cases: &[Case], snapshot: &Snapshot, decision: &Decision) {
    assert_eq!(check(snapshot, decision), []);
    for (violation, change) in cases {
        let (mut snapshot, mut decision) = (snapshot.clone(), decision.clone());
        change(&mut snapshot, &mut decision);
        let found = check(&snapshot, &decision);
        assert!(found.contains(violation), "{violation:?} isn't found, but {found:?}");
    }
}

#[test]
fn of_the_control_planes_swap() {
    let mut world = world("v1.33.5", "v1.35");
    let decision = until(&mut world, swaps_control_plane);
    let cases: [Case; 21] = [
        (Violation::GateClosed, |s, _| {
            s.gates.insert(Gate::Window, closed("a freeze"));
        }),
        (Violation::GateClosed, |s, _| {
            s.addons.of_policies = [GatePoint::BeforeControlPlane].into();
        }),
        (Violation::GateClosed, |s, _| {
            add_gate(s, GatePoint::BeforeControlPlane, "v1.34.5");
        }),
        (Violation::GateClosed, |s, _| s.preflight = vec![held_by_check()]),
        (Violation::GateClosed, |s, _| {
            s.approvals.required = [ApprovalPoint::ControlPlane].into();
            s.approvals.given = [(ApprovedPart::ControlPlane, version("v1.35.5"))].into();
        }),
        (Violation::GateClosed, |s, _| {
            s.approvals.required = [ApprovalPoint::EachStep].into();
        }),
        (Violation::Untouchable, |s, _| s.cluster.lifecycle = Lifecycle::Paused),
        (Violation::Untouchable, |s, _| s.cluster.lifecycle = Lifecycle::Deleting),
        (Violation::Untouchable, |s, _| {
            control_plane(s).object.lifecycle = Lifecycle::Paused;
        }),
        (Violation::UnknownObject, |s, _| s.control_plane = None),
        (Violation::NoCompare, |_, d| {
            "other".clone_into(&mut swap(d).resource_version.0);
        }),
        (Violation::NoCompare, |_, d| {
            swap(d).patch["metadata"]["resourceVersion"] = json!(null);
        }),
        (Violation::Incomplete, |_, d| {
            swap(d).patch["spec"]["machineTemplate"] = json!({});
        }),
        (Violation::Incomplete, |_, d| {
            swap(d).patch["metadata"]["annotations"] = json!({});
        }),
        (Violation::Incomplete, |s, _| {
            control_plane(s).contract = Contract::V1Beta1;
        }),
        (Violation::SkippedMinor, |_, d| to(d, "v1.35.5")),
        (Violation::Lowered, |_, d| to(d, "v1.33.1")),
        (Violation::WorkersBehind, |s, _| workers_at(s, "v1.30.5")),
        (Violation::ControlPlaneMoving, |s, _| {
            control_plane(s).observed.push(version("v1.32.5"));
        }),
        (Violation::NoTemplate, |s, _| s.templates.clear()),
        (Violation::CoreDnsLowered, |s, _| {
            control_plane(s).flavor = Flavor::Kubeadm {
                cluster_configuration: configuration(json!({"dns": {"imageTag": "v1.13.1"}})),
                settings: Vec::new(),
            };
        }),
    ];
    find(&cases, &world.snapshot(), &decision);
}

#[test]
fn of_a_pools_swap() {
    let mut world = world("v1.33.5", "v1.34.5");
    let decision = until(&mut world, swaps_workers);
    let cases: [Case; 10] = [
        (Violation::GateClosed, |s, _| {
            s.gates.insert(Gate::Window, closed("a freeze"));
        }),
        (Violation::GateClosed, |s, _| {
            s.addons.of_policies = [GatePoint::BeforeWorkers].into();
        }),
        (Violation::GateClosed, |s, _| {
            add_gate(s, GatePoint::BeforeWorkers, "v1.34.5");
        }),
        (Violation::GateClosed, |s, _| {
            s.approvals.required = [ApprovalPoint::Workers].into();
            s.approvals.given = [(ApprovedPart::ControlPlane, version("v1.34.5"))].into();
        }),
        (Violation::WorkersAhead, |s, _| {
            control_plane(s).observed.push(version("v1.33.5"));
        }),
        (Violation::WorkersAhead, |_, d| to(d, "v1.35.5")),
        (Violation::WorkersBehind, |s, d| {
            workers_at(s, "v1.30.1");
            to(d, "v1.30.5");
        }),
        (Violation::Lowered, |_, d| to(d, "v1.33.1")),
        (Violation::ControlPlaneMoving, |s, _| {
            control_plane(s).object.generation = 99;
        }),
        (Violation::UnknownObject, |s, _| s.pools.clear()),
    ];
    find(&cases, &world.snapshot(), &decision);
}

#[test]
fn of_a_mint_and_of_a_deletion() {
    let mut world = world("v1.33.5", "v1.35");
    let mint = until(&mut world, mints);
    let snapshot = world.snapshot();
    let object = |decision: &mut Decision, change: fn(&mut serde_json::Value)| match &mut decision.action {
        Action::MintTemplate(mint) => change(&mut mint.object),
        Action::SwapControlPlane(_)
        | Action::SwapWorkers(_)
        | Action::PatchMachinePool(_)
        | Action::PinPath(_)
        | Action::RecordConvergence(_)
        | Action::DeleteTemplate(_)
        | Action::EditVersion(_)
        | Action::CompletePins(_)
        | Action::HoldPool(_)
        | Action::SetConcurrency(_)
        | Action::BeginGates(_)
        | Action::AnswerHook(_)
        | Action::RestoreVersionCheck(_)
        | Action::FollowRelease(_)
        | Action::DeleteMachine(_)
        | Action::Nothing => {
            panic!("no mint")
        }
    };
    for change in [
        (|it| it["metadata"]["uid"] = json!("1")) as fn(&mut serde_json::Value),
        |it| it["metadata"]["labels"] = json!({}),
        |it| it["metadata"]["ownerReferences"] = json!([]),
        |it| it["metadata"]["annotations"] = json!({}),
        |it| it["metadata"]["name"] = json!("another"),
        |it| it["spec"]["template"]["spec"]["image"] = json!("another"),
        |it| it["status"] = json!({}),
    ] {
        let mut decision = mint.clone();
        object(&mut decision, change);
        assert_eq!(check(&snapshot, &decision), [Violation::NotFresh]);
    }
    // The swap that is tried first is the one to this template.
    let tried = |change: fn(&mut Swap)| {
        let mut decision = mint.clone();
        if let Action::MintTemplate(mint) = &mut decision.action {
            change(mint.before.as_mut().unwrap());
        }
        check(&snapshot, &decision)
    };
    assert_eq!(tried(|_| {}), []);
    for change in [
        (|swap| swap.template = Some(reference("another"))) as fn(&mut Swap),
        |swap| swap.pool = PoolId::Workers("md-0".to_owned()),
        |swap| swap.version = version("v1.35.5"),
    ] {
        assert_eq!(tried(change), [Violation::Incomplete]);
    }
    world.write(&mint.action);
    assert_eq!(check(&world.snapshot(), &mint), [Violation::TemplateMutated]);

    until(&mut world, complete);
    let snapshot = world.snapshot();
    for (name, violations) in [
        ("blue-cp", vec![Violation::NotOurs]),
        ("blue-gone", vec![Violation::NotOurs]),
        (world.minted[0].as_str(), vec![]),
        (world.minted[1].as_str(), vec![Violation::StillReferred]),
    ] {
        let template = world.templates.iter().find(|template| template.name == name);
        let delete = DeleteTemplate {
            api_version: "infrastructure.cluster.x-k8s.io/v1beta1".to_owned(),
            template: reference(name),
            resource_version: template.map_or_else(
                || instar_planner::ResourceVersion("0".to_owned()),
                |template| template.resource_version.clone(),
            ),
        };
        let mut decision = decide(&snapshot);
        decision.action = Action::DeleteTemplate(delete);
        assert_eq!(check(&snapshot, &decision), violations, "{name}");
    }
}

/// The text of an annotation in a patch, changed.
fn rewrite(patch: &mut serde_json::Value, annotation: &str, from: &str, to: &str) {
    let text = &mut patch["metadata"]["annotations"][annotation];
    let changed = text.as_str().unwrap().replace(from, to);
    assert_ne!(changed, text.as_str().unwrap());
    *text = json!(changed);
}

fn pin(decision: &mut Decision) -> &mut PinPath {
    match &mut decision.action {
        Action::PinPath(pin) => pin,
        other => panic!("{other:?}"),
    }
}

fn convergence(decision: &mut Decision) -> &mut Convergence {
    match &mut decision.action {
        Action::RecordConvergence(convergence) => convergence,
        other => panic!("{other:?}"),
    }
}

#[test]
fn of_a_path_and_of_what_it_is_pinned_to() {
    let mut world = world("v1.33.5", "v1.34");
    until(&mut world, complete);
    // So that there are pins to be kept.
    world.upgrade_spec.target = Target::Text("v1.36".to_owned());
    let decision = until(&mut world, |decision| matches!(decision.action, Action::PinPath(_)));
    let cases: [Case; 8] = [
        (Violation::UnknownObject, |_, d| pin(d).name = "green".to_owned()),
        (Violation::NoCompare, |_, d| {
            pin(d).patch["metadata"]["resourceVersion"] = json!(null);
        }),
        (Violation::NotOurs, |_, d| {
            pin(d).patch["spec"] = json!({"paused": true});
        }),
        (Violation::NotOurs, |_, d| {
            pin(d).patch["metadata"]["annotations"]["another"] = json!("x");
        }),
        (Violation::Incomplete, |_, d| {
            rewrite(&mut pin(d).patch, PATH_ANNOTATION, "v1.36.5-1", "v1.36.9-1");
        }),
        (Violation::Incomplete, |s, _| {
            s.upgrade_spec.upgrade = "another".to_owned();
        }),
        (Violation::PinRewritten, |_, d| {
            rewrite(&mut pin(d).patch, RELEASES_ANNOTATION, "ControlPlane-v1.34.5-1", "x");
        }),
        (Violation::Untouchable, |s, _| s.cluster.lifecycle = Lifecycle::Paused),
    ];
    find(&cases, &world.snapshot(), &decision);
}

#[test]
fn of_the_end_of_a_swap() {
    let mut world = world("v1.33.5", "v1.34");
    let records = |decision: &Decision| matches!(decision.action, Action::RecordConvergence(_));
    let decision = until(&mut world, records);
    let cases: [Case; 6] = [
        (Violation::UnknownObject, |s, _| s.control_plane = None),
        (Violation::NoCompare, |_, d| {
            convergence(d).resource_version = ResourceVersion("0".to_owned());
        }),
        (Violation::NotOurs, |_, d| {
            convergence(d).patch["spec"] = json!({"version": "v1.34.5"});
        }),
        (Violation::Incomplete, |_, d| {
            rewrite(&mut convergence(d).patch, SWAP_HISTORY_ANNOTATION, "v1.33.5", "v1.33.4");
        }),
        (Violation::ControlPlaneMoving, |s, _| {
            control_plane(s).object.generation += 1;
        }),
        (Violation::Untouchable, |s, _| {
            control_plane(s).object.lifecycle = Lifecycle::Deleting;
        }),
    ];
    find(&cases, &world.snapshot(), &decision);
}
