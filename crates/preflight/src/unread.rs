//! What has to be read before the checks can be asked: what templates say isn't watched.

use std::collections::BTreeMap;

use instar_api::{Enforcement, PreflightCheck};
use instar_planner::{Observed, Snapshot, Template, TemplateRef, checks_are_asked};

use crate::checks::control_plane_flags::is_kubeadm;

/// What is to be read of a template.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unread {
    /// What a template of kubeadm configurations sets on the kubelet's command line.
    KubeletArguments(TemplateRef),
}

/// What the checks that aren't off ask for, and isn't in the snapshot. Each is to be read once per version of the
/// template.
#[must_use]
pub fn unread(snapshot: &Snapshot, modes: &BTreeMap<PreflightCheck, Enforcement>) -> Vec<Unread> {
    let is_on = |check: PreflightCheck| {
        let mode = modes.get(&check).copied().unwrap_or_else(|| check.default_mode());
        mode != Enforcement::Off
    };
    if !checks_are_asked(snapshot) || !is_on(PreflightCheck::ControlPlaneFlags) {
        return Vec::new();
    }
    let templates = snapshot.templates.iter().filter_map(Observed::read);
    let missing = templates.filter(|template| template.content.is_none() && template.kubelet_arguments.is_none());
    let bootstrap: Vec<&TemplateRef> = snapshot
        .pools
        .iter()
        .filter_map(Observed::read)
        .filter_map(|pool| pool.bootstrap.as_ref())
        .collect();
    missing
        .map(Template::reference)
        .filter(|reference| is_kubeadm(reference) && bootstrap.contains(&reference))
        .map(Unread::KubeletArguments)
        .collect()
}
