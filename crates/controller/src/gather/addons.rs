//! What add-ons and gates come to at the points that a decision asks for.

use std::sync::Arc;

use instar_addons::{
    Asked, GateReadings, ReleaseView, VerifiedWorkload, WantedGate, look, look_back, named_workloads, system_workloads,
};
use instar_api::{Gate, GatePoint, UpgradePolicy, WorkloadAccess};
use instar_capi as capi;
use instar_planner::{AskedPoint, Observed, Operation, Snapshot, SwapHistory, addons_to_restore, release_counts};
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
        let asked = Asked {
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
        };
        let found = match snapshot.upgrade_spec.operation {
            Operation::Upgrade | Operation::Refresh | Operation::Abort | Operation::Restart => look(asked),
            Operation::Rollback(_) => look_back(asked, &addons_to_restore(snapshot), &self.before(&point, snapshot)),
        };
        self.wanted.extend(found.wanted);
        snapshot.addons.found.insert(point, found.gates);
    }

    /// What the upgrade that is taken back found at a point, as expressions see it.
    fn before(&self, point: &AskedPoint, snapshot: &Snapshot) -> ReleaseView {
        let control_plane = snapshot.control_plane.as_ref().and_then(Observed::read);
        let history = control_plane.and_then(|control_plane| control_plane.object.swap_history.as_ref());
        let mut entries = history.into_iter().flat_map(SwapHistory::entries);
        let before = entries.find(|entry| entry.after.release == point.release);
        let before = before.map(|entry| (&entry.before.version, entry.before.release.clone()));
        // Where the control plane hasn't gone there, it is where it was before.
        let present = || control_plane.map(|control_plane| (&control_plane.version, None));
        let (version, name) = before.or_else(present).unwrap_or((&point.version, None));
        let release = name.as_ref().and_then(|name| self.caches.release(name));
        ReleaseView {
            version: version.clone(),
            revision: release.map(|release| release.spec.revision),
            name,
        }
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
