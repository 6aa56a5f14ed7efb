//! Another release of the version that runs: the control plane gets its values at once, and each pool keeps what it has
//! until it is taken off the list in the pin. The controller does that, pool by pool, or a user does.

use instar_api::{LeftTemplate, Pin, Pins, ReleaseChange};
use instar_capi::{ManagedBy, PoolKind, WorkerKind};
use instar_domain::KubeVersion;
use instar_wiring::Wiring;

use super::{
    edits::ExistingPins,
    followers::{of_kind, of_kind_mut, still_listed},
    request::{self, Request},
    shape::{self, Shape},
    steps::{self, Step},
};
use crate::Finding;

impl<'a> Request<'a> {
    /// The pin of a step. Of another release of the Cluster's version, pools that run that version keep what they have.
    pub(super) fn pin(
        &self,
        shape: &Shape<'a>,
        wiring: &Wiring<'_>,
        step: &Step<'a>,
        versions: (Option<&KubeVersion>, Option<&KubeVersion>),
        base: &ExistingPins,
    ) -> Pin {
        let (present, target) = versions;
        let plain = shape.mint(step.row);
        let is_of_cluster = step.is_again() && present == Some(step.version()) && target == present;
        if !is_of_cluster {
            return plain;
        }
        let unpinned = Pin::default();
        let before = match &base.pins {
            // Nothing could be rendered at a version without a pin.
            Some(pins) if !pins.covers(step.version()) => return plain,
            Some(pins) => pins.releases.get(step.version()).unwrap_or(&unpinned),
            None => &unpinned,
        };
        let pin = self.kept_back(shape, step.version(), before, &plain);
        // A class may have no value of its own for what a release sets, so that nothing could be rendered.
        match steps::uncovered(&self.class_name(), shape, wiring, step.version(), &pin, step.who()) {
            None => pin,
            Some(_) => plain,
        }
    }

    fn kept_back(&self, shape: &Shape<'a>, version: &KubeVersion, before: &Pin, plain: &Pin) -> Pin {
        let mut pin = plain.clone();
        for (pool, kind, name) in shape.workers() {
            let had = pool.pinned(before);
            if had != pool.pinned(plain) && self.had_pool(kind, name, pool) && self.runs_at(kind, name, version) {
                let of = of_kind(&before.change, kind).get(name).unwrap_or(&before.release);
                of_kind_mut(&mut pin.change, kind).insert(name.to_owned(), of.clone());
                shape::set_pool(&mut pin, kind, name, had.clone());
            }
        }
        pin.change.left.control_plane = self.left_template(before, plain);
        // They replace machines without another template.
        pin.change.left.kubeadm = (before.kubeadm != plain.kubeadm).then(|| before.release.clone());
        pin
    }

    /// The control plane's template, where Cluster API is to replace it.
    fn left_template(&self, before: &Pin, plain: &Pin) -> Option<LeftTemplate> {
        let template = &self.facts.control_plane?.spec.machine_template.template()?.name;
        // A change before this one that Cluster API hasn't seen yet: the template is still that of before.
        let unseen = before.change.left.control_plane.as_ref();
        match unseen.filter(|left| left.name == *template) {
            Some(left) if left.release == plain.release => None,
            Some(left) => Some(left.clone()),
            None => (before.control_plane != plain.control_plane).then(|| LeftTemplate {
                name: template.clone(),
                release: before.release.clone(),
            }),
        }
    }

    /// Whether machines of a pool run a version. One that comes to it only now has nothing to keep.
    fn runs_at(&self, kind: PoolKind, name: &str, version: &KubeVersion) -> bool {
        let mut workers = self.facts.workers.iter();
        workers.any(|worker| {
            let versions = &worker.versions;
            worker.kind == WorkerKind::from(kind)
                && worker.managed_by == ManagedBy::Topology
                && worker.in_topology.as_deref() == Some(name)
                && [&versions.lowest, &versions.highest].contains(&version)
        })
    }

    /// Gives the pools that an edit takes off the list their values.
    pub(super) fn follow(&self, shape: &Shape<'a>, base: &ExistingPins, pins: &mut Pins) -> Result<(), Finding> {
        for (version, edited) in base.edited() {
            let Some(pin) = pins.releases.get_mut(version) else {
                continue;
            };
            if pin.release != edited.release || base.release_of(version) != Some(&pin.release) {
                continue;
            }
            let before = std::mem::take(&mut pin.change);
            pin.change = still_listed(&before, &edited.change);
            for (pool, kind, name) in shape.workers() {
                let is_listed = |change: &ReleaseChange| of_kind(change, kind).contains_key(name);
                if !is_listed(&before) || is_listed(&pin.change) {
                    continue;
                }
                let row = self.facts.catalog.named_anywhere(&pin.release);
                let Some(values) = row.and_then(|row| pool.image(row)) else {
                    return Err(steps::no_image(self, pool, &pin.release, version, row.is_some()));
                };
                shape::set_pool(pin, kind, name, values.clone());
            }
        }
        Ok(())
    }

    /// What a user should know of pools that keep what they have.
    pub(super) fn followers(&self, pins: &Pins, steps: &[Step<'_>]) -> Option<String> {
        let step = steps.iter().find(|step| step.is_again())?;
        let change = &pins.releases.get(step.version())?.change;
        let names = change.machine_deployments.keys().chain(change.machine_pools.keys());
        let names: Vec<&str> = names.map(String::as_str).collect();
        (!names.is_empty()).then(|| {
            format!(
                "{} goes to release {} with its control plane first; then follow, one after the other: {}",
                request::object(self.new),
                step.row.name(),
                names.join(", ")
            )
        })
    }
}
