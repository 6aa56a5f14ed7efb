//! A Cluster's version and its pins.
//!
//! [`admit`] is called twice for a request: first to find what has to be written into the Cluster
//! (the full version, the pins), then, on the object that all webhooks have made of it, to see that
//! nothing is left to write.

mod edits;
mod shape;
mod steps;

use std::collections::BTreeMap;

use instar_api::{Pin, Pins, RELEASES_ANNOTATION};
use instar_capi::{Cluster, ClusterClass, KubeadmControlPlaneSpec, Topology, labels::UNSAFE_VERSION};
use instar_catalog::{
    Catalog, Release, Resolved,
    path::{NoPath, Path, Source},
};
use instar_domain::KubeVersion;
use instar_wiring::Wiring;
use jiff::civil::Date;

use self::{edits::Base, shape::Shape, steps::Step};
use crate::{Denial, Rule};

/// What is known when a Cluster is judged.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// The rows that exist.
    pub catalog: &'a Catalog,
    /// The Cluster's class, where it has been seen.
    pub class: Option<&'a ClusterClass>,
    /// The Cluster's KubeadmControlPlane, where it has been seen.
    pub control_plane: Option<&'a KubeadmControlPlaneSpec>,
    /// The day, in UTC.
    pub today: Date,
}

/// What has to be written into the Cluster, and what its writer should be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admitted {
    /// `spec.topology.version`, where it must change.
    pub version: Option<KubeVersion>,
    /// The text of the pins' annotation, where it must change.
    pub pins: Option<String>,
    /// Warnings.
    pub warnings: Vec<String>,
}

impl Admitted {
    /// Whether anything has to be written.
    #[must_use]
    pub const fn changes(&self) -> bool {
        self.version.is_some() || self.pins.is_some()
    }
}

/// The namespace and name of the class that a Cluster names.
#[must_use]
pub fn class_of(cluster: &Cluster) -> Option<(String, String)> {
    let reference = &cluster.spec.topology.as_ref()?.class_ref;
    let own = cluster.metadata.namespace.clone().unwrap_or_default();
    Some((reference.namespace.clone().unwrap_or(own), reference.name.clone()))
}

/// The text of a Cluster's pins.
#[must_use]
pub fn annotation(cluster: &Cluster) -> Option<&str> {
    let annotations = cluster.metadata.annotations.as_ref()?;
    annotations.get(RELEASES_ANNOTATION).map(String::as_str)
}

/// Judges the creation of a Cluster (`old` is absent) or an edit of one.
///
/// # Errors
/// The refusal.
pub fn admit(old: Option<&Cluster>, new: &Cluster, known: Known<'_>) -> Result<Admitted, Denial> {
    let Some(topology) = &new.spec.topology else {
        return Ok(Admitted::default());
    };
    if new.metadata.deletion_timestamp.is_some() {
        return Ok(Admitted::default());
    }
    let old = old.filter(|old| old.spec.topology.is_some());
    let old_topology = old.and_then(|old| old.spec.topology.as_ref());
    let request = Request {
        old,
        old_topology,
        new,
        topology,
        known,
    };
    match known.class {
        None => request.unknown_class(),
        Some(class) => match Wiring::read(&class.spec) {
            None => request.unwired(class),
            Some(wiring) => request.wired(class, &wiring),
        },
    }
}

#[derive(Clone, Copy)]
struct Request<'a> {
    old: Option<&'a Cluster>,
    old_topology: Option<&'a Topology>,
    new: &'a Cluster,
    topology: &'a Topology,
    known: Known<'a>,
}

impl<'a> Request<'a> {
    fn deny(&self, rule: Rule, field: &'static str, what: impl Into<String>, way_out: impl Into<String>) -> Denial {
        Denial {
            rule,
            object: format!("Cluster {}", self.name()),
            field,
            what: what.into(),
            way_out: way_out.into(),
        }
    }

    fn name(&self) -> String {
        let metadata = &self.new.metadata;
        let name = metadata
            .name
            .as_deref()
            .or(metadata.generate_name.as_deref())
            .unwrap_or_default();
        format!("{}/{name}", metadata.namespace.as_deref().unwrap_or_default())
    }

    fn class_name(&self) -> String {
        class_of(self.new).map_or_else(String::new, |(namespace, name)| format!("{namespace}/{name}"))
    }

    fn class_edited(&self) -> bool {
        self.old.is_some_and(|old| class_of(old) != class_of(self.new))
    }

    /// Whether the edit asks for something that depends on the class.
    fn moves(&self) -> bool {
        match self.old_topology {
            None => true,
            Some(old) => old.version != self.topology.version || self.class_edited(),
        }
    }

    /// Nothing can be said of a class that no cache has seen. It may be wired, and then a Cluster
    /// without pins would get bare templates.
    fn unknown_class(&self) -> Result<Admitted, Denial> {
        let version = self.topology.version.parse::<KubeVersion>().ok();
        let brought_along = annotation(self.new).and_then(|text| Pins::from_annotation(text).ok());
        let is_covered = |pins: &Pins| version.as_ref().is_some_and(|version| pins.covers(version));
        if self.old.is_none() && brought_along.as_ref().is_some_and(is_covered) {
            return Ok(Admitted::default());
        }
        if self.moves() {
            return Err(self.deny(
                Rule::ClassKnown,
                "spec.topology.classRef",
                format!("ClusterClass {} is not known", self.class_name()),
                "create it first, or try again if it was created just now",
            ));
        }
        Ok(edits::restored(self.old, self.new))
    }

