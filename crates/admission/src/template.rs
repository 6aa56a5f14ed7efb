//! Machine templates: `spec.template.spec` is immutable, whatever the kind.

use instar_capi::labels::TOPOLOGY_DRY_RUN;
use serde_json::Value;

use crate::{Denial, Rule};

/// Whether an update of a machine template is allowed.
///
/// The topology controller asks in a dry run what a template would become, and is let through as
/// Cluster API defines it: the request is a dry run *and* the new object has the annotation.
/// Source: `IsDryRunRequest` in cluster-api's util/topology.
///
/// # Errors
/// The refusal.
pub fn update(old: &Value, new: &Value, dry_run: bool) -> Result<(), Denial> {
    const SPEC: &str = "/spec/template/spec";
    if old.pointer(SPEC) == new.pointer(SPEC) {
        return Ok(());
    }
    let annotations = new.pointer("/metadata/annotations");
    if dry_run && annotations.is_some_and(|annotations| annotations.get(TOPOLOGY_DRY_RUN).is_some()) {
        return Ok(());
    }
    let text = |pointer: &str| {
        new.pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("unknown")
            .to_owned()
    };
    let pointer = first_difference(old.pointer(SPEC), new.pointer(SPEC), SPEC.to_owned());
    Err(Denial {
        rule: Rule::TemplateImmutable,
        object: format!(
            "{} {}/{}",
            text("/kind"),
            text("/metadata/namespace"),
            text("/metadata/name")
        ),
        field: "spec.template.spec",
        what: format!("it is immutable, and {pointer} would change"),
        way_out: "machines are replaced, not changed: create a new template and point to it".to_owned(),
    })
}

/// Where two values begin to differ, so that a reader needn't compare them.
fn first_difference(old: Option<&Value>, new: Option<&Value>, at: String) -> String {
    let (Some(Value::Object(old)), Some(Value::Object(new))) = (old, new) else {
        return at;
    };
    let changed = |key: &&String| old.get(*key) != new.get(*key);
    let key = old.keys().find(changed).or_else(|| new.keys().find(changed));
    match key {
        Some(key) => first_difference(
            old.get(key),
            new.get(key),
            format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")),
        ),
        None => at,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(image: &str, metadata: &Value) -> Value {
        json!({"kind": "DevMachineTemplate", "metadata": metadata, "spec": {"template": {"metadata": {"labels": {"a": image}}, "spec": {"backend": {"image": image, "size": 1}}}}})
    }

    #[test]
    fn the_spec_of_the_machines_is_immutable() {
        let metadata = json!({"namespace": "ns", "name": "t"});
        let denial = update(&template("a", &metadata), &template("b", &metadata), false).unwrap_err();
        assert_eq!(
            denial.to_string(),
            "DevMachineTemplate ns/t: spec.template.spec: it is immutable, and /spec/template/spec/backend/image would change; machines are replaced, not changed: create a new template and point to it [rule template-immutable]"
        );
        let mut labelled = template("a", &metadata);
        labelled["spec"]["template"]["metadata"] = json!({});
        assert_eq!(update(&template("a", &metadata), &labelled, false), Ok(()));
    }

    #[test]
    fn only_a_dry_run_with_the_annotation_is_exempt() {
        let marked = json!({"namespace": "ns", "name": "t", "annotations": {TOPOLOGY_DRY_RUN: ""}});
        let plain = json!({"namespace": "ns", "name": "t"});
        for (metadata, dry_run, allowed) in [
            (&marked, true, true),
            (&marked, false, false),
            (&plain, true, false),
            (&plain, false, false),
        ] {
            let verdict = update(&template("a", metadata), &template("b", metadata), dry_run);
            assert_eq!(verdict.is_ok(), allowed, "{metadata} {dry_run}");
        }
        // The annotation counts on the new object, not on the old one.
        assert!(update(&template("a", &marked), &template("b", &plain), true).is_err());
    }
}
