//! A version that goes down to where the control plane stands, so that an upgrade ends there.
//!
//! Cluster API takes no version down, and where the control plane is newer than the Cluster, the reconcile of the whole
//! topology stops. So this is let through only while a hold keeps the control plane where it is: the answer that Instar
//! has given to the next step, which Cluster API says that it has got.

use instar_api::{ApprovedPart, HOOK_ANSWER_ANNOTATION, HookAnswer, LandingMark, Pins};
use instar_capi::{
    Cluster, ClusterClass, Condition, ManagedBy, Rollout, Topology, is_held_before_step, labels::UNSAFE_VERSION,
};
use instar_domain::{BuildOrder, KubeVersion, Minor};

use super::request::{AnnotationChange, Request, VERSION};
use crate::{Finding, Rule};

/// What no other way leads to.
const ONWARD: &str = "fix forward with another release, or restore from a backup";

/// Where to look.
const HOOKS: &str = "docs/runtime-hooks.md";

/// An edit that ends an upgrade.
pub(super) struct Landing {
    /// Where the control plane stands.
    pub(super) to: KubeVersion,
    from: KubeVersion,
}

/// Why an edit doesn't end the upgrade, and what to do.
struct Hindrance {
    why: String,
    remediation: String,
}

impl Hindrance {
    fn new(why: impl Into<String>, remediation: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            remediation: remediation.into(),
        }
    }
}

impl Request<'_> {
    /// The landing that an edit asks for; nothing where it asks for another one, and the refusal where it can't be made.
    pub(super) fn landing(
        &self,
        class: &ClusterClass,
        present: Option<&KubeVersion>,
        pins: Option<&Pins>,
    ) -> Result<Option<Landing>, Finding> {
        let (Some(old), Some(old_topology), Some(from)) = (self.old, self.old_topology, present) else {
            return Ok(None);
        };
        let Some(to) = self.stands_below(from).filter(|to| self.names(to, from, pins)) else {
            return Ok(None);
        };
        match self.hindrance(class, old, old_topology, from, &to) {
            None => Ok(Some(Landing { to, from: from.clone() })),
            Some(Hindrance { why, remediation }) => Err(self.deny(
                Rule::NoDowngrade,
                VERSION,
                format!("{to} is older than {from}, and the upgrade can't end there: {why}"),
                remediation,
            )),
        }
    }

    /// What to do about a version that is older than the one that is asked for, and isn't where the control plane stands.
    pub(super) fn instead_of_lower(&self, present: &KubeVersion, onward: &str) -> String {
        match self.stands_below(present) {
            None => format!("Cluster API has no way down: {onward}"),
            Some(stands) => format!(
                "set {stands}, where the control plane stands, while Instar holds its next step ({HOOKS}), and the upgrade ends there; else {onward}"
            ),
        }
    }

    /// Where the control plane stands on its way to the present version.
    fn stands_below(&self, present: &KubeVersion) -> Option<KubeVersion> {
        self.control_plane_version()
            .filter(|stands| stands.compare(present) == BuildOrder::Less)
    }

    /// Whether the edit names where the control plane stands: by the version, by a prefix that the present version doesn't
    /// have too, or by the release that is pinned.
    fn names(&self, stands: &KubeVersion, present: &KubeVersion, pins: Option<&Pins>) -> bool {
        let text = &self.topology.version;
        let pinned = pins.and_then(|pins| pins.releases.get(stands));
        let is_prefix = |minor: Minor| minor == stands.minor() && minor != present.minor();
        text.parse().as_ref() == Ok(stands)
            || text.parse().is_ok_and(is_prefix)
            || pinned.is_some_and(|pin| pin.release == *text)
    }

    fn hindrance(
        &self,
        class: &ClusterClass,
        old: &Cluster,
        old_topology: &Topology,
        from: &KubeVersion,
        to: &KubeVersion,
    ) -> Option<Hindrance> {
        if self.class_edited() {
            return Some(Hindrance::new(
                "the edit names another class too",
                "edit the version alone",
            ));
        }
        let listed = &class.spec.kubernetes_versions;
        if !listed.is_empty() && !listed.contains(&to.to_string()) {
            let class = self.class_name();
            return Some(Hindrance::new(
                format!("ClusterClass {class} does not list it in spec.kubernetesVersions"),
                "add it to the class first",
            ));
        }
        self.not_arrived(to).or_else(|| not_held(old, old_topology, from, to))
    }

    /// What isn't at the version, or is beyond it.
    fn not_arrived(&self, to: &KubeVersion) -> Option<Hindrance> {
        let is_done = self
            .facts
            .control_plane
            .is_some_and(|control_plane| control_plane.rollout() == Rollout::Done);
        let runs = self
            .facts
            .running
            .is_some_and(|running| running.lowest == *to && running.highest == *to);
        if !is_done || !runs {
            return Some(Hindrance::new(
                "not all machines of the control plane run it yet",
                "wait until they do (kubectl get kubeadmcontrolplanes)",
            ));
        }
        let mut workers = self.facts.workers.iter();
        let newer = workers.find(|worker| {
            let highest = &worker.versions.highest;
            worker.managed_by == ManagedBy::Topology && highest != to && highest.compare(to) != BuildOrder::Less
        })?;
        Some(Hindrance::new(
            format!("{} {} runs {}", newer.kind.as_str(), newer.name, newer.versions.highest),
            ONWARD,
        ))
    }

    /// The mark of a landing in Cluster API's annotation, unless a user has set that. In any other edit of the version, what
    /// a landing has left goes.
    pub(super) fn version_check(&self, landing: Option<&Landing>) -> AnnotationChange {
        let text = |cluster: &Cluster| cluster.metadata.annotations.as_ref()?.get(UNSAFE_VERSION).cloned();
        let now = text(self.new);
        let is_ours = now
            .as_deref()
            .is_none_or(|text| LandingMark::from_annotation(text).is_some());
        match landing {
            Some(Landing { to, from }) if is_ours => AnnotationChange::to(
                &LandingMark::new(from.clone(), to.clone()).to_annotation(),
                now.as_deref(),
            ),
            None if is_ours && now.is_some() && self.old.is_some() && self.moves() => AnnotationChange::Remove,
            Some(_) | None => AnnotationChange::None,
        }
    }
}

