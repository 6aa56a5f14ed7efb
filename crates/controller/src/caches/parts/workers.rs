//! MachineDeployments, MachineSets and MachinePools.

use std::sync::Arc;

use instar_capi as capi;
use instar_domain::KubeVersion;
use instar_planner::{MachineDeployment, MachinePool, MachineSet, ManagedBy, Rollout, Unversioned, WorkerKind};
use instar_watch::{Cache, Presence};
use kube::ResourceExt;

use super::{KeptPart, NoPart, PlannedKind, object};
use crate::{
    caches::{Cached, Caches, DEPLOYMENT_LABEL, lifecycle},
    fields::{template_ref, version},
    rbac::Watched,
};

impl Cached for capi::MachineDeployment {
    const WATCHED: Watched = Watched::MachineDeployments;

    type Kept = KeptPart<Self>;

    fn cache(caches: &Caches) -> &Arc<Cache<Self::Kept>> {
        &caches.deployments
    }
}

impl PlannedKind for capi::MachineDeployment {
    type Part = MachineDeployment;

    fn cluster(&self) -> Option<&str> {
        Some(&self.spec.cluster_name)
    }

    fn part(&self) -> Result<MachineDeployment, NoPart> {
        let machines = &self.spec.template.spec;
        let status = self.status.clone().unwrap_or_default();
        Ok(MachineDeployment {
            object: object(self, self.spec.paused, status.observed_generation, &status.conditions),
            labels: self.spec.template.metadata.labels.clone(),
            version: worker_version(WorkerKind::MachineDeployment, self.name_any(), None, machines)?,
            infrastructure: template_ref(&machines.infrastructure_ref),
            bootstrap: machines.bootstrap.config_ref.as_ref().map(template_ref),
            rollout: match self.spec.rollout.strategy.kind.as_str() {
                "OnDelete" => Rollout::OnDelete,
                _ => Rollout::Rolling,
            },
        })
    }
}

impl Cached for capi::MachineSet {
    const WATCHED: Watched = Watched::MachineSets;

    type Kept = KeptPart<Self>;

    fn cache(caches: &Caches) -> &Arc<Cache<Self::Kept>> {
        &caches.sets
    }
}

impl PlannedKind for capi::MachineSet {
    type Part = MachineSet;

    fn cluster(&self) -> Option<&str> {
        Some(&self.spec.cluster_name)
    }

    fn part(&self) -> Result<MachineSet, NoPart> {
        let machines = &self.spec.template.spec;
        let pool = self.labels().get(DEPLOYMENT_LABEL).cloned();
        Ok(MachineSet {
            name: self.name_any(),
            version: worker_version(WorkerKind::MachineSet, self.name_any(), pool.clone(), machines)?,
            pool,
            infrastructure: template_ref(&machines.infrastructure_ref),
            bootstrap: machines.bootstrap.config_ref.as_ref().map(template_ref),
            replicas: self.spec.replicas.unwrap_or(1),
            lifecycle: lifecycle(self, false),
        })
    }
}

impl Cached for capi::MachinePool {
    const WATCHED: Watched = Watched::MachinePools;
    const PRESENCE: Presence = Presence::Optional;

    type Kept = KeptPart<Self>;

    fn cache(caches: &Caches) -> &Arc<Cache<Self::Kept>> {
        &caches.machine_pools
    }
}

impl PlannedKind for capi::MachinePool {
    type Part = MachinePool;

    fn cluster(&self) -> Option<&str> {
        Some(&self.spec.cluster_name)
    }

    fn part(&self) -> Result<MachinePool, NoPart> {
        let status = self.status.as_ref();
        let observed = status.map(|status| &*status.versions).unwrap_or_default();
        Ok(MachinePool {
            name: self.name_any(),
            version: worker_version(WorkerKind::MachinePool, self.name_any(), None, &self.spec.template.spec)?,
            observed: observed
                .iter()
                .filter_map(|count| version(&count.version).ok())
                .collect(),
            managed_by: ManagedBy::of(self.labels()),
        })
    }
}

/// The version of machines, which Cluster API doesn't ask for.
fn worker_version(
    kind: WorkerKind,
    name: String,
    maker: Option<String>,
    machines: &capi::MachineSpec,
) -> Result<KubeVersion, NoPart> {
    if !machines.version.is_empty() {
        return Ok(version(&machines.version)?);
    }
    let bootstrap = machines.bootstrap.config_ref.iter();
    let templates = std::iter::once(&machines.infrastructure_ref).chain(bootstrap);
    Err(NoPart::Unversioned(Unversioned {
        kind,
        name,
        maker,
        templates: templates.map(template_ref).collect(),
    }))
}
