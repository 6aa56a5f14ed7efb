//! The pins that Cluster API's plan has come to need: the class' versions changed on the way.

use std::collections::{BTreeMap, BTreeSet};

use instar_api::{Pin, RELEASES_ANNOTATION};
use instar_domain::KubeVersion;
use serde_json::json;

use super::view::TopologyView;
use crate::decision::{Action, CompletePins, Waiting};

/// Names a release for each version that Cluster API plans and that has no pin. What is pinned
/// stays as it is. A Cluster without pins has nothing that could be completed.
pub(super) fn complete(view: &TopologyView<'_>, waiting: &mut Vec<Waiting>) -> Action {
    let Some(pins) = &view.topology.pins else {
        return Action::Nothing;
    };
    let mut releases = BTreeMap::new();
    for version in planned(view).filter(|version| !pins.covers(version)) {
        match view.snapshot.catalog.best(version, view.today) {
            Some(row) => {
                releases.insert(version.clone(), row.name().to_owned());
            }
            None => waiting.push(Waiting::NoRow {
                version: version.clone(),
            }),
        }
    }
    if releases.is_empty() {
        return Action::Nothing;
    }
    let mut completed = pins.clone();
    for (version, release) in &releases {
        let pin = Pin {
            release: release.clone(),
            ..Pin::default()
        };
        completed.releases.insert(version.clone(), pin);
    }
    let resource_version = view.topology.resource_version.clone();
    let patch = json!({ "metadata": {
        "resourceVersion": resource_version,
        "annotations": { RELEASES_ANNOTATION: completed.to_annotation() },
    }});
    Action::CompletePins(CompletePins {
        name: view.snapshot.cluster.name.clone(),
        resource_version,
        releases,
        patch,
    })
}

/// What Cluster API plans. A plan that doesn't end at the Cluster's version is one of before.
fn planned<'a>(view: &TopologyView<'a>) -> impl Iterator<Item = &'a KubeVersion> {
    let topology = view.topology;
    let plans = [&topology.control_plane_plan, &topology.workers_plan];
    let current = plans.into_iter().filter(|plan| plan.last() == Some(&topology.version));
    current.flatten().collect::<BTreeSet<_>>().into_iter()
}
