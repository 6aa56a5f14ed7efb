//! The pins that stay, and what they get for pools that are new.

use std::collections::BTreeSet;

use instar_api::{LandingMark, Pins, Values};
use instar_capi::{PoolKind, labels::UNSAFE_VERSION};
use instar_domain::KubeVersion;
use instar_wiring::Wiring;

use super::{
    edits::ExistingPins,
    followers,
    request::Request,
    shape::{self, Place, PoolShape, Shape},
    steps::{self, Step},
};
use crate::Finding;

impl<'a> Request<'a> {
    /// The pins that stay. At an edit of the version, Cluster API guarantees that everything is at
    /// the present one, so older pins go; without that guarantee all of them stay.
    pub(super) fn keep(
        &self,
        present: Option<&KubeVersion>,
        target: Option<&KubeVersion>,
        base: &ExistingPins,
    ) -> Pins {
        let Some(pins) = &base.pins else {
            return Pins {
                adopted: self.runs(present),
                ..Pins::default()
            };
        };
        let moves_on = present.is_some() && target != present;
        let mut pins = pins.clone();
        if moves_on && !self.is_unsafe() {
            pins.releases.retain(|version, _| Some(version) == present);
            pins.adopted.retain(|adopted| Some(adopted) == present);
            let has = |name: &str| self.topology.workers.pools().any(|(_, pool)| pool.name == name);
            for pin in pins.releases.values_mut() {
                pin.machine_deployments.retain(|name, _| has(name));
                pin.machine_pools.retain(|name, _| has(name));
            }
        }
        pins
    }

    /// What the templates of a Cluster that carries no pins are at: one version, but for a Cluster that is on its way.
    pub(super) fn runs(&self, present: Option<&KubeVersion>) -> BTreeSet<KubeVersion> {
        let observed = self.observed().filter(|_| present.is_some());
        present.into_iter().chain(observed).cloned().collect()
    }

    /// Whether a user has switched Cluster API's check of the version off. What a landing has left goes in the same edit, so
    /// it may not count in one call and not in the other.
    pub(super) fn is_unsafe(&self) -> bool {
        let annotations = self.new.metadata.annotations.as_ref();
        let text = annotations.and_then(|all| all.get(UNSAFE_VERSION));
        text.is_some_and(|text| LandingMark::from_annotation(text).is_none())
    }

    /// Gives the pools that are new in this edit their values, in the pins that were there before.
    pub(super) fn complete(
        &self,
        shape: &Shape<'a>,
        wiring: &Wiring<'_>,
        target: Option<&KubeVersion>,
        base: &ExistingPins,
        pins: &mut Pins,
        steps: &[Step<'a>],
    ) -> Result<(), Finding> {
        let minted = |version: &KubeVersion| steps.iter().any(|step| step.version() == version);
        for (version, pin) in pins.releases.iter_mut().filter(|(version, _)| !minted(version)) {
            for (pool, kind, name) in shape.workers() {
                // A created Cluster keeps what it brought along, whatever this catalog has.
                let is_kept = base.is_brought_along && !pool.pinned(pin).is_empty();
                if is_kept || self.had_pool(kind, name, pool) {
                    continue;
                }
                let row = self.facts.catalog.named_anywhere(&pin.release);
                let values = row.and_then(|row| pool.image(row));
                match values {
                    Some(values)
                        if pin.workers.is_empty()
                            && pin.machine_deployments.is_empty()
                            && pin.machine_pools.is_empty() =>
                    {
                        pin.workers.clone_from(values);
                    }
                    Some(values) => {
                        followers::forget(pin, kind, name);
                        shape::set_pool(pin, kind, name, values.clone());
                    }
                    None if base.is_brought_along => {}
                    None if Some(version) == target => {
                        return Err(steps::no_image(self, pool, &pin.release, version, row.is_some()));
                    }
                    None => shape::set_pool(pin, kind, name, Values::new()),
                }
            }
            // Another class has to render every pin that stays: at each version something may run.
            let is_new_pool = Some(version) == target && !self.had_all_pools(shape);
            if !base.is_brought_along && (self.class_edited() || is_new_pool) {
                steps::renders(self, shape, wiring, version, pin, steps::Who::All)?;
            }
        }
        Ok(())
    }

    pub(super) fn had_pool(&self, kind: PoolKind, name: &str, pool: &PoolShape<'_>) -> bool {
        let Place::Worker { class, .. } = pool.place else {
            return true;
        };
        let Some(old) = self.old_topology else { return false };
        old.workers
            .pools()
            .any(|(old_kind, old)| old_kind == kind && old.name == name && old.class == class && !self.class_edited())
    }

    fn had_all_pools(&self, shape: &Shape<'_>) -> bool {
        shape
            .workers()
            .all(|(pool, kind, name)| self.had_pool(kind, name, pool))
    }
}
