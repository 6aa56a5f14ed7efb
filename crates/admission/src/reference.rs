//! References to templates: the template exists, is of the right kind, and belongs to no other Cluster.

use instar_api::Rule;
use instar_capi::Reference;

use crate::cluster_state::{ClusterState, Lookup, TemplateKey};

/// A reference, before and after.
pub(crate) struct TemplateRefChange {
    pub(crate) field: &'static str,
    /// What it named.
    pub(crate) from: Option<Reference>,
    /// What it would name.
    pub(crate) to: Reference,
}

/// What is wrong with a reference that is new: the rule, what is wrong, and what to do.
pub(crate) fn validate(
    reference: &TemplateRefChange,
    namespace: &str,
    cluster: Option<&str>,
    is_update: bool,
    state: &dyn ClusterState,
) -> Vec<(Rule, String, String)> {
    let TemplateRefChange { from, to, .. } = reference;
    if from.as_ref() == Some(to) {
        return Vec::new();
    }
    if let Some(wrong) = wrong_kind(from.as_ref(), to) {
        return vec![wrong];
    }
    let Reference { kind, name, .. } = to;
    match state.template(&TemplateKey::of(namespace, to)) {
        Lookup::Found(template) => {
            let owner = template.clusters.first();
            let is_foreign = cluster.is_some_and(|cluster| template.clusters.iter().all(|owner| owner != cluster));
            match owner {
                Some(owner) if is_foreign => vec![(
                    Rule::TemplateForeign,
                    format!("{kind} {name} belongs to Cluster {owner}"),
                    "copy it, and point to the copy, unless the Clusters are to share it".to_owned(),
                )],
                Some(_) | None => Vec::new(),
            }
        }
        Lookup::NotFound if is_update => vec![(
            Rule::TemplateExists,
            format!("{kind} {name} does not exist"),
            "create it first; if it was created just now, try again".to_owned(),
        )],
        Lookup::NotFound => vec![(
            Rule::TemplateToCome,
            format!("{kind} {name} does not exist yet"),
            "create it, or no machine will come".to_owned(),
        )],
        Lookup::NotYet(why) => vec![(
            Rule::TemplateUnseen,
            format!("{kind} {name} was not looked at: {why}"),
            "its kind is watched from now on: see that the template is of the release that you meant, and where this comes \
             again, apply the role of its provider (config/providers)"
                .to_owned(),
        )],
        Lookup::Unavailable(why) => vec![(
            Rule::TemplateUnseen,
            format!("{kind} {name} can't be looked at: {why}"),
            "apply the role of its provider (config/providers), or leave this rule off".to_owned(),
        )],
    }
}

fn wrong_kind(from: Option<&Reference>, to: &Reference) -> Option<(Rule, String, String)> {
    let is_template = to.kind.ends_with("Template");
    let changed = from.filter(|from| (&from.api_group, &from.kind) != (&to.api_group, &to.kind));
    let what = match changed {
        _ if !is_template => format!("{} is not a template's kind", to.kind),
        Some(from) => format!("{} would take the place of {}", to.kind, from.kind),
        None => return None,
    };
    let remediation = from.map_or_else(
        || "name a machine template".to_owned(),
        |from| format!("name a {} as before", from.kind),
    );
    Some((Rule::TemplateKind, what, remediation))
}
