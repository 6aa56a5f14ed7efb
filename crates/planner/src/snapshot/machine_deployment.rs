//! MachineDeployments.

use std::collections::BTreeMap;

use instar_capi::Lifecycle;
use instar_domain::KubeVersion;
use jiff::Timestamp;

use super::{Object, TemplateRef};
use crate::{drain_timeout::DrainTimeout, pause::PauseMark};

/// A MachineDeployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineDeployment {
    pub object: Object,
    /// The labels by which a release finds its image.
    pub labels: BTreeMap<String, String>,
    /// The version that its machines should run.
    pub version: KubeVersion,
    /// The template of its machines.
    pub infrastructure: TemplateRef,
    /// The template of their bootstrap configuration.
    pub bootstrap: Option<TemplateRef>,
    /// How many machines there should be.
    pub replicas: u32,
    /// How machines are replaced.
    pub rollout: Rollout,
    /// Whether machines of another minor than the control plane's are made for it.
    pub joins: JoinRule,
    /// The upgrade that holds it until its gates open, if one does ([`instar_api::HELD_ANNOTATION`]).
    pub held: Option<PauseMark>,
    /// The upgrade that has stopped it in the middle of its rollout, if one has, by our mark in the annotation
    /// [`instar_capi::labels::PAUSED`]. For that alone its lifecycle isn't `Paused`.
    pub rollout_paused: Option<PauseMark>,
    /// How long the drain of one of them may take.
    pub drain_timeout: DrainTimeout,
    /// `spec.rollout.after`: Cluster API replaces the MachineSets from before this time, once it has come.
    pub rollout_after: Option<Timestamp>,
}

/// Whether Cluster API makes machines of another minor than the control plane's (`machineset_preflight.go`, the check
/// `KubeadmVersionSkew`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinRule {
    /// It doesn't, since kubeadm joins them.
    SameMinor,
    /// It does: something else joins them, or an annotation of the MachineDeployment skips the check.
    AnyMinor,
}

/// How a MachineDeployment replaces machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rollout {
    /// By itself.
    Rolling,
    /// Only those that a user deletes.
    OnDelete,
}

impl MachineDeployment {
    /// Whether an upgrade holds it: it has the mark, and is paused. One that its user has resumed isn't held any more.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held.is_some() && self.object.lifecycle == Lifecycle::Paused
    }

    /// The templates that it refers to.
    pub fn templates(&self) -> impl Iterator<Item = &TemplateRef> {
        std::iter::once(&self.infrastructure).chain(&self.bootstrap)
    }
}
