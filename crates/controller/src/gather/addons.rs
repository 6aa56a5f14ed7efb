//! What add-ons and gates come to at the points that a decision asks for.

use std::sync::Arc;

use instar_addons::{Asked, GateReadings, VerifiedWorkload, WantedGate, look, named_workloads, system_workloads};
use instar_api::{Gate, GatePoint, UpgradePolicy, WorkloadAccess};
use instar_capi as capi;
use instar_planner::{AskedPoint, Observed, Snapshot, release_counts};
use kube::ResourceExt;

use super::gates::reads_workload;
use crate::caches::Caches;

/// What the looks of one pass go by, and what they came to want.
pub(crate) struct AddonLook<'a> {
    caches: &'a Caches,
    access: &'a WorkloadAccess,
    readings: GateReadings,
    policies: Vec<Arc<UpgradePolicy>>,
    pub(crate) wanted: Vec<WantedGate>,
}

impl<'a> AddonLook<'a> {
    pub(crate) fn new(
        caches: &'a Caches,
        access: &'a WorkloadAccess,
        readings: GateReadings,
        cluster: &capi::Cluster,
    ) -> Self {
        let mut policies = caches.policies(&cluster.namespace().unwrap_or_default());
        policies.retain(|policy| policy.spec.selects(cluster.labels()));
        Self {
            caches,
            access,
            readings,
            policies,
            wanted: Vec::new(),
        }
    }

    /// Finds what a point comes to.
    pub(crate) fn look(&mut self, point: AskedPoint, snapshot: &mut Snapshot) {
        let release = point.release.as_ref().and_then(|name| self.caches.release(name));
        let mut asked = point.clone();
        if release.is_none() && !release_counts(snapshot, &point) {
            // That it is gone matters to none of its own add-ons.
            asked.release = None;
        }
        let policies = self
            .policies
            .iter()
            .map(|policy| (policy.metadata.name.as_deref(), &policy.spec.gates));
        let policies: Vec<(&str, &[Gate])> = policies
            .filter_map(|(name, gates)| Some((name?, gates.as_slice())))
            .collect();
        let workloads = self.verified(&point, snapshot);
        let found = look(Asked {
            point: &asked,
            cluster: (&snapshot.cluster.namespace, &snapshot.cluster.name),
            release: release.as_ref().map(|release| &release.spec),
            policies: &policies,
            workloads: &workloads,
            access: self.access,
            target: snapshot.upgrade_spec.target.as_str(),
            history: &snapshot.upgrade_spec.gate_history,
            readings: &self.readings,
            now: snapshot.now,
        });
        self.wanted.extend(found.wanted);
        snapshot.addons.found.insert(point, found.gates);
    }

    /// The workloads that have to be rolled out at a point.
    fn verified(&self, point: &AskedPoint, snapshot: &Snapshot) -> Vec<VerifiedWorkload> {
        match point.when {
            GatePoint::BeforeControlPlane | GatePoint::AfterControlPlane | GatePoint::BeforeWorkers => Vec::new(),
            GatePoint::AfterWorkers => {
                let control_plane = snapshot.control_plane.as_ref().and_then(Observed::read);
                let system = control_plane
                    .filter(|_| reads_workload(self.access))
                    .map(system_workloads);
                let mut workloads = system.unwrap_or_default();
                for policy in &self.policies {
                    let name = policy.metadata.name.as_deref().unwrap_or_default();
                    workloads.extend(named_workloads(name, &policy.spec.verification.workloads));
                }
                workloads
            }
        }
    }
}
