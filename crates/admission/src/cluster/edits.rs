//! What an edit does to the annotation itself: dropped, garbled, edited by hand.

use std::collections::BTreeMap;

use instar_api::{PATH_ANNOTATION, Pin, Pins, RELEASES_ANNOTATION};
use instar_capi::Cluster;
use instar_catalog::Release;
use instar_domain::KubeVersion;

use super::{
    followers::with_followed,
    request::{Admitted, AnnotationChange, Facts, PINS, Request, annotation},
    restored,
};
use crate::{Finding, Rule};

/// The pins to start from.
pub(super) struct ExistingPins {
    /// Those of the old object, or those that a created one brings along.
    pub(super) pins: Option<Pins>,
    /// They came with a created Cluster.
    pub(super) is_brought_along: bool,
    /// Pins that were edited by hand: what the new object says, where it differs.
    edited: BTreeMap<KubeVersion, Pin>,
    pub(super) warnings: Vec<String>,
}

impl ExistingPins {
    pub(super) fn of(request: &Request<'_>, present: Option<&KubeVersion>) -> Result<Self, Finding> {
        let Some(old) = request.old else {
            let pins = request.carried()?;
            return Ok(Self {
                is_brought_along: pins.is_some(),
                pins,
                edited: BTreeMap::new(),
                warnings: Vec::new(),
            });
        };
        let new = annotation(request.new).map(Pins::from_annotation);
        let old_text = annotation(old);
        let old = old_text.map(Pins::from_annotation).transpose().map_err(|garbled| {
            request.deny(
                Rule::PinsByHand,
                PINS,
                format!("what the Cluster carries was not written by this version of Instar: {garbled}"),
                "upgrade Instar, or restore the annotation from a backup with Instar's webhooks off",
            )
        })?;
        let mut warnings = Vec::new();
        let edited = match (&old, new) {
            (None | Some(_), None) => BTreeMap::new(),
            (_, Some(Err(garbled))) => {
                warnings.push(format!("{garbled}: it was put back"));
                BTreeMap::new()
            }
            (Some(old), Some(Ok(new))) => {
                let differs = |(version, pin): &(KubeVersion, Pin)| old.releases.get(version) != Some(pin);
                new.releases.into_iter().filter(differs).collect()
            }
            (None, Some(Ok(new))) => {
                if present.is_some_and(|present| !new.covers(present)) {
                    return Err(request.deny(
                        Rule::PinsByHand,
                        PINS,
                        format!("it has no pin for {}, which runs", request.topology.version),
                        "leave the annotation out: admission writes it with the next edit of spec.topology.version",
                    ));
                }
                new.releases.into_iter().collect()
            }
        };
        // A Cluster without pins that is given some by hand is adopted at the version that runs,
        // unless a row of that very version is named.
        let pins = match (old, edited.is_empty()) {
            (Some(old), _) => Some(old),
            (None, true) => None,
            (None, false) => Some(Pins {
                adopted: {
                    let mut runs = request.runs(present);
                    runs.retain(|version| !edited.contains_key(version));
                    runs
                },
                ..Pins::default()
            }),
        };
        Ok(Self {
            pins,
            is_brought_along: false,
            edited,
            warnings,
        })
    }

    /// What the new object says of a version, where it differs.
    pub(super) fn edited(&self) -> impl Iterator<Item = (&KubeVersion, &Pin)> {
        self.edited.iter()
    }

    pub(super) fn release_of(&self, version: &KubeVersion) -> Option<&str> {
        self.pin_of(version).map(|pin| pin.release.as_str())
    }

    pub(super) fn pin_of(&self, version: &KubeVersion) -> Option<&Pin> {
        self.pins.as_ref()?.releases.get(version)
    }
}

