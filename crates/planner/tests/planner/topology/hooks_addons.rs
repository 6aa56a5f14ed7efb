//! Add-ons and gates where Cluster API asks before each step.

use instar_api::{ApprovalPoint, GATE_HISTORY_ANNOTATION, GatePoint, HookVerdict};
use instar_planner::{
    Action, AddonGate, AddonId, AddonOwner, AddonProblem, AddonState, AskedPoint, Decision, GateHistory, RuntimeHooks,
    Snapshot, check, follow,
};

use super::{
    asked, asked_of, cluster_of, control_plane, control_plane_goes,
    hooks::{STEPS, let_go, two_minors, with_machine_pool, write},
    pins, topology, version, written_by_us,
};

fn gate(point: &AskedPoint, state: AddonState) -> AddonGate {
    AddonGate {
        id: AddonId {
            owner: AddonOwner::Policy("p".to_owned()),
            name: "cni".to_owned(),
            when: point.when,
            version: point.version.clone(),
        },
        kind: "DaemonSet".to_owned(),
        object: "cni".to_owned(),
        state,
    }
}

/// What a caller decides that finds what is asked for.
fn decide(snapshot: &mut Snapshot, found: &AddonState) -> Decision {
    loop {
        let decision = follow(snapshot);
        let unseen: Vec<AskedPoint> = decision.unseen().cloned().collect();
        if unseen.is_empty() {
            assert_eq!(check(snapshot, &decision), [], "{decision:#?}");
            return decision;
        }
        for point in unseen {
            let gates = vec![gate(&point, found.clone())];
            snapshot.addons.found.insert(point, gates);
        }
    }
}

/// What is done until the control plane has arrived. Each gate opens as soon as it has begun.
fn walk(snapshot: &mut Snapshot) -> Vec<String> {
    let mut done = Vec::new();
    for _ in 0..50 {
        let decision = decide(snapshot, &AddonState::Due(None));
        write(snapshot, &decision);
        match &decision.action {
            Action::BeginGates(begin) => {
                done.extend(begin.gates.iter().map(|id| format!("{} {}", id.when, id.version)));
                let text = begin.patch["metadata"]["annotations"][GATE_HISTORY_ANNOTATION]
                    .as_str()
                    .unwrap();
                snapshot.upgrade_spec.gate_history = GateHistory::from_annotation(text);
                for found in snapshot.addons.found.values_mut().flatten() {
                    found.state = AddonState::Open;
                }
            }
            Action::EditVersion(edit) => {
                done.push(format!("edit {}", edit.target));
                topology(snapshot).version = version(&edit.target);
                written_by_us(snapshot);
                let topology = topology(snapshot);
                topology.pins = Some(pins("v1.33.5", &STEPS));
                topology.control_plane_plan = STEPS.map(version).into();
                topology.workers_plan = vec![version("v1.35.5")];
            }
            _ => {}
        }
        if let Some((_, step)) = let_go(snapshot)
            && step > control_plane(snapshot).version
        {
            done.push(format!("go {step}"));
            control_plane_goes(snapshot, &step.to_string());
            topology(snapshot).control_plane_plan.remove(0);
        }
        if control_plane(snapshot).version == version("v1.35.5") {
            return done;
        }
    }
    panic!("it doesn't end: {done:?}");
}

#[test]
fn the_edit_leaves_gates_to_the_steps_where_there_are_several() {
    let on = || RuntimeHooks::On;
    let off = || RuntimeHooks::Off(String::new());
    let unknown = || RuntimeHooks::Unknown(String::new());
    for (from, hooks, expected) in [
        ("v1.33.5", on(), "edit v1.35.5"),
        ("v1.33.5", off(), "BeforeControlPlane v1.35.5"),
        ("v1.33.5", unknown(), "BeforeControlPlane v1.35.5"),
        // The one step asks for the same.
        ("v1.34.5", on(), "BeforeControlPlane v1.35.5"),
    ] {
        let mut snapshot = asked(from, "v1.35");
        snapshot.addons.of_policies = [GatePoint::BeforeControlPlane].into();
        topology(&mut snapshot).hooks = hooks.clone();
        let decision = decide(&mut snapshot, &AddonState::Due(None));
        let found = match decision.action {
            Action::EditVersion(edit) => format!("edit {}", edit.target),
            Action::BeginGates(begin) => format!("{} {}", begin.gates[0].when, begin.gates[0].version),
            action => panic!("{action:?}"),
        };
        assert_eq!(found, expected, "{from} {hooks:?}");
    }
}

