//! A Cluster's version and its pins.
//!
//! [`admit`] is called twice for a request: first to find what has to be written into the Cluster
//! (the full version, the pins), then, on the object that all webhooks have made of it, to see that
//! nothing is left to write.

mod bare;
mod completion;
mod edits;
mod followers;
mod kept;
mod landing;
mod moves;
mod release_change;
mod request;
mod restored;
mod shape;
mod steps;
mod target;
mod unwired;

use instar_api::{Pin, Pins};
use instar_capi::{Cluster, ClusterClass, Topology};
use instar_domain::KubeVersion;
use instar_wiring::Wiring;

pub(crate) use self::bare::of_class as bare_templates_of_class;
pub use self::bare::of_cluster as judge_bare_templates;
pub use self::request::{Admitted, AnnotationChange, Facts, Requester, annotation, class_of};
use self::{edits::ExistingPins, request::Request, shape::Shape, target::ResolvedTarget};
use crate::{
    Finding, Rule,
    deprecation::{self, Use},
};

/// What a class doesn't render of a pin of a Cluster with this topology, where there is anything.
pub(crate) fn unrendered(
    topology: &Topology,
    class: &ClusterClass,
    wiring: &Wiring<'_>,
    version: &KubeVersion,
    pin: &Pin,
) -> Option<String> {
    // What is pinned has been chosen already, so labels don't count.
    let shape = Shape::of(None, topology, class);
    let metadata = &class.metadata;
    let (namespace, name) = (metadata.namespace.as_deref(), metadata.name.as_deref());
    let class = format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default());
    steps::uncovered(&class, &shape, wiring, version, pin, steps::Who::All).map(|uncovered| uncovered.what)
}

/// Judges the creation of a Cluster (`old` is absent) or an edit of one.
///
/// # Errors
/// The refusal.
pub fn admit(old: Option<&Cluster>, new: &Cluster, facts: Facts<'_>) -> Result<Admitted, Finding> {
    if new.metadata.deletion_timestamp.is_some() {
        return Ok(Admitted::default());
    }
    let Some(topology) = &new.spec.topology else {
        return edits::of_classic(old, new, facts);
    };
    let old_topology = old.and_then(|old| old.spec.topology.as_ref());
    let request = Request {
        old,
        old_topology,
        new,
        topology,
        facts,
    };
    match facts.class {
        None => request.unknown_class(),
        Some(class) => match Wiring::read(&class.spec) {
            None => request.unwired(class),
            Some(wiring) => request.wired(class, &wiring),
        },
    }
}

impl<'a> Request<'a> {
    /// Nothing can be said of a class that no cache has seen. It may be wired, and then a Cluster
    /// without pins would get bare templates.
    fn unknown_class(&self) -> Result<Admitted, Finding> {
        let unknown = format!("ClusterClass {} is not known", self.class_name());
        let mut admitted = edits::restored(self.old, self.new, &unknown);
        if self.old.is_none() {
            let carried = self.carried()?;
            let version = self.topology.version.parse::<KubeVersion>().ok();
            let covers = |pins: &Pins| version.as_ref().is_some_and(|version| pins.covers(version));
            let restored = self.brought_along(carried.as_ref(), None);
            admitted.findings.extend(restored.findings);
            admitted.warnings.extend(restored.warnings);
            if carried.as_ref().map_or_else(|| self.is_restored(), covers) {
                return Ok(admitted);
            }
        }
        if self.moves() {
            admitted.findings.push(self.deny(
                Rule::ClassKnown,
                "spec.topology.classRef",
                unknown,
                "create it first, or try again if it was created just now",
            ));
        }
        Ok(admitted)
    }

