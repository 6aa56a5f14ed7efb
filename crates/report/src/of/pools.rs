//! The control plane and the pools of workers, each with how it is.

use instar_api::{ClusterUpgrade, HealthLevel, HealthStatus, MachineUpgradePhase, PoolStatus, UpgradePhase};
use instar_capi::WorkerKind;
use kube::ResourceExt;
use serde_json::Value;

use super::ClusterObjects;
use crate::{Assessment, MachineRow, PoolKindName, PoolSection};

/// All of them.
pub(super) struct Sections {
    pub(super) control_plane: Option<PoolSection>,
    pub(super) workers: Vec<PoolSection>,
}

pub(super) fn of(objects: &ClusterObjects, record: Option<&ClusterUpgrade>, machines: &[MachineRow]) -> Sections {
    let upgrade = Upgrade::of(record);
    let control_plane = objects.control_plane.as_ref().map(|object| {
        let counted = machines.iter().filter(|machine| machine.control_plane);
        let mut section = control_plane(object);
        section.count(counted, upgrade.pool(""));
        section.assessment = upgrade.assess(&section);
        section
    });
    let deployments = objects.machine_deployments.iter().map(|deployment| {
        let spec = &deployment.spec;
        (
            WorkerKind::MachineDeployment,
            deployment.name_any(),
            spec.template.spec.version.clone(),
            spec.replicas,
        )
    });
    let pools = objects.machine_pools.iter().map(|pool| {
        let spec = &pool.spec;
        (
            WorkerKind::MachinePool,
            pool.name_any(),
            spec.template.spec.version.clone(),
            spec.replicas,
        )
    });
    let workers = deployments.chain(pools).map(|(kind, name, version, replicas)| {
        let mut section = empty(kind.as_str(), name.clone(), version, replicas);
        let counted = machines
            .iter()
            .filter(|machine| !machine.control_plane && machine.pool == name);
        section.count(counted, upgrade.pool(&name));
        section.assessment = upgrade.assess(&section);
        section
    });
    let mut workers: Vec<PoolSection> = workers.collect();
    workers.sort_by(|one, other| (&one.kind, &one.name).cmp(&(&other.kind, &other.name)));
    Sections { control_plane, workers }
}

/// By the contract, which every provider keeps.
/// Source: the contract of control plane providers in Cluster API's book: `spec.version`, `spec.replicas`.
fn control_plane(object: &Value) -> PoolSection {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let replicas = object.pointer("/spec/replicas").and_then(Value::as_u64);
    let replicas = replicas.and_then(|replicas| u32::try_from(replicas).ok());
    empty(&text("/kind"), text("/metadata/name"), text("/spec/version"), replicas)
}

fn empty(kind: &str, name: String, version: String, replicas: Option<u32>) -> PoolSection {
    PoolSection {
        kind: PoolKindName(kind.to_owned()),
        name,
        version,
        replicas,
        machines: 0,
        converged: 0,
        upgrading: 0,
        failed: 0,
        assessment: Assessment::Empty,
    }
}

impl PoolSection {
    /// The record's counts where it has any: it lists only some of the machines, and counts all.
    fn count<'a>(&mut self, machines: impl Iterator<Item = &'a MachineRow>, record: Option<&PoolStatus>) {
        for machine in machines {
            self.machines += 1;
            match machine.phase {
                MachineUpgradePhase::Failed => self.failed += 1,
                MachineUpgradePhase::Upgrading => self.upgrading += 1,
                MachineUpgradePhase::Pending => {}
                MachineUpgradePhase::Running => self.converged += 1,
            }
        }
        if let Some(record) = record {
            self.machines = record.machines;
            self.converged = record.converged;
            self.upgrading = record.upgrading;
            self.failed = record.failed;
        }
    }
}

/// What the record says, while it goes on.
struct Upgrade<'a> {
    pools: &'a [PoolStatus],
    health: &'a [HealthStatus],
    stands: bool,
}

impl<'a> Upgrade<'a> {
    fn of(record: Option<&'a ClusterUpgrade>) -> Self {
        let status = record.and_then(|record| record.status.as_ref());
        // A record that is over counts what was there at its end.
        let going = status.filter(|status| !status.phase.is_finished());
        Self {
            pools: going.map(|status| status.pools.as_slice()).unwrap_or_default(),
            health: status.map(|status| status.health.as_slice()).unwrap_or_default(),
            stands: record.is_some_and(|record| record.spec.paused)
                || going.is_some_and(|status| status.phase == UpgradePhase::Held),
        }
    }

    fn pool(&self, name: &str) -> Option<&'a PoolStatus> {
        self.pools.iter().find(|pool| pool.name == name)
    }

    fn assess(&self, pool: &PoolSection) -> Assessment {
        let mut errors = self.health.iter().filter(|row| row.level == HealthLevel::Error);
        let stalled = errors.any(|row| row.kind == pool.kind.0 && row.name == pool.name);
        if pool.machines == 0 && pool.replicas.is_none_or(|replicas| replicas == 0) {
            Assessment::Empty
        } else if pool.failed > 0 {
            Assessment::Degraded
        } else if pool.machines > 0 && pool.converged == pool.machines {
            Assessment::UpToDate
        } else if stalled {
            Assessment::Stalled
        } else if pool.upgrading > 0 {
            Assessment::Progressing
        } else if self.stands {
            Assessment::Held
        } else if pool.converged > 0 {
            // Between two machines.
            Assessment::Progressing
        } else {
            Assessment::Pending
        }
    }
}
