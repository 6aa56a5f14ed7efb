//! What an edit of the version does to what runs: the last edit, and the workers.

use instar_api::LandingMark;
use instar_capi::labels::{PENDING_HOOKS, UNSAFE_VERSION};
use instar_capi::{Cluster, ManagedBy, Rollout};
use instar_domain::KubeVersion;

use super::{
    request::{Request, VERSION},
    steps::{Step, Who},
};
use crate::{Finding, Rule, cluster_state::CachedWorker, worker::left_behind};

/// The hook that Cluster API calls last in an upgrade; until it has an answer, no version is changed.
const AFTER_UPGRADE: &str = "AfterClusterUpgrade";

/// How an edit switches the check off. Cluster API leaves the annotation there.
fn anyway() -> String {
    format!("set {UNSAFE_VERSION} in the same edit, with another value where it is there already")
}

impl Request<'_> {
    /// What is wrong with the path from the present version to the target, or with another release of it. `steps` is empty
    /// where the path is not known.
    pub(super) fn moves_to(
        &self,
        present: Option<&KubeVersion>,
        target: Option<&KubeVersion>,
        steps: &[Step<'_>],
    ) -> Vec<Finding> {
        let (Some(present), Some(target)) = (present, target) else {
            return Vec::new();
        };
        if present == target {
            let another = self.another_release(steps);
            return another
                .and_then(|_| self.replaces_meanwhile(present))
                .into_iter()
                .collect();
        }
        let mut findings = Vec::new();
        findings.extend(self.last_edit(present));
        let workers = self.facts.workers.iter();
        findings.extend(workers.filter_map(|worker| self.left_behind(worker, target, steps)));
        findings
    }

    /// An edit that switches off Cluster API's own check switches off this one too. An annotation that an earlier edit has
    /// left says nothing of this one.
    fn last_edit(&self, present: &KubeVersion) -> Option<Finding> {
        if self.becomes_unsafe() {
            return None;
        }
        let control_plane = self
            .facts
            .running
            .iter()
            .flat_map(|versions| [&versions.lowest, &versions.highest])
            .find(|version| *version != present)
            .map(|version| ("the control plane".to_owned(), version));
        let worker = self
            .facts
            .workers
            .iter()
            .filter(|worker| worker.managed_by == ManagedBy::Topology)
            .find(|worker| worker.versions.lowest != *present)
            .map(|worker| {
                let called = format!("{} {}", worker.kind.as_str(), worker.name);
                (called, &worker.versions.lowest)
            });
        let rolls = match control_plane.or(worker) {
            Some((who, runs)) => Some(self.runs_another(present, &who, runs)),
            None => self.same_version(present),
        };
        // It is pending from the start of every upgrade, so that what runs is named first.
        rolls.or_else(|| self.hook_pending(present))
    }

    /// A part of the Cluster isn't where the last edit sends it.
    fn runs_another(&self, present: &KubeVersion, who: &str, runs: &KubeVersion) -> Finding {
        let what = format!("the edit to {present} is still under way: {who} runs {runs}");
        let remediation = if runs.is_same_upstream(present) {
            format!(
                "Cluster API takes the mark in a kubelet's version for another version, and waits for ever \
                 (https://github.com/kubernetes-sigs/cluster-api/issues/14086): use images whose kubelet says {present}"
            )
        } else {
            format!(
                "wait until it is done (kubectl get clusterupgrade); to go on to a newer version anyway, {}",
                anyway()
            )
        };
        self.deny(Rule::OneChange, VERSION, what, remediation)
    }

    fn hook_pending(&self, present: &KubeVersion) -> Option<Finding> {
        self.has_pending(AFTER_UPGRADE).then(|| {
            self.deny(
                Rule::OneChange,
                VERSION,
                format!("the edit to {present} is still under way: its hook {AFTER_UPGRADE} is pending"),
                format!(
                    "wait until the runtime extension lets go (condition TopologyReconciled), or {}",
                    anyway()
                ),
            )
        })
    }

    /// Another release of the version that runs may be what repairs it, so that it waits for nothing.
    fn replaces_meanwhile(&self, present: &KubeVersion) -> Option<Finding> {
        let finding = self.last_edit(present)?;
        let remediation =
            "machines are replaced once more: wait until it is done, unless this release repairs what holds it up";
        Some(Finding {
            remediation: remediation.to_owned(),
            ..finding.into_warning()
        })
    }

    fn becomes_unsafe(&self) -> bool {
        let text = |cluster: &Cluster| cluster.metadata.annotations.as_ref()?.get(UNSAFE_VERSION).cloned();
        // A mark of Instar's goes in the same edit.
        let now = text(self.new).filter(|text| LandingMark::from_annotation(text).is_none());
        now.is_some() && self.old.and_then(text) != now
    }

    /// Another release of the version that runs, or another template, is still on its way. Cluster API would let the
    /// edit pass, and replace machines twice.
    fn same_version(&self, present: &KubeVersion) -> Option<Finding> {
        let control_plane = self.facts.control_plane?;
        (control_plane.rollout() == Rollout::UnderWay).then(|| {
            self.deny(
                Rule::OneChange,
                VERSION,
                format!("machines of the control plane are still being replaced at {present}"),
                format!(
                    "wait until it is done (kubectl get kubeadmcontrolplanes); to go on to a newer version anyway, {}",
                    anyway()
                ),
            )
        })
    }

    /// Whether Cluster API waits for a hook of the last upgrade.
    fn has_pending(&self, hook: &str) -> bool {
        let annotations = self.new.metadata.annotations.as_ref();
        let pending = annotations.and_then(|all| all.get(PENDING_HOOKS));
        pending.is_some_and(|hooks| hooks.split(',').any(|pending| pending == hook))
    }

    fn left_behind(&self, worker: &CachedWorker, target: &KubeVersion, steps: &[Step<'_>]) -> Option<Finding> {
        let mut at = &worker.versions.lowest;
        let what = match worker.managed_by {
            ManagedBy::User => left_behind(worker, at, target)?,
            ManagedBy::Topology => steps.iter().find_map(|step| {
                let what = left_behind(worker, at, step.version());
                if step.who() == Who::All {
                    at = step.version();
                }
                what
            })?,
        };
        Some(self.deny(Rule::WorkersInReach, VERSION, what, "upgrade or delete it first"))
    }
}
