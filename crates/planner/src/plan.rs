//! What next?
//!
//! The control plane goes first, one release at a time, and only while the workers may stay where
//! they are. Workers move where the next step would leave them too far behind, and at the end.
//! What is old is deleted when all is done.

mod control_plane;
mod goal;
mod progress;
mod retire;
mod scene;
mod template;
mod workers;

use self::{goal::Goal, scene::Scene, workers::Turn};
pub(crate) use self::{
    goal::is_older,
    scene::{of_cluster, of_wish},
};
use crate::{
    decision::{Action, Decision, Progress, Stage, Waiting},
    snapshot::Snapshot,
    wish::{Gate, GateState},
};

/// What a look at one part of the cluster comes to.
enum Next {
    /// This write.
    Write(Box<Action>),
    /// Nothing before something else has happened.
    Wait,
    /// There is nothing more to do here.
    Done,
}

/// Decides. The snapshot may be old: what is written carries the compare that refuses it then.
#[must_use]
pub fn plan(snapshot: &Snapshot) -> Decision {
    let scene = match Scene::read(snapshot) {
        Ok(scene) => scene,
        Err(waiting) => return Decision::held(waiting),
    };
    let mut waiting = Vec::new();
    let goal = match Goal::find(&scene, &mut waiting) {
        Ok(goal) => goal,
        Err(reason) => {
            waiting.push(reason);
            return decide(&scene, None, Stage::Held, Action::Nothing, waiting);
        }
    };
    let (stage, action) = go(&scene, &goal, &mut waiting);
    decide(&scene, Some(&goal), stage, action, waiting)
}

/// Deletes what upgrades that are over have left behind. What they asked for isn't looked at: who
/// refers to a template is all that counts, so the record of an upgrade may be gone.
#[must_use]
pub fn sweep(snapshot: &Snapshot) -> Decision {
    let scene = match Scene::read(snapshot) {
        Ok(scene) => scene,
        Err(waiting) => return Decision::held(waiting),
    };
    let mut waiting = Vec::new();
    let action = match retire::next(&scene, &mut waiting) {
        Next::Write(action) => *action,
        Next::Wait | Next::Done => Action::Nothing,
    };
    decide(&scene, None, Stage::Complete, action, waiting)
}

fn go(scene: &Scene<'_>, goal: &Goal<'_>, waiting: &mut Vec<Waiting>) -> (Stage, Action) {
    match control_plane::next(scene, goal, waiting) {
        Next::Write(action) => return (Stage::ControlPlane, *action),
        Next::Wait => return (Stage::ControlPlane, Action::Nothing),
        Next::Done => {}
    }
    let turn = Turn {
        pools: scene.pools.clone(),
        demand: goal.demand,
    };
    match workers::next(scene, &turn, waiting) {
        Next::Write(action) => (Stage::Workers, *action),
        Next::Wait => (Stage::Workers, Action::Nothing),
        Next::Done => match retire::next(scene, waiting) {
            Next::Write(action) => (Stage::Complete, *action),
            Next::Wait | Next::Done => (Stage::Complete, Action::Nothing),
        },
    }
}

fn decide(scene: &Scene<'_>, goal: Option<&Goal<'_>>, stage: Stage, action: Action, waiting: Vec<Waiting>) -> Decision {
    Decision {
        action,
        waiting,
        progress: Progress {
            stage,
            path: goal.map_or_else(Vec::new, Goal::names),
            pools: progress::pools(scene, goal),
            templates: progress::templates(scene, stage),
        },
    }
}

/// Whether every gate is open; those that aren't are named.
fn gates_open(scene: &Scene<'_>, gates: &[Gate], waiting: &mut Vec<Waiting>) -> bool {
    let before = waiting.len();
    for gate in gates {
        match scene.snapshot.gates.get(gate) {
            None | Some(GateState::Open) => {}
            Some(GateState::Closed { reason }) => waiting.push(Waiting::GateClosed {
                gate: *gate,
                reason: reason.clone(),
            }),
        }
    }
    waiting.len() == before
}
