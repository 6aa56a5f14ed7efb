//! Gates of a policy, each of which opens and closes by chance.

use std::collections::{BTreeMap, BTreeSet};

use instar_api::{GATE_HISTORY_ANNOTATION, GatePoint};
use instar_planner::{
    AddonGate, AddonId, AddonOwner, AddonProblem, AddonState, Addons, AskedPoint, BeginGates, Decision, GateHistory,
    ResourceVersion, plan,
};

use super::{
    World,
    api::{Answer, compared},
    random::Random,
};

/// One gate at each of these points, and where they stand at each step.
#[derive(Debug, Clone, Default)]
pub struct WorldGates {
    pub points: BTreeSet<GatePoint>,
    pub states: BTreeMap<AskedPoint, AddonState>,
}

fn closed(message: &str) -> AddonState {
    AddonState::Closed {
        problem: AddonProblem::NotReady,
        message: message.to_owned(),
        until: None,
    }
}

fn id(point: &AskedPoint) -> AddonId {
    AddonId {
        owner: AddonOwner::Policy("p".to_owned()),
        name: "gate".to_owned(),
        when: point.when,
        version: point.version.clone(),
    }
}

impl World {
    /// What is known before anything is asked for.
    pub fn addons(&self) -> Addons {
        Addons {
            of_policies: self.addon_gates.points.clone(),
            ..Addons::default()
        }
    }

    /// What the gate of a point comes to.
    pub fn addon(&mut self, point: &AskedPoint) -> Vec<AddonGate> {
        let state = self.addon_gates.states.entry(point.clone()).or_insert(AddonState::Due);
        vec![AddonGate {
            id: id(point),
            kind: "DaemonSet".to_owned(),
            object: "gate".to_owned(),
            state: state.clone(),
        }]
    }

    /// What is decided at this moment, once all that is asked for is known.
    pub fn plan(&mut self) -> Decision {
        let mut snapshot = self.snapshot();
        loop {
            let decision = plan(&snapshot);
            let unseen: Vec<AskedPoint> = decision.unseen().cloned().collect();
            if unseen.is_empty() {
                return decision;
            }
            for point in unseen {
                let found = self.addon(&point);
                snapshot.addons.found.insert(point, found);
            }
        }
    }

    pub fn gates_change(&mut self, random: &mut Random) {
        for state in self.addon_gates.states.values_mut() {
            let chance = random.chance(20);
            match state {
                AddonState::Closed { .. } if chance => *state = AddonState::Open,
                AddonState::Open if random.chance(5) => *state = closed("it fell over"),
                AddonState::Due | AddonState::Closed { .. } | AddonState::Open => {}
            }
        }
    }

    pub fn begin_gates(&mut self, begin: &BeginGates) -> Answer {
        let Some(patch) = compared(&begin.patch, &self.upgrade_spec.resource_version) else {
            return Answer::Conflict;
        };
        let text = patch["metadata"]["annotations"][GATE_HISTORY_ANNOTATION]
            .as_str()
            .unwrap();
        self.upgrade_spec.gate_history = GateHistory::from_annotation(text);
        self.upgrade_spec.resource_version = ResourceVersion(self.next_name("rv"));
        for (point, state) in &mut self.addon_gates.states {
            if begin.gates.contains(&id(point)) && *state == AddonState::Due {
                *state = closed("it is on its way");
            }
        }
        Answer::Done
    }
}