    /// A class without wiring renders no pins: its Clusters are left alone, unless they have some.
    fn unwired(&self, class: &ClusterClass) -> Result<Admitted, Denial> {
        let pinned = self.old.and_then(annotation).or_else(|| annotation(self.new)).is_some();
        if !pinned {
            return Ok(Admitted::default());
        }
        if self.old.is_none() {
            let warning = format!(
                "ClusterClass {} is not wired: the pins of Cluster {} have no effect",
                self.class_name(),
                self.name()
            );
            return Ok(Admitted {
                warnings: vec![warning],
                ..Admitted::default()
            });
        }
        if self.moves() {
            let name = class.metadata.name.as_deref().unwrap_or_default();
            return Err(self.deny(
                Rule::WiringRenders,
                "spec.topology",
                format!(
                    "the Cluster is pinned to releases, and ClusterClass {} has no wiring to render them",
                    self.class_name()
                ),
                format!("wire it: instar wire {name} | kubectl apply -f -"),
            ));
        }
        Ok(Admitted::default())
    }

    fn wired(&self, class: &'a ClusterClass, wiring: &Wiring<'_>) -> Result<Admitted, Denial> {
        let shape = Shape::of(self.topology, class);
        let present = self.present()?;
        let base = Base::of(self, present.as_ref())?;
        let named = edits::named_by_hand(self, &base)?;
        let aim = self.aim(class, present.as_ref(), &base)?;
        let steps = self.steps(class, present.as_ref(), &aim, &base, &named)?;
        steps::check(self, &shape, wiring, present.as_ref(), &base, &steps)?;

        let target = aim.version(present.as_ref()).cloned();
        let mut pins = self.keep(present.as_ref(), target.as_ref(), &base);
        for step in &steps {
            pins.releases.insert(step.version().clone(), shape.mint(step.row));
        }
        self.complete(&shape, wiring, target.as_ref(), &base, &mut pins, &steps)?;

        edits::keep_values(self, &base, &pins)?;

        let mut warnings = base.warnings;
        if present.is_some()
            && base.pins.is_none()
            && !steps.is_empty()
            && let Some(adopted) = &pins.adopted
        {
            warnings.push(format!(
                "Cluster {} is adopted: {adopted} stays as its class renders it",
                self.name()
            ));
        }
        for step in &steps {
            warnings.extend(step.row.warning(self.known.today));
        }
        let version = target.filter(|version| version.to_string() != self.topology.version);
        if let (Some(version), Some(last)) = (&version, steps.last()) {
            warnings.push(format!(
                "{} means {version}, release {}",
                self.topology.version,
                last.row.name()
            ));
        }
        // A Cluster that isn't adopted yet and doesn't move has nothing to carry.
        let text = (base.pins.is_some() || !steps.is_empty()).then(|| pins.to_annotation());
        let pins = text.filter(|text| annotation(self.new) != Some(text.as_str()));
        Ok(Admitted {
            version,
            pins,
            warnings,
        })
    }

    /// The version that runs, as far as Cluster API lets a topology's version be edited only then.
    fn present(&self) -> Result<Option<KubeVersion>, Denial> {
        self.old_topology
            .map(|old| {
                old.version.parse().map_err(|error| {
                    self.deny(
                        Rule::Path,
                        "spec.topology.version",
                        format!("the present version can't be read: {error}"),
                        "set a full version first",
                    )
                })
            })
            .transpose()
    }

