//! What has to be read before the checks can be asked: what templates say isn't watched.

use std::collections::{BTreeMap, BTreeSet};

use instar_api::{Enforcement, PreflightCheck};
use instar_planner::{Observed, Snapshot, Template, TemplateRef, checks_are_asked};

use crate::checks::{control_plane_flags::is_kubeadm, disks, rolled};

/// What is to be read of a template.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unread {
    /// All that it says.
    Content(TemplateRef),
    /// What a template of kubeadm configurations sets on the kubelet's command line.
    KubeletArguments(TemplateRef),
}

/// What the checks that aren't off ask for, and isn't in the snapshot. Each is to be read once per version of the
/// template.
#[must_use]
pub fn unread(snapshot: &Snapshot, modes: &BTreeMap<PreflightCheck, Enforcement>) -> BTreeSet<Unread> {
    if !checks_are_asked(snapshot) {
        return BTreeSet::new();
    }
    let is_on = |check: PreflightCheck| {
        let mode = modes.get(&check).copied().unwrap_or_else(|| check.default_mode());
        mode != Enforcement::Off
    };
    let asks = |template: &Template| {
        let reference = template.reference();
        if template.content.is_some() {
            None
        } else if is_kubeadm(&reference) && is_on(PreflightCheck::ControlPlaneFlags) {
            let is_unread = template.kubelet_arguments.is_none();
            is_unread.then_some(Unread::KubeletArguments(reference))
        } else if disks::is_judged(&reference) && is_on(PreflightCheck::Disks) {
            Some(Unread::Content(reference))
        } else {
            None
        }
    };
    let rolled = rolled(snapshot);
    let templates = snapshot.templates.iter().filter_map(Observed::read);
    let templates = templates.filter(|template| rolled.iter().any(|rolled| template.is(rolled.reference)));
    templates.filter_map(asks).collect()
}
