//! Pins that are added while a Cluster is on its way: its class' versions have changed, and Cluster
//! API goes through one that had no pin.

use std::collections::BTreeMap;

use instar_api::Pins;
use instar_capi::ClusterClass;
use instar_catalog::Release;
use instar_domain::KubeVersion;

use super::{
    edits::{ExistingPins, FIELD},
    request::Request,
    steps::Step,
};
use crate::{Finding, Rule};

/// The way that is left, and which of its steps are to be pinned now.
pub(super) struct Completion<'a> {
    /// Where the control plane is.
    pub(super) start: KubeVersion,
    /// What it goes through from there, as far as the catalog has it.
    pub(super) way: Vec<Step<'a>>,
    missing: Vec<KubeVersion>,
}

impl<'a> Completion<'a> {
    /// The steps that had no pin.
    pub(super) fn added(&self) -> impl Iterator<Item = Step<'a>> {
        let steps = self.way.iter().filter(|step| self.missing.contains(step.version()));
        steps.cloned()
    }
}

impl<'a> Request<'a> {
    /// Releases that are named for versions without a pin are taken where the control plane has
    /// still to go through them. What is pinned stays as it is.
    pub(super) fn completion(
        &self,
        class: &ClusterClass,
        target: &KubeVersion,
        base: &ExistingPins,
        named: &BTreeMap<KubeVersion, &'a Release>,
    ) -> Result<Option<Completion<'a>>, Finding> {
        let Some(pins) = &base.pins else { return Ok(None) };
        let missing: Vec<KubeVersion> = named
            .keys()
            .filter(|version| *version != target && !pins.covers(version))
            .cloned()
            .collect();
        let Some(first) = missing.first() else {
            return Ok(None);
        };
        let covered = || pins.adopted.iter().chain(pins.releases.keys());
        let start = self.control_plane_version().or_else(|| {
            let below = covered().filter(|version| version.minor() < first.minor());
            below.max().cloned()
        });
        let start = start.unwrap_or_else(|| target.clone());
        let workers = covered().min().unwrap_or(&start).min(&start);
        let path = self.path(class, &start, workers, target)?;
        let control_plane = path.iter().flat_map(|path| &path.control_plane);
        if let Some(version) = missing
            .iter()
            .find(|version| !control_plane.clone().any(|step| step == *version))
        {
            return Err(self.deny(
                Rule::PinsByHand,
                FIELD,
                format!("on the way from {start} to {target}, Cluster API does not go through {version}, for which a release is named"),
                "name none for it: a version that is gone through later gets its pin then",
            ));
        }
        let row_of = |version: &KubeVersion| match named.get(version) {
            Some(row) if missing.contains(version) => Some(*row),
            Some(_) | None => self.row_of(pins, version),
        };
        let way = control_plane.filter_map(|version| {
            let workers_stop = path.as_ref().is_some_and(|path| path.workers.contains(version));
            Some(Step::on_path(version.clone(), row_of(version)?, workers_stop))
        });
        Ok(Some(Completion {
            way: way.collect(),
            missing,
            start,
        }))
    }

    fn row_of(&self, pins: &Pins, version: &KubeVersion) -> Option<&'a Release> {
        let pin = pins.releases.get(version)?;
        self.facts.catalog.named_anywhere(&pin.release)
    }

    fn control_plane_version(&self) -> Option<KubeVersion> {
        self.facts.control_plane?.version.parse().ok()
    }
}
