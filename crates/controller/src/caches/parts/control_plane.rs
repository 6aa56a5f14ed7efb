//! A KubeadmControlPlane.

use std::sync::Arc;

use instar_capi::{ControlPlaneStatus, KubeadmControlPlane, labels::CLUSTER_NAME};
use instar_domain::KubeVersion;
use instar_planner::{Contract, ControlPlane, Flavor, Replicas};
use instar_watch::{Cache, Presence};
use kube::ResourceExt;

use super::{KeptPart, NoPart, PlannedKind, object};
use crate::{
    caches::{Cached, Caches},
    fields::{template_ref, version},
    rbac::Watched,
};

/// The condition that says whether machines are replaced.
const ROLLING_OUT: &str = "RollingOut";

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

impl PlannedKind for KubeadmControlPlane {
    type Part = ControlPlane;

    /// Cluster API puts the label on what a Cluster refers to.
    fn cluster(&self) -> Option<&str> {
        self.labels().get(CLUSTER_NAME).map(String::as_str)
    }

    fn part(&self) -> Result<ControlPlane, NoPart> {
        let status = self.status.clone().unwrap_or_default();
        let counted = status.versions.iter().filter(|count| count.replicas != Some(0));
        let mut versions: Vec<&str> = counted.map(|count| count.version.as_str()).collect();
        if versions.is_empty() {
            versions.extend(status.version.as_deref());
        }
        let observed: Result<Vec<KubeVersion>, String> = versions.into_iter().map(version).collect();
        let template = self.spec.machine_template.template();
        Ok(ControlPlane {
            object: object(self, false, compared(&status), &status.conditions),
            labels: self.spec.machine_template.metadata.labels.clone(),
            version: version(&self.spec.version)?,
            observed: observed?,
            infrastructure: template.map(template_ref),
            contract: Contract::V1Beta2,
            flavor: Flavor::Kubeadm {
                cluster_configuration: self.spec.kubeadm_config_spec.cluster_configuration.clone(),
            },
            replicas: Some(Replicas {
                // Cluster API's own default.
                desired: self.spec.replicas.unwrap_or(1),
                total: status.replicas.unwrap_or_default(),
                ready: status.ready_replicas.unwrap_or_default(),
                up_to_date: status.up_to_date_replicas.unwrap_or_default(),
            }),
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
    of(COMPONENTS).unwrap_or_else(|| status.observed_generation.max(of(ROLLING_OUT).unwrap_or_default()))
}
