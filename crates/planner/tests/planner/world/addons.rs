//! Gates of a policy, each of which opens and closes by chance.

use std::collections::{BTreeMap, BTreeSet};

use instar_api::{GATE_HISTORY_ANNOTATION, GatePoint};
use instar_planner::{
    AddonGate, AddonId, AddonOwner, AddonProblem, AddonState, Addons, AskedPoint, BeginGates, Decision, GateHistory,
    Operation, ResourceVersion, SetAddon, ValueBefore, plan,
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
    pub sets: Sets,
    /// What the gates have set, one after the other.
    pub value: String,
    /// On the way back: what was set for the upgrade, and where what goes back stands.
    pub taken_back: Vec<SetAddon>,
    pub back: BTreeMap<AskedPoint, AddonState>,
}

/// Whether the gates set something when their turn comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sets {
    #[default]
    Nothing,
    /// The name of their point.
    Something,
}

fn closed(message: &str) -> AddonState {
    AddonState::Closed {
        problem: AddonProblem::NotReady,
        message: message.to_owned(),
        until: None,
    }
}

fn id(point: &AskedPoint, sets: Sets) -> AddonId {
    let policy = || AddonOwner::Policy("p".to_owned());
    AddonId {
        owner: match (sets, &point.release) {
            (Sets::Something, Some(release)) => AddonOwner::Release(release.clone()),
            (Sets::Something, None) | (Sets::Nothing, _) => policy(),
        },
        name: "gate".to_owned(),
        when: point.when,
        version: point.version.clone(),
    }
}

impl World {
    /// What is known before anything is asked for.
    pub fn addons(&self) -> Addons {
        let gates = &self.addon_gates;
        match self.upgrade_spec.operation {
            Operation::Upgrade | Operation::Refresh | Operation::Abort | Operation::Restart => Addons {
                of_policies: gates.points.clone(),
                ..Addons::default()
            },
            Operation::Rollback(_) => Addons {
                taken_back: Some(gates.taken_back.clone()),
                ..Addons::default()
            },
        }
    }

    /// What the gate of a point comes to.
    pub fn addon(&mut self, point: &AskedPoint) -> Vec<AddonGate> {
        let gates = &mut self.addon_gates;
        let state = match self.upgrade_spec.operation {
            Operation::Upgrade | Operation::Refresh | Operation::Abort | Operation::Restart => {
                gates.states.entry(point.clone()).or_insert_with(|| {
                    AddonState::Due(match gates.sets {
                        Sets::Nothing => None,
                        Sets::Something => Some(ValueBefore::Value(gates.value.as_str().into())),
                    })
                })
            }
            Operation::Rollback(_) => gates.back.entry(point.clone()).or_insert(AddonState::Due(None)),
        };
        if let AddonState::Due(Some(before)) = state {
            *before = ValueBefore::Value(gates.value.as_str().into());
        }
        vec![AddonGate {
            id: id(point, gates.sets),
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
        let gates = &mut self.addon_gates;
        for state in gates.states.values_mut().chain(gates.back.values_mut()) {
            let chance = random.chance(20);
            match state {
                AddonState::Closed { .. } if chance => *state = AddonState::Open,
                AddonState::Open if random.chance(5) => *state = closed("it fell over"),
                AddonState::Due(_) | AddonState::Closed { .. } | AddonState::Open => {}
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
        let gates = &mut self.addon_gates;
        let sets = gates.sets;
        for (point, state) in gates.states.iter_mut().chain(&mut gates.back) {
            let id = id(point, sets);
            if begin.gates.contains(&id) && matches!(state, AddonState::Due(_)) {
                *state = closed("it is on its way");
                let set = gates.taken_back.iter().find(|set| set.id == id);
                match (set.map(|set| &set.before), sets) {
                    (Some(ValueBefore::Value(before)), _) => gates.value = before.as_str().unwrap().to_owned(),
                    (Some(_), _) | (None, Sets::Nothing) => {}
                    (None, Sets::Something) => gates.value = format!("{} {}", point.when, point.version),
                }
            }
        }
        Answer::Done
    }
}