    fn aim(&self, class: &'a ClusterClass, present: Option<&KubeVersion>, base: &Base) -> Result<Aim<'a>, Denial> {
        let asked = &self.topology.version;
        // Pins that a created Cluster brings along say themselves what its version means.
        if let (None, Some(pins), Ok(version)) = (present, &base.pins, asked.parse::<KubeVersion>())
            && pins.covers(&version)
        {
            return Ok(Aim::Covered(version));
        }
        let listed = listed_versions(class);
        let offered = (!listed.is_empty()).then_some(listed.as_slice());
        let resolved = self.known.catalog.resolve(asked, present, offered, self.known.today);
        match resolved {
            Ok(Resolved::Unchanged) => Ok(Aim::Stay),
            Ok(Resolved::Release(row)) => Ok(Aim::Release(row)),
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
    fn steps(
        &self,
        class: &ClusterClass,
        present: Option<&KubeVersion>,
        aim: &Aim<'a>,
        base: &Base,
        named: &BTreeMap<KubeVersion, &'a Release>,
    ) -> Result<Vec<Step<'a>>, Denial> {
        let mut steps = Vec::new();
        if let Some((version, row)) = present.and_then(|version| named.get_key_value(version)) {
            steps.push(Step::again(version.clone(), row));
        }
        let row = match aim {
            Aim::Stay | Aim::Covered(_) => return Ok(steps),
            Aim::Release(row) => *row,
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
        let path = self.path(class, present, row.version())?;
        for version in path.iter().flat_map(|path| &path.control_plane) {
            let fit = if version == row.version() {
                // The version itself was asked for, or one of its rows by name.
                named.get(version).copied().or(Some(row))
            } else {
                named
                    .get(version)
                    .copied()
                    .or_else(|| self.known.catalog.best(version, self.known.today))
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

    fn path(&self, class: &ClusterClass, present: &KubeVersion, wanted: &KubeVersion) -> Result<Option<Path>, Denial> {
        let listed = listed_versions(class);
        let source = if class.spec.upgrade.external.generate_upgrade_plan_extension.is_some() {
            Source::Extension
        } else if listed.is_empty() {
            Source::OneMinor
        } else {
            Source::ClassVersions(&listed)
        };
        Path::find(present, present, wanted, source).map_err(|no_path| {
            let field = "spec.topology.version";
            match &no_path {
                NoPath::Downgrade { .. } => self.deny(
                    Rule::NoDowngrade,
                    field,
                    no_path.to_string(),
                    "Cluster API has no way down: fix forward with another release, or restore from a backup",
                ),
                NoPath::OtherMajor { .. } | NoPath::Skew { .. } | NoPath::BuildTags { .. } => self.deny(
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

    /// The pins that stay. At an edit of the version, Cluster API guarantees that everything is at
    /// the present one, so older pins go; without that guarantee all of them stay.
    fn keep(&self, present: Option<&KubeVersion>, target: Option<&KubeVersion>, base: &Base) -> Pins {
        let Some(pins) = &base.pins else {
            return Pins {
                adopted: present.cloned(),
                releases: BTreeMap::new(),
            };
        };
        let moves_on = present.is_some() && target != present;
        let mut pins = pins.clone();
        if moves_on && !self.is_unsafe() {
            pins.releases.retain(|version, _| Some(version) == present);
            pins.adopted = pins.adopted.filter(|adopted| Some(adopted) == present);
            let has = |name: &str| self.topology.workers.pools().any(|(_, pool)| pool.name == name);
            for pin in pins.releases.values_mut() {
                pin.machine_deployments.retain(|name, _| has(name));
                pin.machine_pools.retain(|name, _| has(name));
            }
        }
        pins
    }

    fn is_unsafe(&self) -> bool {
        let annotations = self.new.metadata.annotations.as_ref();
        annotations.is_some_and(|all| all.contains_key(UNSAFE_VERSION))
    }

    /// Gives the pools that are new in this edit their values, in the pins that were there before.
    fn complete(
        &self,
        shape: &Shape<'a>,
        wiring: &Wiring<'_>,
        target: Option<&KubeVersion>,
        base: &Base,
        pins: &mut Pins,
        steps: &[Step<'a>],
    ) -> Result<(), Denial> {
        let minted = |version: &KubeVersion| steps.iter().any(|step| step.version() == version);
        for (version, pin) in pins.releases.iter_mut().filter(|(version, _)| !minted(version)) {
            for (pool, kind, name) in shape.workers() {
                if self.had_pool(kind, name, pool) {
                    continue;
                }
                let row = self.known.catalog.named(&pin.release);
                let values = row.and_then(|row| pool.image(row));
                match values {
                    Some(values)
                        if pin.workers.is_empty()
                            && pin.machine_deployments.is_empty()
                            && pin.machine_pools.is_empty() =>
                    {
                        pin.workers.clone_from(values);
                    }
                    Some(values) => shape::set_pool(pin, kind, name, values.clone()),
                    // A created Cluster keeps what it brought along, whatever this catalog has.
                    None if base.is_brought_along => {}
                    None if Some(version) == target => {
                        return Err(steps::no_image(self, pool, &pin.release, version, row.is_some()));
                    }
                    None => shape::set_pool(pin, kind, name, instar_api::Values::new()),
                }
            }
            if Some(version) == target && !base.is_brought_along && (self.class_edited() || !self.had_all_pools(shape))
            {
                steps::renders(self, shape, wiring, version, pin, steps::Who::All)?;
            }
        }
        Ok(())
    }

    fn had_pool(&self, kind: instar_capi::PoolKind, name: &str, pool: &shape::PoolShape<'_>) -> bool {
        let shape::Place::Worker { class, .. } = pool.place else {
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

/// What the version asks for.
enum Aim<'a> {
    /// What runs.
    Stay,
    /// A version that the Cluster brings pins for.
    Covered(KubeVersion),
    /// A row.
    Release(&'a Release),
}

impl<'v> Aim<'v> {
    fn version<'s>(&'s self, present: Option<&'s KubeVersion>) -> Option<&'s KubeVersion>
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

impl Base {
    fn release_of(&self, version: &KubeVersion) -> Option<&str> {
        self.pin_of(version).map(|pin| pin.release.as_str())
    }

    fn pin_of(&self, version: &KubeVersion) -> Option<&Pin> {
        self.pins.as_ref()?.releases.get(version)
    }
}

#[cfg(test)]
mod tests;
