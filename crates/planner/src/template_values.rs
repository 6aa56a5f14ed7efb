//! What Cluster API has rendered into a machine template.

use instar_api::Values;

use crate::{
    observed::Observed,
    snapshot::{Snapshot, Template, TemplateContent, TemplateRef},
};

/// What a template says, where it was read.
pub(crate) fn content<'s>(snapshot: &'s Snapshot, reference: &TemplateRef) -> Option<&'s TemplateContent> {
    let mut templates = snapshot.templates.iter().filter_map(Observed::read);
    let is_it = |template: &&Template| template.is(reference);
    templates.find(is_it)?.content.as_deref()
}

/// Whether a template is known to have these values. Of no values nothing can be said.
pub(crate) fn has(snapshot: &Snapshot, reference: &TemplateRef, values: &Values) -> bool {
    let Some(content) = content(snapshot, reference).filter(|_| !values.is_empty()) else {
        return false;
    };
    values.iter().all(|(pointer, value)| {
        let below = pointer.as_str().strip_prefix("/spec");
        below.and_then(|below| content.spec.pointer(below)) == Some(value)
    })
}
