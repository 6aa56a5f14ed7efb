//! Where to: what the record or the wish asks, against the Cluster's version.

use instar_catalog::{Release, Resolved};
use instar_domain::{BuildOrder, KubeVersion, Minor};
use serde_json::json;

use super::scene::Scene;
use crate::{
    LEDGER_ANNOTATION,
    decision::{EditVersion, Waiting},
    path::NoPath,
    plan::is_older,
    snapshot::Asked,
    wish::{Gate, GateState, Origin, Target},
};

/// What is to be done about the Cluster's version.
pub(super) enum Goal {
    /// Nothing: it is what was asked.
    There,
    /// This write.
    Edit(Box<EditVersion>),
    /// Nothing, and this is why.
    Held(Vec<Waiting>),
}

impl Goal {
    pub(super) fn find(scene: &Scene<'_>) -> Self {
        let present = &scene.topology.version;
        let wish = &scene.snapshot.wish;
        let (Target::Text(target) | Target::Release(target)) = &wish.target;
        match wish.origin {
            Origin::Upgrade => {}
            // The record of an edit, as admission and Cluster API have accepted it.
            Origin::Cluster => {
                return if target.parse().as_ref() == Ok(present) {
                    Self::There
                } else {
                    Self::Held(vec![Waiting::Superseded {
                        version: present.clone(),
                    }])
                };
            }
        }
        if let Target::Text(text) = &wish.target
            && is_older(text, present)
        {
            return Self::Held(vec![older(present, text)]);
        }
        let row = match resolve(scene) {
            Ok(None) => return Self::There,
            Ok(Some(row)) => row,
            Err(reason) => return Self::Held(vec![reason]),
        };
        let is_ours = |asked: &&Asked| asked.upgrade == wish.upgrade && asked.target == *target;
        let mut waiting = Vec::new();
        let written = scene.topology.asked.as_ref().filter(is_ours);
        if written.is_some() {
            waiting.push(Waiting::VersionEdited {
                version: present.clone(),
            });
        }
        if row.version().compare(present) == BuildOrder::Less {
            waiting.push(older(present, &row.version().to_string()));
        } else if let Some(mismatch) = source_mismatch(scene).filter(|_| written.is_none()) {
            waiting.push(mismatch);
        } else if written.is_none() && scene.is_moving() {
            waiting.push(Waiting::UpgradeUnderWay {
                version: present.clone(),
            });
        } else {
            waiting.extend(gates(scene));
        }
        if waiting.is_empty() {
            Self::Edit(Box::new(edit(scene, target)))
        } else {
            Self::Held(waiting)
        }
    }
}

fn older(present: &KubeVersion, wanted: &str) -> Waiting {
    Waiting::NoPath(Box::new(NoPath::Downgrade {
        present: present.clone(),
        wanted: wanted.to_owned(),
    }))
}

/// Holds `spec.source` against the version from which the Cluster would go.
fn source_mismatch(scene: &Scene<'_>) -> Option<Waiting> {
    let source = scene.snapshot.wish.source.as_ref()?;
    let present = &scene.topology.version;
    let is_present = source.parse().is_ok_and(|version: KubeVersion| version == *present)
        || source.parse().is_ok_and(|minor: Minor| minor == present.minor());
    (!is_present).then(|| Waiting::SourceMismatch {
        source: source.clone(),
        present: present.clone(),
    })
}

/// The row to go to; nothing where the present version is what was asked.
fn resolve<'a>(scene: &Scene<'a>) -> Result<Option<&'a Release>, Waiting> {
    let catalog = &scene.snapshot.catalog;
    let present = &scene.topology.version;
    let row = match &scene.snapshot.wish.target {
        Target::Text(text) => match catalog.resolve(text, Some(present), None, scene.today) {
            Ok(Resolved::Unchanged) => return Ok(None),
            Ok(Resolved::Release(row)) => row,
            Err(miss) => return Err(Waiting::NoTarget(miss)),
        },
        Target::Release(name) => catalog.named(name).ok_or_else(|| Waiting::NoRelease {
            pool: None,
            release: name.clone(),
        })?,
    };
    // Another row of the very version was asked for by its name.
    let pins = scene.topology.pins.as_ref();
    let pin = pins.and_then(|pins| pins.releases.get(present));
    let is_pinned = row.version() == present && pin.is_some_and(|pin| pin.release == row.name());
    Ok((!is_pinned).then_some(row))
}

fn gates(scene: &Scene<'_>) -> impl Iterator<Item = Waiting> {
    Gate::CONTROL_PLANE
        .iter()
        .filter_map(|gate| match scene.snapshot.gates.get(gate) {
            None | Some(GateState::Open) => None,
            Some(GateState::Closed { reason }) => Some(Waiting::GateClosed {
                gate: *gate,
                reason: reason.clone(),
            }),
        })
}

/// The text goes as it is: admission knows what the class offers, and resolves it.
fn edit(scene: &Scene<'_>, target: &str) -> EditVersion {
    let resource_version = scene.topology.resource_version.clone();
    let asked = Asked {
        upgrade: scene.snapshot.wish.upgrade.clone(),
        target: target.to_owned(),
    };
    let patch = json!({
        "metadata": {
            "resourceVersion": resource_version,
            "annotations": { LEDGER_ANNOTATION: asked.to_annotation() },
        },
        "spec": { "topology": { "version": target } },
    });
    EditVersion {
        name: scene.snapshot.cluster.name.clone(),
        resource_version,
        target: target.to_owned(),
        patch,
    }
}
