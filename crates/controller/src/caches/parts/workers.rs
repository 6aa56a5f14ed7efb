//! MachineDeployments, MachineSets and MachinePools.

use std::{collections::BTreeMap, sync::Arc};

use instar_api::{HELD_ANNOTATION, LEFT_ANNOTATION};
use instar_capi::{
    self as capi,
    labels::{PAUSED, SKIP_PREFLIGHT_CHECKS},
};
use instar_domain::KubeVersion;
use instar_planner::{
    DrainTimeout, JoinRule, LeftMark, Lifecycle, MachineDeployment, MachinePool, MachineSet, PauseMark, PausedBy,
    Replicas, Rollout, Unversioned, WorkerKind,
};
use instar_watch::{Cache, Presence};
use jiff::Timestamp;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};

use super::{KeptPart, NoPart, ObjectFields, PlannedKind};
use crate::{
    caches::{Cached, Caches, DEPLOYMENT_LABEL, lifecycle},
    fields::{observed_generation, template_ref, version},
    rbac::Watched,
};

impl Cached for capi::MachineDeployment {
    const WATCHED: Watched = Watched::MachineDeployments;

    type Kept = KeptPart<Self>;

    fn cache(caches: &Caches) -> &Arc<Cache<Self::Kept>> {
        &caches.deployments
    }
}

/// What is read of the machines that a pool makes.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct MachineFields {
    #[serde(rename = "v")]
    version: String,
    #[serde(rename = "i")]
    infrastructure: capi::Reference,
    #[serde(rename = "b")]
    bootstrap: Option<capi::Reference>,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    drain_timeout: Option<i64>,
}

impl MachineFields {
    fn of(machines: &capi::MachineSpec) -> Self {
        Self {
            version: machines.version.clone(),
            infrastructure: machines.infrastructure_ref.clone(),
            bootstrap: machines.bootstrap.config_ref.clone(),
            drain_timeout: machines.deletion.node_drain_timeout_seconds,
        }
    }

    /// The version of machines, which Cluster API doesn't ask for.
    fn version(&self, kind: WorkerKind, name: &str, maker: Option<&str>) -> Result<KubeVersion, NoPart> {
        if !self.version.is_empty() {
            return Ok(version(&self.version)?);
        }
        let templates = std::iter::once(&self.infrastructure).chain(&self.bootstrap);
        Err(NoPart::Unversioned(Unversioned {
            kind,
            name: name.to_owned(),
            maker: maker.map(str::to_owned),
            templates: templates.map(template_ref).collect(),
        }))
    }
}

/// Of a MachineDeployment, the fields that are read.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct DeploymentFields {
    #[serde(rename = "o")]
    object: ObjectFields,
    #[serde(rename = "m")]
    machines: MachineFields,
    #[serde(rename = "a")]
    labels: BTreeMap<String, String>,
    #[serde(rename = "n")]
    replicas: u32,
    /// How machines are replaced.
    #[serde(rename = "t")]
    strategy: String,
    /// The mark of an upgrade that holds it.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    held: Option<String>,
    /// Our mark in the annotation by which Cluster API pauses it.
    #[serde(rename = "z", default, skip_serializing_if = "Option::is_none")]
    rollout_paused: Option<String>,
    /// The checks that Cluster API skips before it makes a machine.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    skipped_checks: Option<String>,
    /// `spec.rollout.after`, in seconds of Unix time.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    rollout_after: Option<i64>,
}

impl PlannedKind for capi::MachineDeployment {
    type Fields = DeploymentFields;
    type Part = MachineDeployment;

    fn cluster(&self) -> Option<&str> {
        Some(&self.spec.cluster_name)
    }

