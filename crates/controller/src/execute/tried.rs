//! The dry run of a swap, before the template is made to which it leads: Cluster API's webhooks, and those of others,
//! refuse it then, and nothing was written for it.

use serde_json::Value;

use crate::api::Error;

/// What an API server says where a webhook has side effects: nothing of the write itself.
const NO_DRY_RUN: &str = "does not support dry run";

/// Where a swap names templates.
const REFERENCES: [(&str, &str); 4] = [
    ("/spec/machineTemplate/spec", "infrastructureRef"),
    ("/spec/machineTemplate", "infrastructureRef"),
    ("/spec/template/spec", "infrastructureRef"),
    ("/spec/template/spec", "bootstrap"),
];

/// A swap's patch without the templates. A policy may ask that they exist, and only a write that isn't tried makes them:
/// so what is refused with them alone is no reason to stop.
pub(super) fn without_references(patch: &Value) -> Value {
    let mut patch = patch.clone();
    for (parent, member) in REFERENCES {
        if let Some(parent) = patch.pointer_mut(parent).and_then(Value::as_object_mut) {
            parent.remove(member);
        }
    }
    patch
}

/// Whether a dry run says that the write would be refused.
pub(super) fn is_refused(error: &Error) -> bool {
    error.refusal().is_some_and(|message| !message.contains(NO_DRY_RUN))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_tried_again_names_no_template() {
        let of_workers = json!({
            "metadata": { "resourceVersion": "1" },
            "spec": { "template": { "spec": {
                "version": "v1.35.4",
                "infrastructureRef": { "name": "a" },
                "bootstrap": { "configRef": { "name": "b" } },
            } } },
        });
        let expected = json!({
            "metadata": { "resourceVersion": "1" },
            "spec": { "template": { "spec": { "version": "v1.35.4" } } },
        });
        assert_eq!(without_references(&of_workers), expected);
        let of_control_plane =
            |template: Value| json!({ "spec": { "version": "v1.35.4", "machineTemplate": template } });
        let reference = json!({ "infrastructureRef": { "name": "a" } });
        assert_eq!(
            without_references(&of_control_plane(reference.clone())),
            of_control_plane(json!({}))
        );
        assert_eq!(
            without_references(&of_control_plane(json!({ "spec": reference }))),
            of_control_plane(json!({ "spec": {} }))
        );
    }
}
