//! Where to: what the record or the wish asks, against the Cluster's version.

use instar_api::SWAP_HISTORY_ANNOTATION;
use instar_catalog::{Release, Resolved};
use instar_domain::{BuildOrder, KubeVersion, Minor};
use serde_json::json;

use super::{holds, hooks, release_change, view::TopologyView};
use crate::{
    classic::is_older,
    decision::{Action, EditVersion, Waiting},
    gates,
    path::NoPath,
    snapshot::VersionSetBy,
    upgrade_spec::{Origin, Target},
};

/// What is to be done about the Cluster's version.
pub(super) enum Goal {
    /// Nothing: it is what was asked.
    There,
    /// This write: the edit, or what comes before it.
    Write(Box<Action>),
    /// Nothing, and this is why.
    Held(Vec<Waiting>),
}

impl Goal {
    pub(super) fn find(view: &TopologyView<'_>) -> Self {
        let present = &view.topology.version;
        let upgrade_spec = &view.snapshot.upgrade_spec;
        let (Target::Text(target) | Target::Release(target)) = &upgrade_spec.target;
        match upgrade_spec.origin {
            Origin::Upgrade => {}
            // The record of an edit, as admission and Cluster API have accepted it.
            Origin::Cluster => {
                let is_release = view.topology.release_of(present) == Some(target);
                return if is_release || target.parse().as_ref() == Ok(present) {
                    Self::There
                } else {
                    Self::Held(vec![Waiting::Superseded {
                        version: present.clone(),
                    }])
                };
            }
        }
        if let Target::Text(text) = &upgrade_spec.target
            && is_older(text, present)
        {
            return Self::Held(vec![older(present, text)]);
        }
        let row = match resolve(view) {
            Ok(None) => return Self::There,
            Ok(Some(row)) => row,
            Err(reason) => return Self::Held(vec![reason]),
        };
        // Where it was aborted, it may begin again.
        let is_ours = |set_by: &&VersionSetBy| {
            set_by.upgrade == upgrade_spec.upgrade && set_by.target == *target && set_by.landed.is_none()
        };
        let mut waiting = Vec::new();
        let written = view.topology.version_set_by.as_ref().filter(is_ours);
        if written.is_some() {
            waiting.push(Waiting::VersionEdited {
                version: present.clone(),
            });
        }
        if row.version().compare(present) == BuildOrder::Less {
            waiting.push(older(present, &row.version().to_string()));
        } else if let Some(mismatch) = source_mismatch(view).filter(|_| written.is_none()) {
            waiting.push(mismatch);
        } else if written.is_none() && (view.is_moving() || is_other_change(view, row)) {
            waiting.push(Waiting::UpgradeUnderWay {
                version: present.clone(),
            });
        } else {
            let workers = holds::after_edit(view, row);
            waiting.extend(gates::before_edit(
                view.snapshot,
                row.version(),
                Some(row.name()),
                workers,
            ));
            if hooks::asks_for_each_step(view, row.version()) {
                waiting.retain(|waiting| !hooks::is_approval_of_control_plane(waiting));
            }
            if hooks::asks_gates_of_each_step(view, row.version()) {
                waiting.retain(|waiting| !hooks::is_gate_of_control_plane(waiting));
            }
        }
        if waiting.is_empty() {
            let edit = edit(view, row);
            let first = holds::before_edit(view, row, &edit);
            Self::Write(Box::new(first.unwrap_or(Action::EditVersion(edit))))
        } else {
            Self::Held(waiting)
        }
    }
}

/// Whether a release of the Cluster's version is replaced, and this isn't to another release of it: that one may be what
/// gets a control plane on whose machines never come up.
fn is_other_change(view: &TopologyView<'_>, row: &Release) -> bool {
    release_change::is_under_way(view) && *row.version() != view.topology.version
}

/// Whether another release of the Cluster's version is asked for than the one that it is pinned to.
pub(super) fn names_other_release(view: &TopologyView<'_>) -> bool {
    let row = match view.snapshot.upgrade_spec.origin {
        Origin::Upgrade => resolve(view).ok().flatten(),
        Origin::Cluster => None,
    };
    row.is_some_and(|row| *row.version() == view.topology.version)
}

fn older(present: &KubeVersion, wanted: &str) -> Waiting {
    Waiting::NoPath(Box::new(NoPath::Downgrade {
        present: present.clone(),
        wanted: wanted.to_owned(),
    }))
}

/// Holds `spec.source` against the version from which the Cluster would go.
fn source_mismatch(view: &TopologyView<'_>) -> Option<Waiting> {
    let source = view.snapshot.upgrade_spec.source.as_ref()?;
    let present = &view.topology.version;
    let is_present = source.parse().is_ok_and(|version: KubeVersion| version == *present)
        || source.parse().is_ok_and(|minor: Minor| minor == present.minor());
    (!is_present).then(|| Waiting::SourceMismatch {
        source: source.clone(),
        present: present.clone(),
    })
}

/// The row to go to; nothing where the present version is what was asked.
fn resolve<'a>(view: &TopologyView<'a>) -> Result<Option<&'a Release>, Waiting> {
    let catalog = &view.snapshot.catalog;
    let present = &view.topology.version;
    let row = match &view.snapshot.upgrade_spec.target {
        Target::Text(text) => match catalog.resolve(text, Some(present), None, view.today) {
            Ok(Resolved::Unchanged) => return Ok(None),
            Ok(Resolved::Release(row)) => row,
            Err(miss) => return Err(Waiting::NoTarget(miss)),
        },
        Target::Release(name) => catalog
            .named(name)
            .ok_or_else(|| Waiting::no_release(catalog, None, name))?,
    };
    // Another row of the very version was asked for by its name.
    let pins = view.topology.pins.as_ref();
    let pin = pins.and_then(|pins| pins.releases.get(present));
    let is_pinned = row.version() == present && pin.is_some_and(|pin| pin.release == row.name());
    Ok((!is_pinned).then_some(row))
}

/// The text goes as it is: admission knows what the class offers, and resolves it. Where a version was approved, or add-ons
/// or gates were asked for it, it goes there and nowhere else.
fn edit(view: &TopologyView<'_>, row: &Release) -> EditVersion {
    let resource_version = view.topology.resource_version.clone();
    let upgrade_spec = &view.snapshot.upgrade_spec;
    let asked = VersionSetBy {
        upgrade: upgrade_spec.upgrade.clone(),
        target: upgrade_spec.target.as_str().to_owned(),
        landed: None,
    };
    let is_chosen = !view.snapshot.approvals.required.is_empty()
        || gates::may_hold_edit(view.snapshot, row.version(), Some(row.name()));
    let target = match &upgrade_spec.target {
        Target::Text(text) if is_chosen && text != row.name() => row.version().to_string(),
        Target::Text(text) | Target::Release(text) => text.clone(),
    };
    let patch = json!({
        "metadata": {
            "resourceVersion": resource_version,
            "annotations": { SWAP_HISTORY_ANNOTATION: asked.to_annotation() },
        },
        "spec": { "topology": { "version": target } },
    });
    EditVersion {
        name: view.snapshot.cluster.name.clone(),
        resource_version,
        target,
        patch,
    }
}