    fn fields(&self) -> DeploymentFields {
        let (observed_generation, conditions) = match &self.status {
            Some(status) => (status.observed_generation, &*status.conditions),
            None => (0, &[][..]),
        };
        let mut object = ObjectFields::of(self, self.spec.paused, observed_generation, conditions);
        let paused = self.annotations().get(PAUSED);
        let rollout_paused = paused.filter(|text| PausedBy::of(Some(text)).mark().is_some()).cloned();
        if rollout_paused.is_some() && object.lifecycle == Lifecycle::Paused && !self.spec.paused {
            object.lifecycle = Lifecycle::Active;
        }
        DeploymentFields {
            object,
            machines: MachineFields::of(&self.spec.template.spec),
            labels: self.spec.template.metadata.labels.clone(),
            replicas: self.spec.replicas.unwrap_or(1),
            strategy: self.spec.rollout.strategy.kind.clone(),
            held: self.annotations().get(HELD_ANNOTATION).cloned(),
            rollout_paused,
            skipped_checks: self.annotations().get(SKIP_PREFLIGHT_CHECKS).cloned(),
            rollout_after: self.spec.rollout.after.as_ref().map(|time| time.0.as_second()),
        }
    }

    fn part(name: &str, fields: DeploymentFields) -> Result<MachineDeployment, NoPart> {
        let machines = fields.machines;
        Ok(MachineDeployment {
            version: machines.version(WorkerKind::MachineDeployment, name, None)?,
            object: fields.object.object::<Self>(name),
            labels: fields.labels,
            infrastructure: template_ref(&machines.infrastructure),
            bootstrap: machines.bootstrap.as_ref().map(template_ref),
            replicas: fields.replicas,
            rollout: match fields.strategy.as_str() {
                "OnDelete" => Rollout::OnDelete,
                _ => Rollout::Rolling,
            },
            joins: joins(machines.bootstrap.as_ref(), fields.skipped_checks.as_deref()),
            held: fields.held.as_deref().map(PauseMark::of_held),
            rollout_paused: fields.rollout_paused.as_deref().and_then(PauseMark::from_annotation),
            drain_timeout: DrainTimeout::of(machines.drain_timeout),
            rollout_after: at(fields.rollout_after),
        })
    }
}

/// A time in whole seconds, which is all that an API server keeps.
pub(super) fn at(seconds: Option<i64>) -> Option<Timestamp> {
    seconds.and_then(|seconds| Timestamp::from_second(seconds).ok())
}

/// Whether Cluster API makes machines of another minor than the control plane's: `machineset_preflight.go` asks it of
/// kubeadm alone, and not where it is skipped.
fn joins(bootstrap: Option<&capi::Reference>, skipped: Option<&str>) -> JoinRule {
    let by_kubeadm = bootstrap.is_some_and(|template| {
        template.kind == "KubeadmConfigTemplate" && template_ref(template).group == "bootstrap.cluster.x-k8s.io"
    });
    let mut skipped = skipped.unwrap_or_default().split(',').map(str::trim);
    if by_kubeadm && !skipped.any(|check| check == "All" || check == "KubeadmVersionSkew") {
        JoinRule::SameMinor
    } else {
        JoinRule::AnyMinor
    }
}

/// The same of a MachinePool, of which Cluster API checks nothing: what kubeadm can't join never comes up.
fn joins_in_place(bootstrap: Option<&capi::Reference>) -> JoinRule {
    let by_kubeadm = bootstrap.is_some_and(|config| {
        config.kind == "KubeadmConfig" && template_ref(config).group == "bootstrap.cluster.x-k8s.io"
    });
    if by_kubeadm {
        JoinRule::SameMinor
    } else {
        JoinRule::AnyMinor
    }
}

impl Cached for capi::MachineSet {
    const WATCHED: Watched = Watched::MachineSets;

    type Kept = KeptPart<Self>;

    fn cache(caches: &Caches) -> &Arc<Cache<Self::Kept>> {
        &caches.sets
    }
}

/// Of a MachineSet, the fields that are read.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct SetFields {
    #[serde(rename = "m")]
    machines: MachineFields,
    /// Its MachineDeployment.
    #[serde(rename = "p")]
    pool: Option<String>,
    #[serde(rename = "n")]
    replicas: u32,
    #[serde(rename = "l")]
    lifecycle: Lifecycle,
    /// When it was made, in seconds of Unix time.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    created: Option<i64>,
    /// Why none of its machines is made.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    blocked: Option<String>,
}

impl PlannedKind for capi::MachineSet {
    type Fields = SetFields;
    type Part = MachineSet;

    fn cluster(&self) -> Option<&str> {
        Some(&self.spec.cluster_name)
    }