#[test]
fn each_step_asks_for_what_comes_before_and_after_it() {
    let points = [GatePoint::BeforeControlPlane, GatePoint::AfterControlPlane];
    let steps = [
        "BeforeControlPlane v1.34.5",
        "go v1.34.5",
        "AfterControlPlane v1.34.5",
        "BeforeControlPlane v1.35.5",
        "go v1.35.5",
    ];
    let mut snapshot = asked("v1.33.5", "v1.35");
    topology(&mut snapshot).hooks = RuntimeHooks::On;
    snapshot.addons.of_policies = points.into();
    snapshot.pools.clear();
    let mut expected = vec!["edit v1.35.5"];
    expected.extend(steps);
    assert_eq!(walk(&mut snapshot), expected);

    // An edit by hand.
    let mut snapshot = two_minors();
    snapshot.addons.of_policies = points.into();
    snapshot.pools.clear();
    assert_eq!(walk(&mut snapshot), steps);

    // Without pins, where the upgrade began isn't known for sure.
    let mut snapshot = two_minors();
    topology(&mut snapshot).pins = None;
    snapshot.addons.of_policies = points.into();
    snapshot.pools.clear();
    assert_eq!(walk(&mut snapshot)[0], "AfterControlPlane v1.33.5");
}

#[test]
fn machine_pools_wait_at_their_hook_and_not_at_the_edit() {
    let on = || RuntimeHooks::On;
    let off = || RuntimeHooks::Off(String::new());
    let alone: &[&str] = &[];
    for (hooks, pools, required, expected) in [
        (on(), alone, false, "edit v1.34"),
        (on(), alone, true, "edit v1.34.5"),
        // MachineDeployments beside them are held as ever.
        (on(), &["md-0"], false, "hold md-0"),
        (on(), &["md-0"], true, "hold md-0"),
        (off(), alone, false, "BeforeWorkers v1.34.5"),
        (off(), alone, true, "held"),
        (off(), &["md-0"], true, "held"),
    ] {
        let runs = "v1.33.5";
        let mut snapshot = with_machine_pool(asked_of(cluster_of(runs, runs, pools), "v1.34"), runs);
        topology(&mut snapshot).hooks = hooks.clone();
        if required {
            snapshot.approvals.required = [ApprovalPoint::Workers].into();
        } else {
            snapshot.addons.of_policies = [GatePoint::BeforeWorkers].into();
        }
        let decision = decide(&mut snapshot, &AddonState::Due(None));
        let found = match decision.action {
            Action::EditVersion(edit) => format!("edit {}", edit.target),
            Action::BeginGates(begin) => format!("{} {}", begin.gates[0].when, begin.gates[0].version),
            Action::HoldPool(hold) => format!("hold {}", hold.name),
            action => {
                assert_eq!(action, Action::Nothing);
                "held".to_owned()
            }
        };
        assert_eq!(found, expected, "{hooks:?} {pools:?} {required}");
    }
}

#[test]
fn what_a_workload_cluster_says_of_an_addon_is_not_copied() {
    let said = |message: &str, problem: AddonProblem| {
        let mut snapshot = two_minors();
        snapshot.addons.of_policies = [GatePoint::BeforeControlPlane].into();
        let closed = AddonState::Closed {
            problem,
            message: message.to_owned(),
            until: None,
        };
        match decide(&mut snapshot, &closed).action {
            Action::AnswerHook(answer) => match answer.answer.unwrap().verdict {
                HookVerdict::Hold { reason, .. } => reason,
                HookVerdict::Go { .. } => panic!("it goes"),
            },
            action => panic!("{action:?}"),
        }
    };
    let one = said("1 of 3 pods are ready", AddonProblem::NotReady);
    assert_eq!(
        one,
        "gate cni of UpgradePolicy p (BeforeControlPlane v1.34.5) isn't ready (see status.health of the ClusterUpgrade)"
    );
    assert_eq!(said("2 of 3 pods are ready", AddonProblem::NotReady), one);
    assert_ne!(said("1 of 3 pods are ready", AddonProblem::Failed), one);
}