    fn wired(&self, class: &'a ClusterClass, wiring: &Wiring<'_>) -> Result<Admitted, Finding> {
        let shape = self.shape(class);
        let present = self.present()?;
        let base = ExistingPins::of(self, present.as_ref())?;
        let restored = self.brought_along(base.pins.as_ref(), Some(&shape));
        let named = edits::named_by_hand(self, &base)?;
        let landing = self.landing(class, present.as_ref(), base.pins.as_ref())?;
        let (aim, mut steps) = if let Some(landing) = &landing {
            (ResolvedTarget::Covered(landing.to.clone()), Vec::new())
        } else {
            let aim = self.aim(class, present.as_ref(), &base)?;
            let steps = self.steps(class, present.as_ref(), &aim, &base, &named)?;
            (aim, steps)
        };
        let mut findings = steps::check(self, &shape, wiring, present.as_ref(), &base, &steps)?;
        findings.extend(restored.findings);
        if landing.is_none() {
            findings.extend(self.moves_to(present.as_ref(), aim.version(present.as_ref()), &steps));
        }
        if let (ResolvedTarget::Stay, Some(target)) = (&aim, &present)
            && let Some(completion) = self.completion(class, target, &base, &named)?
        {
            for steps in [&completion.way, &completion.behind] {
                let start = Some(&completion.start);
                findings.extend(steps::check(self, &shape, wiring, start, &base, steps)?);
            }
            steps.extend(completion.named());
        }
        edits::all_taken(self, &named, |version| {
            steps.iter().any(|step| step.version() == version)
        })?;

        let target = aim.version(present.as_ref()).cloned();
        let mut pins = match (&landing, &base.pins) {
            (Some(landing), Some(pins)) => landing.keep(pins.clone()),
            (Some(_) | None, _) => self.keep(present.as_ref(), target.as_ref(), &base),
        };
        for step in &steps {
            let versions = (present.as_ref(), target.as_ref());
            let pin = self.pin(&shape, wiring, step, versions, &base);
            pins.releases.insert(step.version().clone(), pin);
        }
        // A user who names a release of an adopted version wants its values.
        let releases = &pins.releases;
        pins.adopted.retain(|adopted| !releases.contains_key(adopted));
        findings.extend(self.several_adopted(wiring, &pins));
        self.follow(&shape, &base, &mut pins)?;
        self.complete(&shape, wiring, target.as_ref(), &base, &mut pins, &steps)?;

        edits::keep_values(self, &base, &pins)?;

        let mut warnings = base.warnings;
        warnings.extend(restored.warnings);
        if present.is_some() && base.pins.is_none() && !steps.is_empty() && !pins.adopted.is_empty() {
            warnings.push(format!(
                "{} is adopted: {} stays as its class renders it",
                request::object(self.new),
                pins.adopted_text()
            ));
        }
        warnings.extend(self.followers(&pins, &steps));
        warnings.extend(steps.iter().filter_map(|step| step.row.preview()));
        findings.extend(self.deprecated(&aim, target.as_ref(), &steps));
        warnings.extend(landing.as_ref().map(landing::Landing::warning));
        let version = target.filter(|version| version.to_string() != self.topology.version);
        if let (Some(version), Some(last)) = (&version, steps.last()) {
            warnings.push(format!(
                "{} means {version}, release {}",
                self.topology.version,
                last.row.name()
            ));
        }
        // A Cluster that isn't adopted yet and doesn't move has nothing to carry.
        let pins = if base.pins.is_some() || !steps.is_empty() {
            AnnotationChange::to(&pins.to_annotation(), annotation(self.new))
        } else {
            AnnotationChange::None
        };
        Ok(Admitted {
            version,
            pins,
            path: AnnotationChange::None,
            version_check: self.version_check(landing.as_ref()),
            landing: landing.map(|landing| landing.to),
            another_release: self.another_release(&steps),
            warnings,
            findings,
        })
    }

    /// The releases of an edit that are to be left. What Cluster API goes through, or the controller adds to the pins, is
    /// not what the edit asks for.
    fn deprecated(
        &self,
        aim: &ResolvedTarget<'_>,
        target: Option<&KubeVersion>,
        steps: &[steps::Step<'_>],
    ) -> Vec<Finding> {
        let object = request::object(self.new);
        let moves = !matches!(aim, ResolvedTarget::Stay);
        let deprecated = steps.iter().filter_map(|step| {
            let is_target = moves && Some(step.version()) == target;
            let used = if is_target || step.is_again() {
                Use::Chosen
            } else {
                Use::Given
            };
            deprecation::judge(step.row, used, &object, request::VERSION, self.facts.today)
        });
        deprecated.collect()
    }

    /// The release by which a step replaces what a version that runs has now. A version that the pins didn't cover is one
    /// at which nothing could be rendered, so nothing is replaced.
    fn another_release(&self, steps: &[steps::Step<'_>]) -> Option<String> {
        let pins = annotation(self.old?).and_then(|pins| Pins::from_annotation(pins).ok());
        let had = |version: &KubeVersion| pins.as_ref().is_none_or(|pins| pins.covers(version));
        let mut steps = steps.iter().filter(|step| step.is_again());
        let step = steps.find(|step| had(step.version()))?;
        Some(step.row.name().to_owned())
    }

    /// The version that runs, as far as Cluster API lets a topology's version be edited only then. Nothing of a created
    /// Cluster. A classic Cluster that gets a topology runs what its control plane asks for.
    fn present(&self) -> Result<Option<KubeVersion>, Finding> {
        if self.old.is_none() {
            return Ok(None);
        }
        let Some(topology) = self.old_topology else {
            let running = || self.facts.running.map(|versions| versions.highest.clone());
            let present = self.control_plane_version().or_else(running);
            if present.is_none() && self.new.spec.control_plane_ref.is_some() {
                return Err(self.deny(
                    Rule::RestoredCluster,
                    "spec.topology",
                    "the version that its control plane runs is not known",
                    "try again when Instar has seen the control plane, or when status.controlPlane.versions says it",
                ));
            }
            return Ok(present);
        };
        topology.version.parse().map(Some).map_err(|error| {
            self.deny(
                Rule::Path,
                "spec.topology.version",
                format!("the present version can't be read: {error}"),
                "set a full version first",
            )
        })
    }

    /// A class that an older Instar has wired leaves the templates of one adopted version alone, and would render those
    /// of all where there are two.
    fn several_adopted(&self, wiring: &Wiring<'_>, pins: &Pins) -> Option<Finding> {
        if pins.adopted.len() < 2 || wiring.reads_several_adopted() {
            return None;
        }
        Some(self.deny(
            Rule::WiringRenders,
            "spec.topology",
            format!(
                "the Cluster runs {} without pins, and ClusterClass {} was wired when there could be one such version",
                pins.adopted_text(),
                self.class_name()
            ),
            "wire the class again: instar wire prints it",
        ))
    }
}

#[cfg(test)]
mod tests;
