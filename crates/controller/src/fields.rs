//! Fields of Cluster API's objects, as the planner takes them.

use instar_capi as capi;
use instar_domain::KubeVersion;
use instar_planner::{Condition, ConditionStatus, TemplateRef};

pub(crate) fn version(text: &str) -> Result<KubeVersion, String> {
    text.parse()
        .map_err(|error| format!("its version can't be read: {error}"))
}

pub(crate) fn template_ref(reference: &capi::Reference) -> TemplateRef {
    TemplateRef {
        group: reference.api_group.clone(),
        kind: reference.kind.clone(),
        name: reference.name.clone(),
    }
}

pub(crate) fn condition(condition: &capi::Condition) -> Condition {
    Condition {
        kind: condition.kind.clone(),
        status: match condition.status.as_str() {
            "True" => ConditionStatus::True,
            "False" => ConditionStatus::False,
            _ => ConditionStatus::Unknown,
        },
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        observed_generation: condition.observed_generation,
    }
}
