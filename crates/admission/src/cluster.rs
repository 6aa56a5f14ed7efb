//! A Cluster's version and its pins.
//!
//! [`admit`] is called twice for a request: first to find what has to be written into the Cluster
//! (the full version, the pins), then, on the object that all webhooks have made of it, to see that
//! nothing is left to write.

mod completion;
mod edits;
mod kept;
mod moves;
mod request;
mod shape;
mod steps;
mod target;
mod unwired;

use instar_api::{Pin, Pins};
use instar_capi::{Cluster, ClusterClass, Topology};
use instar_domain::KubeVersion;
use instar_wiring::Wiring;

pub use self::request::{Admitted, Facts, annotation, class_of};
use self::{edits::ExistingPins, request::Request, shape::Shape, target::ResolvedTarget};
use crate::{Finding, Rule};

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
        return Ok(edits::of_classic(old, new));
    };
    let old = old.filter(|old| old.spec.topology.is_some());
    let old_topology = old.and_then(|old| old.spec.topology.as_ref());
    let request = Request {
        old,
        old_topology,
        new,
        topology,
        facts,
    };
    match facts.class {
        None => Ok(request.unknown_class()),
        Some(class) => match Wiring::read(&class.spec) {
            None => request.unwired(class),
            Some(wiring) => request.wired(class, &wiring),
        },
    }
}

impl<'a> Request<'a> {
    /// Nothing can be said of a class that no cache has seen. It may be wired, and then a Cluster
    /// without pins would get bare templates.
    fn unknown_class(&self) -> Admitted {
        let version = self.topology.version.parse::<KubeVersion>().ok();
        let brought_along = annotation(self.new).and_then(|text| Pins::from_annotation(text).ok());
        let is_covered = |pins: &Pins| version.as_ref().is_some_and(|version| pins.covers(version));
        if self.old.is_none() && brought_along.as_ref().is_some_and(is_covered) {
            return Admitted::default();
        }
        let mut restored = edits::restored(self.old, self.new);
        if self.moves() {
            restored.findings.push(self.deny(
                Rule::ClassKnown,
                "spec.topology.classRef",
                format!("ClusterClass {} is not known", self.class_name()),
                "create it first, or try again if it was created just now",
            ));
        }
        restored
    }

    fn wired(&self, class: &'a ClusterClass, wiring: &Wiring<'_>) -> Result<Admitted, Finding> {
        let shape = Shape::of(self.new.metadata.labels.as_ref(), self.topology, class);
        let present = self.present()?;
        let base = ExistingPins::of(self, present.as_ref())?;
        let named = edits::named_by_hand(self, &base)?;
        let aim = self.aim(class, present.as_ref(), &base)?;
        let mut steps = self.steps(class, present.as_ref(), &aim, &base, &named)?;
        let mut findings = steps::check(self, &shape, wiring, present.as_ref(), &base, &steps)?;
        findings.extend(self.moves_to(present.as_ref(), aim.version(present.as_ref()), &steps));
        if let (ResolvedTarget::Stay, Some(target)) = (&aim, &present)
            && let Some(completion) = self.completion(class, target, &base, &named)?
        {
            findings.extend(steps::check(
                self,
                &shape,
                wiring,
                Some(&completion.start),
                &base,
                &completion.way,
            )?);
            steps.extend(completion.added());
        }

        let target = aim.version(present.as_ref()).cloned();
        let mut pins = self.keep(present.as_ref(), target.as_ref(), &base);
        for step in &steps {
            pins.releases.insert(step.version().clone(), shape.mint(step.row));
        }
        // A user who names a release of the adopted version wants its values.
        pins.adopted.take_if(|adopted| pins.releases.contains_key(adopted));
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
            warnings.extend(step.row.warning(self.facts.today));
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
            path: None,
            warnings,
            findings,
        })
    }

    /// The version that runs, as far as Cluster API lets a topology's version be edited only then.
    fn present(&self) -> Result<Option<KubeVersion>, Finding> {
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
}

#[cfg(test)]
mod tests;
