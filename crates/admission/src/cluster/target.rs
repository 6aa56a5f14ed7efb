//! Where a Cluster is to go: what its version means, and the steps there.

use std::collections::BTreeMap;

use instar_capi::ClusterClass;
use instar_catalog::{
    Release, Resolved,
    path::{NoPath, Path, Source},
};
use instar_domain::KubeVersion;

use super::{edits::ExistingPins, request::Request, steps::Step};
use crate::{Finding, Rule};

/// What the version asks for.
pub(super) enum ResolvedTarget<'a> {
    /// What runs.
    Stay,
    /// A version that the Cluster brings pins for.
    Covered(KubeVersion),
    /// A row.
    Release(&'a Release),
}

impl<'v> ResolvedTarget<'v> {
    pub(super) fn version<'s>(&'s self, present: Option<&'s KubeVersion>) -> Option<&'s KubeVersion>
    where
        'v: 's,
    {
        match self {
            Self::Stay => present,
            Self::Covered(version) => Some(version),
            Self::Release(row) => Some(row.version()),
        }
    }
}

/// Texts that are no versions are left out: Cluster API's webhook has refused them already.
fn listed_versions(class: &ClusterClass) -> Vec<KubeVersion> {
    class
        .spec
        .kubernetes_versions
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect()
}

impl<'a> Request<'a> {
    pub(super) fn aim(
        &self,
        class: &'a ClusterClass,
        present: Option<&KubeVersion>,
        base: &ExistingPins,
    ) -> Result<ResolvedTarget<'a>, Finding> {
        let asked = &self.topology.version;
        // Pins that a created Cluster brings along say themselves what its version means, and so does its control plane.
        let brings_along = |version: &KubeVersion| match &base.pins {
            Some(pins) => pins.covers(version),
            None => self.is_restored(),
        };
        if let (None, Ok(version)) = (present, asked.parse::<KubeVersion>())
            && brings_along(&version)
        {
            return Ok(ResolvedTarget::Covered(version));
        }
        let listed = listed_versions(class);
        let offered = (!listed.is_empty()).then_some(listed.as_slice());
        let resolved = self.facts.catalog.resolve(asked, present, offered, self.facts.today);
        match resolved {
            Ok(Resolved::Unchanged) => Ok(ResolvedTarget::Stay),
            Ok(Resolved::Release(row)) => Ok(ResolvedTarget::Release(row)),
            Err(miss) => Err(self.deny(
                Rule::ReleaseInCatalog,
                "spec.topology.version",
                miss.to_string(),
                "set a version that the catalog has (kubectl get kubernetesreleases), or create its release",
            )),
        }
    }

    /// The steps that need a pin: those of the path, and the present version where another row of it
    /// was named.
    pub(super) fn steps(
        &self,
        class: &ClusterClass,
        present: Option<&KubeVersion>,
        aim: &ResolvedTarget<'a>,
        base: &ExistingPins,
        named: &BTreeMap<KubeVersion, &'a Release>,
    ) -> Result<Vec<Step<'a>>, Finding> {
        let mut steps = Vec::new();
        if let Some((version, row)) = present.and_then(|version| named.get_key_value(version)) {
            steps.push(Step::again(version.clone(), row));
        }
        let row = match aim {
            ResolvedTarget::Stay | ResolvedTarget::Covered(_) => return Ok(steps),
            ResolvedTarget::Release(row) => *row,
        };
        let Some(present) = present else {
            let row = named.get(row.version()).copied().unwrap_or(row);
            return Ok(vec![Step::first(row.version().clone(), row)]);
        };
        if row.version() == present {
            if base.release_of(present) != Some(row.name()) && !named.contains_key(present) {
                steps.push(Step::again(present.clone(), row));
            }
            return Ok(steps);
        }
        let path = self.path(class, present, present, row.version())?;
        for version in path.iter().flat_map(|path| &path.control_plane) {
            let fit = if version == row.version() {
                // The version itself was asked for, or one of its rows by name.
                named.get(version).copied().or(Some(row))
            } else {
                named
                    .get(version)
                    .copied()
                    .or_else(|| self.facts.catalog.best(version, self.facts.today))
            };
            let fit = fit.ok_or_else(|| {
                self.deny(
                    Rule::Path,
                    "spec.topology.version",
                    format!(
                        "on the way from {present} to {}, Cluster API goes through {version}, which has no release",
                        row.version()
                    ),
                    format!("create a KubernetesRelease of {version}"),
                )
            })?;
            let workers_stop = path.as_ref().is_some_and(|path| path.workers.contains(version));
            steps.push(Step::on_path(version.clone(), fit, workers_stop));
        }
        Ok(steps)
    }

    /// `workers` is the oldest version of a worker.
    pub(super) fn path(
        &self,
        class: &ClusterClass,
        present: &KubeVersion,
        workers: &KubeVersion,
        wanted: &KubeVersion,
    ) -> Result<Option<Path>, Finding> {
        let listed = listed_versions(class);
        let source = if class.spec.upgrade.external.generate_upgrade_plan_extension.is_some() {
            Source::Extension
        } else if listed.is_empty() {
            Source::OneMinor
        } else {
            Source::ClassVersions(&listed)
        };
        Path::find(present, workers, wanted, source).map_err(|no_path| {
            let field = "spec.topology.version";
            match &no_path {
                NoPath::Downgrade { .. } => self.deny(
                    Rule::NoDowngrade,
                    field,
                    no_path.to_string(),
                    self.instead_of_lower(present, "fix forward with another release, or restore from a backup"),
                ),
                NoPath::BuildTags { .. } => self.deny(
                    Rule::Path,
                    field,
                    no_path.to_string(),
                    format!(
                        "take a release of another patch version, or remove spec.kubernetesVersions from ClusterClass {}, edit the version, and wire the class again (instar wire): without the list Cluster API goes from one build to the other",
                        self.class_name()
                    ),
                ),
                NoPath::OtherMajor { .. } | NoPath::Skew { .. } => self.deny(
                    Rule::Path,
                    field,
                    no_path.to_string(),
                    "go there in more than one edit, through a version between",
                ),
                NoPath::NotListed { .. } | NoPath::Gap { .. } | NoPath::TooFar { .. } => self.deny(
                    Rule::Path,
                    field,
                    no_path.to_string(),
                    format!(
                        "wire ClusterClass {} again with a catalog that has these versions (instar wire)",
                        self.class_name()
                    ),
                ),
                NoPath::Extension => self.deny(
                    Rule::Path,
                    field,
                    no_path.to_string(),
                    format!(
                        "remove the extension from ClusterClass {} and wire it again (instar wire)",
                        self.class_name()
                    ),
                ),
            }
        })
    }
}