impl Landing {
    /// What stays of the pins: something may still run any of the versions up to where the control plane stands.
    pub(super) fn keep(&self, mut pins: Pins) -> Pins {
        let is_kept = |version: &KubeVersion| *version == self.to || version.compare(&self.to) == BuildOrder::Less;
        pins.releases.retain(|version, _| is_kept(version));
        pins.adopted.retain(is_kept);
        pins
    }

    pub(super) fn warning(&self) -> String {
        let Self { to, from } = self;
        format!("the upgrade to {from} ends at {to}, where the control plane stands, and the workers follow it")
    }
}

/// Why the control plane may leave where it stands.
fn not_held(old: &Cluster, topology: &Topology, from: &KubeVersion, to: &KubeVersion) -> Option<Hindrance> {
    let annotations = old.metadata.annotations.as_ref();
    let text = annotations.and_then(|all| all.get(HOOK_ANSWER_ANNOTATION));
    let answer = text.and_then(|text| HookAnswer::from_annotation(text));
    let is_next = |answer: &HookAnswer| {
        answer.part == ApprovedPart::ControlPlane
            && topology.version.parse().as_ref() == Ok(&answer.target)
            && answer.step.compare(to) == BuildOrder::Greater
    };
    let Some(answer) = answer.filter(is_next) else {
        return Some(Hindrance::new(
            "Instar does not hold the next step of the control plane",
            format!(
                "wait until it does, in a namespace where Cluster API asks it before each step ({HOOKS}), or until the control plane has got to {from}; else {ONWARD}"
            ),
        ));
    };
    let Some(message) = answer.verdict.hold_message() else {
        return Some(Hindrance::new(
            format!("the control plane may go to {}", answer.step),
            "wait until it is there, or until Instar holds the step again",
        ));
    };
    let is_said = old.status.as_ref().is_some_and(|status| {
        let mut conditions = status.conditions.iter();
        conditions.any(|condition| {
            condition.kind == Condition::TOPOLOGY_RECONCILED
                && condition.status != "True"
                && Some(condition.observed_generation) == old.metadata.generation
                && is_held_before_step(&condition.message, &message)
        })
    });
    (!is_said).then(|| {
        Hindrance::new(
            format!(
                "Cluster API does not say yet that it waits for the step to {} (condition TopologyReconciled)",
                answer.step
            ),
            "try again in half a minute",
        )
    })
}
