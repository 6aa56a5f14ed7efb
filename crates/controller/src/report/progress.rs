//! The pools, their machines and the templates, in lists that stay short however many there are.

use instar_api::{MachineDetail, MachineUpgradePhase, MintedTemplate, PoolStatus, TemplateUse, UpgradePhase};
use instar_planner::{MachineProgress, MachineState, PoolId, PoolProgress, Progress, TemplateProgress, TemplateState};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// What the schema takes.
const LISTED: usize = 256;
/// Of one pool's machines.
const OF_POOL: usize = 32;
/// Of all machines: a status is written again each time one of them is done.
const OF_ALL: usize = 256;

/// How many machines have got there, of how many.
pub(super) fn machines(progress: &Progress) -> String {
    let converged: usize = progress.pools.iter().map(PoolProgress::converged).sum();
    let all: usize = progress.pools.iter().map(|pool| pool.machines.len()).sum();
    format!("{converged}/{all}")
}

/// The pools. Machines that aren't there yet, of any pool, come before those that are.
pub(super) fn pools(progress: &Progress) -> Vec<PoolStatus> {
    let mut left = OF_ALL;
    let pools = progress.pools.iter().take(LISTED);
    let mut listed: Vec<(PoolStatus, &PoolProgress)> = pools
        .map(|pool| {
            let mut status = without_machines(pool);
            list(&mut status, pool, &mut left, |state| !is_there(state));
            (status, pool)
        })
        .collect();
    for (status, pool) in &mut listed {
        list(status, pool, &mut left, is_there);
        status.unlisted = count(pool.machines.len().saturating_sub(status.machine_details.len()));
    }
    listed.into_iter().map(|(status, _)| status).collect()
}

/// The pools as a record in this phase tells of them: one that is over has the counts alone, since it is kept for long.
pub(super) fn of_phase(phase: UpgradePhase, mut pools: Vec<PoolStatus>) -> Vec<PoolStatus> {
    if phase.is_finished() {
        for pool in &mut pools {
            pool.unlisted = 0;
            pool.machine_details = Vec::new();
        }
    }
    pools
}

fn without_machines(pool: &PoolProgress) -> PoolStatus {
    PoolStatus {
        name: match &pool.pool {
            PoolId::ControlPlane => String::new(),
            PoolId::Workers(name) | PoolId::MachinePool(name) => name.clone(),
        },
        version: pool.version.to_string(),
        machines: count(pool.machines.len()),
        converged: count(pool.converged()),
        upgrading: count(pool.count(MachineState::Upgrading)),
        failed: count(pool.count(MachineState::Failed)),
        ..PoolStatus::default()
    }
}

fn list(status: &mut PoolStatus, pool: &PoolProgress, left: &mut usize, which: impl Fn(MachineState) -> bool) {
    let room = OF_POOL.saturating_sub(status.machine_details.len()).min(*left);
    let machines = pool.machines.iter().filter(|machine| which(machine.state));
    let before = status.machine_details.len();
    status.machine_details.extend(machines.take(room).map(detail));
    *left -= status.machine_details.len() - before;
}

fn is_there(state: MachineState) -> bool {
    match state {
        MachineState::Running => true,
        MachineState::Failed | MachineState::Upgrading | MachineState::Pending => false,
    }
}

fn detail(machine: &MachineProgress) -> MachineDetail {
    MachineDetail {
        name: machine.name.clone(),
        node: machine.node.clone().unwrap_or_default(),
        phase: match machine.state {
            MachineState::Failed => MachineUpgradePhase::Failed,
            MachineState::Upgrading => MachineUpgradePhase::Upgrading,
            MachineState::Pending => MachineUpgradePhase::Pending,
            MachineState::Running => MachineUpgradePhase::Running,
        },
        version: machine.version.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

/// The templates that were minted, what each is there for, and until when.
pub(crate) fn templates(progress: &Progress) -> Vec<MintedTemplate> {
    let templates = progress.templates.iter().take(LISTED);
    templates.map(minted).collect()
}

fn minted(minted: &TemplateProgress) -> MintedTemplate {
    let (state, until) = match minted.state {
        TemplateState::InUse => (TemplateUse::InUse, None),
        TemplateState::InMachineSet => (TemplateUse::InMachineSet, None),
        TemplateState::Previous { until } => (TemplateUse::Kept, until),
        TemplateState::Unused { until } => (TemplateUse::Unused, until),
    };
    MintedTemplate {
        kind: minted.template.kind.clone(),
        name: minted.template.name.clone(),
        release: minted.release.clone(),
        state,
        kept_until: until.map(whole_seconds),
    }
}

/// As the API server keeps a time: what is read back is then what was written.
pub(super) fn whole_seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

pub(super) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
pub(super) mod tests;
