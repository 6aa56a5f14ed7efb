//! Pins that are named while a Cluster is on its way: for a version that Cluster API goes through and that had none,
//! since the class' versions have changed, or another release for one that holds the Cluster up.

use std::collections::BTreeMap;

use instar_api::Pins;
use instar_capi::ClusterClass;
use instar_catalog::Release;
use instar_domain::KubeVersion;

use super::{
    edits::ExistingPins,
    request::{PINS, Request},
    steps::Step,
};
use crate::{Finding, Rule};

/// The way that is left, and which of its steps are to be pinned now.
pub(super) struct Completion<'a> {
    /// Where the control plane is.
    pub(super) start: KubeVersion,
    /// What it goes through from there, as far as the catalog has it, and before it the version where it is, if that is
    /// pinned now.
    pub(super) way: Vec<Step<'a>>,
    /// What the control plane has passed and workers still run.
    pub(super) behind: Vec<Step<'a>>,
    named: Vec<KubeVersion>,
}

impl<'a> Completion<'a> {
    /// The steps for which a release was named.
    pub(super) fn named(&self) -> impl Iterator<Item = Step<'a>> {
        let steps = self.way.iter().chain(&self.behind);
        steps.filter(|step| self.named.contains(step.version())).cloned()
    }
}

impl<'a> Request<'a> {
    /// Releases that are named for other versions than the target are taken where something runs the version, or the
    /// control plane has still to go through it. What else is pinned stays as it is.
    pub(super) fn completion(
        &self,
        class: &ClusterClass,
        target: &KubeVersion,
        base: &ExistingPins,
        named: &BTreeMap<KubeVersion, &'a Release>,
    ) -> Result<Option<Completion<'a>>, Finding> {
        let Some(pins) = &base.pins else { return Ok(None) };
        let others: Vec<KubeVersion> = named.keys().filter(|version| *version != target).cloned().collect();
        let Some(first) = others.first() else {
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
        let is_to_come = |version: &KubeVersion| *version == start || control_plane.clone().any(|step| step == version);
        let is_run = |version: &KubeVersion| self.observed().any(|observed| observed == version);
        if let Some(version) = others.iter().find(|version| !is_to_come(version) && !is_run(version)) {
            return Err(self.deny(
                Rule::PinsByHand,
                PINS,
                format!("on the way from {start} to {target}, Cluster API does not go through {version}, for which a release is named"),
                "name none for it: a version that is gone through later gets its pin then",
            ));
        }
        let again = |version: &KubeVersion| named.get(version).map(|row| Step::again(version.clone(), row));
        let row_of = |version: &KubeVersion| named.get(version).copied().or_else(|| self.row_of(pins, version));
        let way = control_plane.clone().filter_map(|version| {
            let workers_stop = path.as_ref().is_some_and(|path| path.workers.contains(version));
            Some(Step::on_path(version.clone(), row_of(version)?, workers_stop))
        });
        Ok(Some(Completion {
            way: again(&start)
                .filter(|_| start != *target)
                .into_iter()
                .chain(way)
                .collect(),
            behind: others
                .iter()
                .filter(|version| !is_to_come(version))
                .filter_map(again)
                .collect(),
            named: others,
            start,
        }))
    }

    fn row_of(&self, pins: &Pins, version: &KubeVersion) -> Option<&'a Release> {
        let pin = pins.releases.get(version)?;
        self.facts.catalog.named_anywhere(&pin.release)
    }

    pub(super) fn control_plane_version(&self) -> Option<KubeVersion> {
        self.facts.control_plane?.spec.version.parse().ok()
    }
}
