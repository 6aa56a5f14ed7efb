//! What add-ons and gates come to at the points that a decision asks for.

use std::sync::Arc;

use instar_addons::{Asked, GateReadings, WantedGate, look};
use instar_api::{Gate, UpgradePolicy, WorkloadAccess};
use instar_capi as capi;
use instar_planner::{AskedPoint, Snapshot};
use kube::ResourceExt;

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
        let policies = self
            .policies
            .iter()
            .map(|policy| (policy.metadata.name.as_deref(), &policy.spec.gates));
        let policies: Vec<(&str, &[Gate])> = policies
            .filter_map(|(name, gates)| Some((name?, gates.as_slice())))
            .collect();
        let found = look(Asked {
            point: &point,
            cluster: (&snapshot.cluster.namespace, &snapshot.cluster.name),
            release: release.as_ref().map(|release| &release.spec),
            policies: &policies,
            access: self.access,
            target: snapshot.upgrade_spec.target.as_str(),
            history: &snapshot.upgrade_spec.gate_history,
            readings: &self.readings,
            now: snapshot.now,
        });
        self.wanted.extend(found.wanted);
        snapshot.addons.found.insert(point, found.gates);
    }
}
