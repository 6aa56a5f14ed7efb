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

/// The generation that the status of an object describes. Seen with Cluster API v1.14: after a pause its own count may
/// stay behind for as long as nothing else of the status changes, while the condition `Paused` says of which edit the
/// object was resumed. The versions in the status may then be of before that edit, and aren't those that it set.
pub(crate) fn observed_generation(own: i64, paused: Option<&capi::Condition>) -> i64 {
    let resumed = paused.filter(|paused| paused.status == "False");
    resumed.map_or(own, |resumed| own.max(resumed.observed_generation))
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
