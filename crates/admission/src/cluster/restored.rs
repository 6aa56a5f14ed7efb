//! A Cluster that is created with what it had elsewhere: by `clusterctl move`, from a backup, from an export.
//!
//! Its machines run, so it is taken as it is: pinned again, each of them would be replaced. But pins and a reference to
//! a control plane can be made up, too. Pins say what their releases say, or the user may create such releases; and a
//! control plane has been seen, or the user is one of those.

use instar_api::{Pin, Pins};
use instar_capi::Cluster;
use instar_catalog::Release;
use instar_domain::KubeVersion;

use super::{
    followers::by_release,
    request::{Admitted, Facts, PINS, Request, Requester, VERSION, annotation, deny, object},
    shape::Shape,
};
use crate::{Finding, Rule};

const AS_AUTHOR: &str = "restore it as a user who may create kubernetesreleases";

/// What is wrong with pins that a created Cluster brings along, and what its user should know: `shape` is absent where the templates of the Cluster are not known.
pub(super) fn pins(cluster: &Cluster, pins: &Pins, shape: Option<&Shape<'_>>, facts: Facts<'_>) -> Admitted {
    let mut restored = Admitted::default();
    // Which catalog is a Cluster's, only its class says.
    let is_known = cluster.spec.topology.is_none() || facts.class.is_some();
    let is_of_another = |row: &Release| is_known && row.catalog() != facts.catalog.name();
    for (version, pin) in &pins.releases {
        let release = &pin.release;
        match facts.catalog.named_anywhere(release) {
            // A Cluster keeps such pins when its catalog changes, and a user without rights in the catalog names none.
            Some(row) if is_of_another(row) && facts.requester == Requester::Other => {
                restored.findings.push(deny(
                    cluster,
                    Rule::RestoredCluster,
                    PINS,
                    format!(
                        "{version} is pinned to release {release}, which is of {}, and the Cluster's is {}",
                        row.catalog(),
                        facts.catalog.name()
                    ),
                    AS_AUTHOR,
                ));
            }
            Some(row) => {
                let (own, others) = by_release(pin);
                let lacks = || shape.and_then(|shape| shape.lacks(row, &own));
                let mut earlier = others.into_iter().filter_map(|(release, pin)| {
                    let row = facts.catalog.named_anywhere(release);
                    row.map_or_else(|| of_no_release(&pin), |row| row.contradicts(version, &pin))
                });
                if let Some(what) = row.contradicts(version, &own).or_else(lacks).or_else(|| earlier.next()) {
                    restored.findings.push(deny(
                        cluster,
                        Rule::RestoredCluster,
                        PINS,
                        format!("{version} is pinned to release {release}, and {what}"),
                        "restore the KubernetesRelease as it was, or leave the annotation out to create a new cluster",
                    ));
                }
            }
            None => unknown_release(&mut restored, cluster, version, pin, facts.requester),
        }
    }
    restored
}

/// Values of which nobody can say where they come from.
fn of_no_release(pin: &Pin) -> Option<String> {
    let mut values = pin.machine_deployments.values().chain(pin.machine_pools.values());
    values.any(|values| !values.is_empty()).then(|| {
        format!(
            "pools have values of release {}, which is not in the catalog",
            pin.release
        )
    })
}

fn unknown_release(restored: &mut Admitted, cluster: &Cluster, version: &KubeVersion, pin: &Pin, requester: Requester) {
    let what = format!(
        "{version} is pinned to release {}, which is not in the catalog",
        pin.release
    );
    match requester {
        Requester::ReleaseAuthor => {
            let warning = format!("{}: {what}: create it again as it was", object(cluster));
            restored.warnings.push(warning);
        }
        Requester::Other => restored.findings.push(deny(
            cluster,
            Rule::RestoredCluster,
            PINS,
            what,
            format!("create the KubernetesRelease again as it was, or {AS_AUTHOR}"),
        )),
    }
}

impl Request<'_> {
    /// Whether the Cluster is created with a control plane: a fresh topology Cluster gets its own from Cluster API.
    pub(super) const fn is_restored(&self) -> bool {
        self.old.is_none() && self.new.spec.control_plane_ref.is_some()
    }

    /// The pins that the new object carries.
    pub(super) fn carried(&self) -> Result<Option<Pins>, Finding> {
        let pins = annotation(self.new).map(Pins::from_annotation).transpose();
        pins.map_err(|garbled| {
            self.deny(
                Rule::PinsByHand,
                PINS,
                garbled.to_string(),
                "leave the annotation out: admission writes it",
            )
        })
    }

    /// What a created Cluster brings along.
    pub(super) fn brought_along(&self, pinned: Option<&Pins>, shape: Option<&Shape<'_>>) -> Admitted {
        if self.old.is_some() {
            return Admitted::default();
        }
        let mut restored = pinned.map_or_else(Admitted::default, |pinned| pins(self.new, pinned, shape, self.facts));
        let version = self.topology.version.parse::<KubeVersion>();
        let adopts = pinned.filter(|pinned| !pinned.adopted.is_empty());
        match (self.is_restored(), adopts) {
            (true, _) => restored
                .findings
                .extend(self.unseen_control_plane(pinned, version.as_ref().ok())),
            (false, Some(pinned)) => {
                restored.findings.push(self.deny(
                    Rule::RestoredCluster,
                    PINS,
                    format!(
                        "it adopts {}, and the Cluster has no control plane that runs (spec.controlPlaneRef)",
                        pinned.adopted_text()
                    ),
                    "leave the annotation out: admission writes it",
                ));
            }
            (false, None) => {}
        }
        if let (None, Err(error)) = (pinned, &version)
            && self.is_restored()
        {
            restored.findings.push(self.deny(
                Rule::VersionReadable,
                VERSION,
                format!("{} is not a version ({error})", self.topology.version),
                "set the full version that the control plane runs",
            ));
        }
        restored
    }

    /// Nothing where every template gets the values of a release: then it is no matter what runs.
    fn unseen_control_plane(&self, pinned: Option<&Pins>, version: Option<&KubeVersion>) -> Option<Finding> {
        if let (Some(pinned), Some(version)) = (pinned, version)
            && !pinned.covers(version)
        {
            return Some(self.deny(
                Rule::RestoredCluster,
                PINS,
                format!("it has no release for {version}, the version of the Cluster"),
                "restore the annotation as it was, or leave it out",
            ));
        }
        let is_pinned = pinned.is_some_and(|pinned| pinned.adopted.is_empty());
        let is_seen = self.facts.control_plane.is_some() || self.facts.running.is_some();
        match self.facts.requester {
            Requester::ReleaseAuthor => None,
            Requester::Other if is_pinned || is_seen => None,
            Requester::Other => Some(self.deny(
                Rule::RestoredCluster,
                "spec.controlPlaneRef",
                "the Cluster is created with a control plane that was not seen before",
                format!("{AS_AUTHOR}, or leave the reference out to create a new control plane"),
            )),
        }
    }
}

/// Of a classic Cluster, whose pins are the controller's.
pub(super) fn classic(cluster: &Cluster, facts: Facts<'_>) -> Result<Admitted, Finding> {
    let Some(text) = annotation(cluster) else {
        return Ok(Admitted::default());
    };
    let read = Pins::from_annotation(text).map_err(|garbled| {
        deny(
            cluster,
            Rule::RestoredCluster,
            PINS,
            garbled.to_string(),
            "leave the annotation out: Instar's controller writes it",
        )
    })?;
    Ok(pins(cluster, &read, None, facts))
}
