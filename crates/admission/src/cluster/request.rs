//! What is asked of a Cluster, with what is known, and what admission answers.

use instar_api::RELEASES_ANNOTATION;
use instar_capi::{Cluster, ClusterClass, KubeadmControlPlane, ManagedBy, Topology};
use instar_catalog::Catalog;
use instar_domain::KubeVersion;
use jiff::civil::Date;

use super::shape::Shape;
use crate::{
    Finding, Rule,
    cluster_state::{CachedWorker, Versions},
    edit::{finding, object_ref},
};

/// The field of a Cluster's version.
pub(super) const VERSION: &str = "spec.topology.version";

/// The field of its pins.
pub(super) const PINS: &str = "metadata.annotations[upgrade.cluster.x-k8s.io/releases]";

/// What is known when a Cluster is judged.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The rows of the Cluster's catalog.
    pub catalog: &'a Catalog,
    /// The Cluster's class, where it has been seen.
    pub class: Option<&'a ClusterClass>,
    /// The Cluster's KubeadmControlPlane, where it has been seen.
    pub control_plane: Option<&'a KubeadmControlPlane>,
    /// The versions that its control plane runs.
    pub running: Option<&'a Versions>,
    pub workers: &'a [CachedWorker],
    /// The day, in UTC.
    pub today: Date,
    pub requester: Requester,
}

/// What the user of a request may do beside it, as far as the API server has told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Requester {
    /// Create KubernetesReleases: what a release says is this user's to say.
    ReleaseAuthor,
    /// Not that, or nothing is known of it.
    #[default]
    Other,
}

/// What has to be written into the Cluster, and the warnings and findings of the edit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admitted {
    /// `spec.topology.version`, where it must change.
    pub version: Option<KubeVersion>,
    /// What becomes of the pins.
    pub pins: AnnotationChange,
    /// What becomes of a classic Cluster's path.
    pub path: AnnotationChange,
    /// What becomes of Cluster API's annotation that switches off its check of a version edit.
    pub version_check: AnnotationChange,
    /// Where an upgrade ends by this edit: the control plane stands there.
    pub landing: Option<KubeVersion>,
    /// The release that replaces another one of a version that runs: its machines are replaced.
    pub another_release: Option<String>,
    /// Warnings.
    pub warnings: Vec<String>,
    /// Rules that are broken, and that a policy may have switched off.
    pub findings: Vec<Finding>,
}

impl Admitted {
    /// Whether anything has to be written.
    #[must_use]
    pub fn changes(&self) -> bool {
        let stays = |annotation: &AnnotationChange| *annotation == AnnotationChange::None;
        self.version.is_some() || !stays(&self.pins) || !stays(&self.path) || !stays(&self.version_check)
    }
}

/// What becomes of an annotation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AnnotationChange {
    /// It is as it should be.
    #[default]
    None,
    /// It gets this text.
    Set(String),
    /// It goes: it was not there before, and isn't the user's to add.
    Remove,
}

impl AnnotationChange {
    /// To a text, where it isn't that already.
    pub(super) fn to(text: &str, now: Option<&str>) -> Self {
        if now == Some(text) {
            Self::None
        } else {
            Self::Set(text.to_owned())
        }
    }

    /// Back to what it was.
    pub(super) fn back_to(old: Option<&str>, now: Option<&str>) -> Self {
        match (old, now) {
            (Some(old), now) => Self::to(old, now),
            (None, Some(_)) => Self::Remove,
            (None, None) => Self::None,
        }
    }
}

/// The namespace and name of the class that a Cluster names.
#[must_use]
pub fn class_of(cluster: &Cluster) -> Option<(String, String)> {
    let reference = &cluster.spec.topology.as_ref()?.class_ref;
    let own = cluster.metadata.namespace.as_deref().unwrap_or_default();
    Some((reference.namespace_or(own).to_owned(), reference.name.clone()))
}

/// The text of a Cluster's pins.
#[must_use]
pub fn annotation(cluster: &Cluster) -> Option<&str> {
    let annotations = cluster.metadata.annotations.as_ref()?;
    annotations.get(RELEASES_ANNOTATION).map(String::as_str)
}

/// A finding of a Cluster.
pub(super) fn deny(
    cluster: &Cluster,
    rule: Rule,
    field: &'static str,
    what: impl Into<String>,
    remediation: impl Into<String>,
) -> Finding {
    finding(rule, object(cluster), field, what, remediation)
}

/// What a message calls it.
pub(super) fn object(cluster: &Cluster) -> String {
    object_ref("Cluster", &cluster.metadata)
}

#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) old: Option<&'a Cluster>,
    pub(super) old_topology: Option<&'a Topology>,
    pub(super) new: &'a Cluster,
    pub(super) topology: &'a Topology,
    pub(super) facts: Facts<'a>,
}

impl Request<'_> {
    pub(super) fn deny(
        &self,
        rule: Rule,
        field: &'static str,
        what: impl Into<String>,
        remediation: impl Into<String>,
    ) -> Finding {
        deny(self.new, rule, field, what, remediation)
    }

    /// What it is made of, of a class.
    pub(super) fn shape<'s>(&'s self, class: &'s ClusterClass) -> Shape<'s> {
        let shape = Shape::of(self.new.metadata.labels.as_ref(), self.topology, class);
        shape.with_control_plane(self.facts.control_plane)
    }

    pub(super) fn class_name(&self) -> String {
        class_of(self.new).map_or_else(String::new, |(namespace, name)| format!("{namespace}/{name}"))
    }

    /// The versions that machines of the topology are seen to run: of the control plane and of each pool the lowest and
    /// the highest.
    pub(super) fn observed(&self) -> impl Iterator<Item = &KubeVersion> {
        let workers = self.facts.workers.iter();
        let workers = workers.filter(|worker| worker.managed_by == ManagedBy::Topology);
        let pools = workers.map(|worker| &worker.versions);
        let all = self.facts.running.into_iter().chain(pools);
        all.flat_map(|versions| [&versions.lowest, &versions.highest])
    }

    pub(super) fn class_edited(&self) -> bool {
        self.old.is_some_and(|old| class_of(old) != class_of(self.new))
    }

    /// Whether the edit asks for something that depends on the class.
    pub(super) fn moves(&self) -> bool {
        match self.old_topology {
            None => true,
            Some(old) => old.version != self.topology.version || self.class_edited(),
        }
    }
}
