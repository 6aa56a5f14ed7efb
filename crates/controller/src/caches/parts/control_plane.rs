//! A KubeadmControlPlane.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use instar_capi::{
    ClusterConfiguration, ComponentSetting, Condition, ControlPlaneStatus, KubeadmAddon, KubeadmControlPlane,
    Reference, Rollout, labels::CLUSTER_NAME,
};
use instar_planner::{Contract, ControlPlane, DrainTimeout, Flavor, Replicas};
use instar_preflight::is_judged;
use instar_watch::{Cache, Presence};
use kube::ResourceExt;
use serde::{Deserialize, Serialize};

use super::{KeptPart, NoPart, ObjectFields, PlannedKind, workers::at};
use crate::{
    caches::{Cached, Caches},
    fields::{template_ref, version},
    rbac::Watched,
};

/// A condition that is written only after all Machines have been compared with the spec.
/// Source: `reconcileControlPlaneAndMachinesConditions` of cluster-api's `kubeadmcontrolplane_controller.go`.
const COMPONENTS: &str = "ControlPlaneComponentsHealthy";

impl Cached for KubeadmControlPlane {
    const WATCHED: Watched = Watched::KubeadmControlPlanes;
    const PRESENCE: Presence = Presence::Optional;

    type Kept = KeptPart<Self>;

    fn cache(caches: &Caches) -> &Arc<Cache<Self::Kept>> {
        &caches.control_planes
    }
}

/// Of a KubeadmControlPlane, the fields that are read.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct ControlPlaneFields {
    #[serde(rename = "o")]
    object: ObjectFields,
    #[serde(rename = "a")]
    labels: BTreeMap<String, String>,
    #[serde(rename = "v")]
    version: String,
    /// What its machines run.
    #[serde(rename = "w")]
    running: Vec<String>,
    #[serde(rename = "i")]
    infrastructure: Option<Reference>,
    #[serde(rename = "k")]
    cluster_configuration: ClusterConfiguration,
    /// Those that a check reads, which are few.
    #[serde(rename = "s", default, skip_serializing_if = "Vec::is_empty")]
    settings: Vec<ComponentSetting>,
    #[serde(rename = "n")]
    replicas: Counts,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    drain_timeout: Option<i64>,
    #[serde(rename = "p", default, skip_serializing_if = "BTreeSet::is_empty")]
    skipped_addons: BTreeSet<KubeadmAddon>,
    /// `spec.rollout.after`, in seconds of Unix time.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    rollout_after: Option<i64>,
}

/// Its machines: desired, total, ready, up to date.
#[derive(Serialize, Deserialize, Debug)]
struct Counts(u32, u32, u32, u32);

impl PlannedKind for KubeadmControlPlane {
    type Fields = ControlPlaneFields;
    type Part = ControlPlane;

    /// Cluster API puts the label on what a Cluster refers to.
    fn cluster(&self) -> Option<&str> {
        self.labels().get(CLUSTER_NAME).map(String::as_str)
    }

    fn fields(&self) -> ControlPlaneFields {
        let (status, rollout) = (self.status.clone().unwrap_or_default(), self.rollout());
        let seen = compared(&status);
        let counted = status.versions.iter().filter(|count| count.replicas != Some(0));
        let mut running: Vec<String> = counted.map(|count| count.version.clone()).collect();
        if running.is_empty() {
            running.extend(status.version);
        }
        let settings = &self.spec.kubeadm_config_spec.settings;
        ControlPlaneFields {
            object: ObjectFields::of(self, false, seen, &status.conditions),
            labels: self.spec.machine_template.metadata.labels.clone(),
            version: self.spec.version.clone(),
            running,
            infrastructure: self.spec.machine_template.template().cloned(),
            cluster_configuration: self.spec.kubeadm_config_spec.cluster_configuration.clone(),
            settings: settings.iter().filter(|setting| is_judged(setting)).cloned().collect(),
            replicas: Counts(
                // Cluster API's own default.
                self.spec.replicas.unwrap_or(1),
                status.replicas.unwrap_or_default(),
                status.ready_replicas.unwrap_or_default(),
                // Its counts know no marks of kubelets, and are written after the condition.
                match rollout {
                    Rollout::Done => status.replicas,
                    Rollout::UnderWay | Rollout::Unobserved => status.up_to_date_replicas,
                }
                .unwrap_or_default(),
            ),
            drain_timeout: self.spec.machine_template.spec.deletion.node_drain_timeout_seconds,
            skipped_addons: KubeadmAddon::ALL
                .into_iter()
                .filter(|addon| self.annotations().contains_key(addon.skip_annotation()))
                .collect(),
            rollout_after: self.spec.rollout.after.as_ref().map(|time| time.0.as_second()),
        }
    }

    fn part(name: &str, fields: ControlPlaneFields) -> Result<ControlPlane, NoPart> {
        let running = fields.running.iter().map(|text| version(text));
        let Counts(desired, total, ready, up_to_date) = fields.replicas;
        Ok(ControlPlane {
            object: fields.object.object::<Self>(name),
            labels: fields.labels,
            version: version(&fields.version)?,
            observed: running.collect::<Result<_, _>>()?,
            infrastructure: fields.infrastructure.as_ref().map(template_ref),
            contract: Contract::V1Beta2,
            flavor: Flavor::Kubeadm {
                cluster_configuration: fields.cluster_configuration,
                settings: fields.settings,
            },
            replicas: Some(Replicas {
                desired,
                total,
                ready,
                up_to_date,
            }),
            drain_timeout: DrainTimeout::of(fields.drain_timeout),
            skipped_addons: fields.skipped_addons,
            rollout_after: at(fields.rollout_after),
        })
    }
}

/// The generation with which the Machines were compared last. The status' own one is written only by a reconcile
/// without an error, and one of CoreDNS comes at its end; and it is written, as all other conditions are, by one that
/// ended before it compared anything: what is counted then is of the generation before.
fn compared(status: &ControlPlaneStatus) -> i64 {
    let of = |kind: &str| {
        let conditions = status.conditions.iter().filter(|condition| condition.kind == kind);
        conditions.map(|condition| condition.observed_generation).max()
    };
    of(COMPONENTS).unwrap_or_else(|| {
        status
            .observed_generation
            .max(of(Condition::ROLLING_OUT).unwrap_or_default())
    })
}