    fn fields(&self) -> SetFields {
        SetFields {
            machines: MachineFields::of(&self.spec.template.spec),
            pool: self.labels().get(DEPLOYMENT_LABEL).cloned(),
            replicas: self.spec.replicas.unwrap_or(1),
            lifecycle: lifecycle(self, false),
            created: self.metadata.creation_timestamp.as_ref().map(|time| time.0.as_second()),
            blocked: self
                .status
                .as_ref()
                .and_then(|status| status.blocked())
                .map(str::to_owned),
        }
    }

    fn part(name: &str, fields: SetFields) -> Result<MachineSet, NoPart> {
        let machines = fields.machines;
        Ok(MachineSet {
            name: name.to_owned(),
            version: machines.version(WorkerKind::MachineSet, name, fields.pool.as_deref())?,
            pool: fields.pool,
            infrastructure: template_ref(&machines.infrastructure),
            bootstrap: machines.bootstrap.as_ref().map(template_ref),
            replicas: fields.replicas,
            lifecycle: fields.lifecycle,
            created: at(fields.created),
            blocked: fields.blocked,
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

/// Of a MachinePool, the fields that are read.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct MachinePoolFields {
    #[serde(rename = "m")]
    machines: MachineFields,
    /// What its machines run.
    #[serde(rename = "w")]
    running: Vec<String>,
    #[serde(rename = "o")]
    object: ObjectFields,
    #[serde(rename = "p")]
    paused: Option<String>,
    #[serde(rename = "f")]
    left: Option<String>,
    #[serde(rename = "a")]
    labels: BTreeMap<String, String>,
    /// How many machines there should be, are, are ready and are as the spec says.
    #[serde(rename = "n")]
    replicas: Option<[u32; 4]>,
}

impl PlannedKind for capi::MachinePool {
    type Fields = MachinePoolFields;
    type Part = MachinePool;

    fn cluster(&self) -> Option<&str> {
        Some(&self.spec.cluster_name)
    }

    fn fields(&self) -> MachinePoolFields {
        let running = self.status.iter().flat_map(|status| &status.versions);
        let status = self.status.clone().unwrap_or_default();
        let annotation = |name: &str| self.annotations().get(name).cloned();
        let mut conditions = status.conditions.iter();
        let paused = conditions.find(|condition| condition.kind == "Paused");
        let observed = observed_generation(status.observed_generation, paused);
        let mut object = ObjectFields::of(self, false, observed, &status.conditions);
        object
            .conditions
            .retain(|condition| condition.kind == capi::Condition::MACHINES_READY);
        // That it isn't paused counts too, and which words it has for it doesn't.
        object.conditions.extend(paused.map(|condition| capi::Condition {
            message: String::new(),
            ..condition.clone()
        }));
        MachinePoolFields {
            machines: MachineFields::of(&self.spec.template.spec),
            running: running.map(|count| count.version.clone()).collect(),
            object,
            paused: annotation(PAUSED),
            left: annotation(LEFT_ANNOTATION),
            labels: self.spec.template.metadata.labels.clone(),
            replicas: self.spec.replicas.map(|desired| {
                let counted = [status.replicas, status.ready_replicas, status.up_to_date_replicas];
                let [total, ready, up_to_date] = counted.map(Option::unwrap_or_default);
                [desired, total, ready, up_to_date]
            }),
        }
    }

    fn part(name: &str, fields: MachinePoolFields) -> Result<MachinePool, NoPart> {
        let running = fields.running.iter().filter_map(|text| version(text).ok());
        let machines = &fields.machines;
        Ok(MachinePool {
            version: machines.version(WorkerKind::MachinePool, name, None)?,
            observed: running.collect(),
            infrastructure: template_ref(&machines.infrastructure),
            joins: joins_in_place(machines.bootstrap.as_ref()),
            object: fields.object.object::<Self>(name),
            paused_by: PausedBy::of(fields.paused.as_deref()),
            left: fields.left.as_deref().and_then(LeftMark::from_annotation),
            labels: fields.labels,
            replicas: fields.replicas.map(|[desired, total, ready, up_to_date]| Replicas {
                desired,
                total,
                ready,
                up_to_date,
            }),
        })
    }
}
