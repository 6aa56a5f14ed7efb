//! The machines of all pools are ready.

use instar_capi as capi;
use instar_planner::{MachinePhase, Observed, PoolId, Problem, Snapshot, WorkerKind};

use super::{each, ought_to_be_true};
use crate::finding::Finding;

pub(super) fn look(snapshot: &Snapshot) -> Finding {
    let pools = each(&snapshot.pools, |pool| {
        ought_to_be_true(&pool.object, capi::Condition::MACHINES_READY)
    });
    let machine_pools = each(&snapshot.machine_pools, |pool| {
        ought_to_be_true(&pool.object, capi::Condition::MACHINES_READY)
    });
    Finding::of_all(pools.chain(machine_pools).chain(failed(snapshot)))
}

/// The Machines of workers that have failed. Also before Cluster API v1.9, which has no condition of pools, they say so.
fn failed(snapshot: &Snapshot) -> impl Iterator<Item = Finding> {
    let machines = snapshot.machines.iter().filter_map(Observed::read);
    let failed =
        machines.filter(|machine| machine.phase == MachinePhase::Failed && machine.pool != Some(PoolId::ControlPlane));
    failed.map(|machine| {
        let message = format!("Machine {} has failed", machine.name);
        Finding::Fail(Problem::of_worker(WorkerKind::Machine, &machine.name, message))
    })
}
