//! What nothing refers to any more, and only what we minted.

use instar_api::SOURCE_LABEL;
use instar_capi::Lifecycle;
use jiff::Timestamp;

use super::{Next, view::ClassicView};
use crate::{
    decision::{Action, DeleteTemplate, TemplateState, Waiting},
    name::label_value,
    snapshot::{Template, TemplateRef},
};

/// A template that we minted for the cluster.
pub(super) struct Minted<'a> {
    pub(super) template: &'a Template,
    pub(super) release: &'a str,
    pub(super) state: TemplateState,
}

/// The next template to delete. It is asked only when the upgrade is complete.
pub(super) fn next(view: &ClassicView<'_>, waiting: &mut Vec<Waiting>) -> Next {
    for minted in states(view) {
        let until = match minted.state {
            TemplateState::InUse | TemplateState::InMachineSet => continue,
            TemplateState::Previous { until } | TemplateState::Unused { until } => until.unwrap_or(Timestamp::MAX),
        };
        let template = minted.template;
        if view.snapshot.now >= until {
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

/// What each template that we minted is there for, as if the upgrade were complete.
pub(super) fn states<'a>(view: &ClassicView<'a>) -> Vec<Minted<'a>> {
    let present = present(view);
    let in_sets = in_machine_sets(view);
    let in_use: Vec<&Template> = view
        .templates
        .iter()
        .copied()
        .filter(|template| present.iter().any(|reference| template.is(reference)))
        .collect();
    // The last swap followed right on its template.
    let last = in_use.iter().map(|template| template.created).max();
    let retention = &view.snapshot.retention;
    let end = last.max(retention.ended);
    let earlier = view.snapshot.earlier_templates();
    let is_previous = |template: &Template| {
        let name = label_value(&template.name);
        if earlier.iter().any(|reference| template.is(reference)) {
            return true;
        }
        in_use
            .iter()
            .any(|used| used.kind == template.kind && used.labels.get(SOURCE_LABEL) == Some(&name))
    };
    let state = |template: &Template| {
        if present.iter().any(|reference| template.is(reference))
            || view.snapshot.used_elsewhere.contains(&template.reference())
        {
            return TemplateState::InUse;
        }
        if in_sets.iter().any(|reference| template.is(reference)) {
            return TemplateState::InMachineSet;
        }
        let until = |since: Timestamp, kept| Some(since.saturating_add(kept).unwrap_or(Timestamp::MAX));
        match end {
            Some(end) if is_previous(template) => TemplateState::Previous {
                until: until(end, retention.previous),
            },
            Some(_) | None => TemplateState::Unused {
                until: until(template.created, retention.other),
            },
        }
    };
    let live = view.templates.iter().copied();
    live.filter(|template| template.lifecycle != Lifecycle::Deleting)
        .filter_map(|template| {
            Some(Minted {
                release: view.minted_for(template)?,
                state: state(template),
                template,
            })
        })
        .collect()
}

/// What the control plane and the MachineDeployments refer to.
fn present<'a>(view: &ClassicView<'a>) -> Vec<&'a TemplateRef> {
    let workers = view.pools.iter().flat_map(|pool| pool.templates());
    let unversioned = view.snapshot.unversioned.iter().flat_map(|object| &object.templates);
    let control_plane = view.control_plane.infrastructure.iter();
    control_plane.chain(workers).chain(unversioned).collect()
}

/// What MachineSets refer to that aren't being deleted.
fn in_machine_sets<'a>(view: &ClassicView<'a>) -> Vec<&'a TemplateRef> {
    let sets = view.machine_sets.iter();
    sets.filter(|set| set.lifecycle != Lifecycle::Deleting)
        .flat_map(|set| set.templates())
        .collect()
}
