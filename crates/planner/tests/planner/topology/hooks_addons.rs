//! Add-ons and gates where Cluster API asks before each step.

use instar_api::GatePoint;
use instar_planner::{
    Action, AddonGate, AddonId, AddonOwner, AddonState, AskedPoint, Decision, RuntimeHooks, Snapshot, check, follow,
};

use super::{asked, topology};

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
        let decision = decide(&mut snapshot, &AddonState::Due);
        let found = match decision.action {
            Action::EditVersion(edit) => format!("edit {}", edit.target),
            Action::BeginGates(begin) => format!("{} {}", begin.gates[0].when, begin.gates[0].version),
            action => panic!("{action:?}"),
        };
        assert_eq!(found, expected, "{from} {hooks:?}");
    }
}
