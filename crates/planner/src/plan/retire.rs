//! What nothing refers to any more, and only what we minted.

use jiff::Timestamp;

use super::{Next, scene::Scene};
use crate::{
    decision::{Action, DeleteTemplate, Waiting},
    mint::{SOURCE_LABEL, label_value},
    snapshot::{Standing, Template, TemplateRef},
};

/// The next template to delete. It is asked only when the upgrade is complete.
pub(super) fn next(scene: &Scene<'_>, waiting: &mut Vec<Waiting>) -> Next {
    let present = present(scene);
    let used = |template: &Template| {
        let of_sets = scene
            .machine_sets
            .iter()
            .filter(|set| set.standing != Standing::Deleting)
            .flat_map(|set| std::iter::once(&set.infrastructure).chain(&set.bootstrap));
        present
            .iter()
            .copied()
            .chain(of_sets)
            .any(|reference| template.is(reference))
    };
    let in_use: Vec<&&Template> = scene
        .templates
        .iter()
        .filter(|template| present.iter().any(|reference| template.is(reference)))
        .collect();
    // Nothing records when the upgrade ended; the last swap followed right on its template.
    let last = in_use.iter().map(|template| template.created).max();
    let is_previous = |template: &Template| {
        let name = label_value(&template.name);
        in_use
            .iter()
            .any(|used| used.kind == template.kind && used.labels.get(SOURCE_LABEL) == Some(&name))
    };
    for template in &scene.templates {
        let ours = scene.minted_for(template).is_some() && template.standing == Standing::Live;
        if !ours || used(template) {
            continue;
        }
        let retention = &scene.snapshot.retention;
        let (since, kept) = match last {
            Some(last) if is_previous(template) => (last, retention.previous),
            Some(_) | None => (template.created, retention.other),
        };
        let until = since.saturating_add(kept).unwrap_or(Timestamp::MAX);
        if scene.snapshot.now >= until {
            return Next::Write(Box::new(Action::DeleteTemplate(DeleteTemplate {
                api_version: template.api_version.clone(),
                template: template.reference(),
                resource_version: template.resource_version.clone(),
            })));
        }
        waiting.push(Waiting::Retained {
            template: template.reference(),
            until,
        });
    }
    Next::Done
}

/// What the control plane and the MachineDeployments refer to.
fn present<'a>(scene: &Scene<'a>) -> Vec<&'a TemplateRef> {
    let workers = scene
        .pools
        .iter()
        .flat_map(|pool| std::iter::once(&pool.infrastructure).chain(&pool.bootstrap));
    scene.control_plane.infrastructure.iter().chain(workers).collect()
}
