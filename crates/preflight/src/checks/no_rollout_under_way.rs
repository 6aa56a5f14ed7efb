//! No MachineDeployment is replacing machines.

use instar_capi as capi;
use instar_planner::{ConditionStatus, Problem, Snapshot, WorkerKind};

use super::{condition, each};
use crate::finding::{Finding, one_line};

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
        match condition(object, capi::Condition::ROLLING_OUT) {
            Some(rolling) if rolling.status == ConditionStatus::True => Finding::Fail(problem(format!(
                "MachineDeployment {} is replacing machines: {}",
                object.name,
                one_line(&rolling.message)
            ))),
            Some(_) | None => Finding::Pass,
        }
    }))
}