/// The rows that an edit of the annotation names. They must exist, and be of the very versions that
/// they are named for; their values are the rows', never what was written by hand.
pub(super) fn named_by_hand<'a>(
    request: &Request<'a>,
    base: &ExistingPins,
) -> Result<BTreeMap<KubeVersion, &'a Release>, Finding> {
    let mut named = BTreeMap::new();
    for (version, pin) in &base.edited {
        let name = &pin.release;
        // The same row again: its values are looked at when all is known.
        if base.release_of(version) == Some(name) {
            continue;
        }
        let row = request.facts.catalog.named(name).ok_or_else(|| {
            let catalog = request.facts.catalog;
            let why = match catalog.named_anywhere(name) {
                Some(row) => format!("is of {}, and the Cluster's is {}", row.catalog(), catalog.name()),
                None => "is not in the catalog".to_owned(),
            };
            request.deny(
                Rule::PinsByHand,
                PINS,
                format!("release {name:?}, named for {version}, {why}"),
                "name one that is (kubectl get kubernetesreleases)",
            )
        })?;
        if row.version() != version {
            return Err(request.deny(
                Rule::PinsByHand,
                PINS,
                format!("release {name} is of {}, and is named for {version}", row.version()),
                format!("name a release of {version}"),
            ));
        }
        named.insert(version.clone(), row);
    }
    Ok(named)
}

/// An edit that isn't taken is never answered as if it were.
pub(super) fn all_taken(
    request: &Request<'_>,
    named: &BTreeMap<KubeVersion, &Release>,
    is_taken: impl Fn(&KubeVersion) -> bool,
) -> Result<(), Finding> {
    match named.iter().find(|(version, _)| !is_taken(version)) {
        None => Ok(()),
        Some((version, row)) => Err(request.deny(
            Rule::PinsByHand,
            PINS,
            format!(
                "release {} is named for {version}, which this edit does not go through",
                row.name()
            ),
            "name it in an edit of its own, or name none for this version",
        )),
    }
}

/// Values can't be written by hand: an edit that keeps a row but not its values is refused, unless
/// they are what admission itself gives (which it sees when it looks a second time).
pub(super) fn keep_values(request: &Request<'_>, base: &ExistingPins, pins: &Pins) -> Result<(), Finding> {
    let rewritten = base.edited.iter().find(|(version, pin)| {
        let Some(before) = base.pin_of(version).filter(|before| before.release == pin.release) else {
            return false;
        };
        pins.releases
            .get(version)
            .is_some_and(|kept| kept.release == pin.release && *kept != with_followed(pin, before, kept))
    });
    match rewritten {
        None => Ok(()),
        Some((version, pin)) => Err(request.deny(
            Rule::PinsByHand,
            PINS,
            format!("the values of release {} for {version} can't be edited", pin.release),
            "create a KubernetesRelease with the values that you want, and name it there",
        )),
    }
}

/// The pins of a classic Cluster are the controller's to write, so that an upgrade goes where it was going and what runs
/// is known. The API server doesn't ask about the controller's own edits.
pub(super) fn of_classic(old: Option<&Cluster>, new: &Cluster, facts: Facts<'_>) -> Result<Admitted, Finding> {
    let Some(old) = old else {
        return restored::classic(new, facts);
    };
    let back = |name: &str| {
        let text = |cluster: &Cluster| cluster.metadata.annotations.as_ref()?.get(name).cloned();
        AnnotationChange::back_to(text(old).as_deref(), text(new).as_deref())
    };
    let (pins, path) = (back(RELEASES_ANNOTATION), back(PATH_ANNOTATION));
    let put_back = [(&pins, RELEASES_ANNOTATION), (&path, PATH_ANNOTATION)];
    let put_back: Vec<&str> = put_back
        .iter()
        .filter(|(change, _)| **change != AnnotationChange::None)
        .map(|(_, name)| *name)
        .collect();
    let warning = (!put_back.is_empty()).then(|| {
        format!(
            "put back, since only Instar's controller writes it: metadata.annotations[{}]",
            put_back.join("], metadata.annotations[")
        )
    });
    Ok(Admitted {
        pins,
        path,
        warnings: warning.into_iter().collect(),
        ..Admitted::default()
    })
}

/// Puts back what an edit dropped, garbled or added, where nothing more can be said of it. `why` it can't.
pub(super) fn restored(old: Option<&Cluster>, new: &Cluster, why: &str) -> Admitted {
    let pins = match old {
        Some(old) => AnnotationChange::back_to(annotation(old), annotation(new)),
        None => AnnotationChange::None,
    };
    let done = match &pins {
        AnnotationChange::None => None,
        AnnotationChange::Set(_) => Some("put back"),
        AnnotationChange::Remove => Some("taken away"),
    };
    Admitted {
        warnings: done
            .map(|done| format!("the annotation {RELEASES_ANNOTATION} was {done}: {why}, so it can't be edited now"))
            .into_iter()
            .collect(),
        pins,
        ..Admitted::default()
    }
}
