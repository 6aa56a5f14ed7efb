//! No MachineDeployment is replacing machines.

use instar_planner::{ConditionStatus, Problem, Snapshot, WorkerKind};

use super::{condition, each};
use crate::finding::Finding;

const ROLLING_OUT: &str = "RollingOut";

pub(super) fn look(snapshot: &Snapshot) -> Finding {
    Finding::of_all(each(&snapshot.pools, |pool| {
        let object = &pool.object;
        let problem = |message: String| Problem::of_worker(WorkerKind::MachineDeployment, &object.name, message);
        if object.observed_generation < object.generation {
            return Finding::Unknown(problem(format!(
                "the status of MachineDeployment {} describes generation {}, and not {} yet",
                object.name, object.observed_generation, object.generation
            )));
        }
        match condition(object, ROLLING_OUT) {
            Some(rolling) if rolling.status == ConditionStatus::True => {
                let said: Vec<&str> = rolling.message.split_whitespace().collect();
                Finding::Fail(problem(format!(
                    "MachineDeployment {} is replacing machines: {}",
                    object.name,
                    said.join(" ")
                )))
            }
            Some(_) | None => Finding::Pass,
        }
    }))
}
