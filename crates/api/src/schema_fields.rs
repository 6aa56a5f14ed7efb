//! Which fields two schemas of a kind don't share, and which fields of an object a schema doesn't have: an API server prunes
//! them without a word.

use std::collections::BTreeSet;

use serde_json::Value;

/// At the root these belong to the API server.
const OF_EVERY_OBJECT: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// The fields of one schema that another one doesn't have, each without those below it, as `status.health[].level`. What a
/// schema takes without knowing it is `.*`.
#[must_use]
pub fn missing_fields(lacking: &Value, than: &Value) -> BTreeSet<String> {
    let mut missing = BTreeSet::new();
    compare("", lacking, than, &mut missing);
    missing
}

/// The fields of an object that a schema doesn't have, each without those below it.
#[must_use]
pub fn pruned_fields(object: &Value, schema: &Value) -> BTreeSet<String> {
    let mut pruned = BTreeSet::new();
    prune("", object, schema, &mut pruned);
    pruned
}

fn compare(path: &str, lacking: &Value, than: &Value, missing: &mut BTreeSet<String>) {
    if keeps_unknown(lacking) {
        return;
    }
    if keeps_unknown(than) {
        missing.insert(below(path, "*"));
        return;
    }
    for (name, field) in properties(than) {
        if path.is_empty() && OF_EVERY_OBJECT.contains(&name.as_str()) {
            continue;
        }
        let path = below(path, name);
        match member(lacking, name) {
            Member::Known(known) => compare(&path, known, field, missing),
            Member::Anything => {}
            Member::Unknown => {
                missing.insert(path);
            }
        }
    }
    match (&lacking["additionalProperties"], &than["additionalProperties"]) {
        (Value::Object(_), Value::Object(_)) => {
            let path = below(path, "*");
            compare(
                &path,
                &lacking["additionalProperties"],
                &than["additionalProperties"],
                missing,
            );
        }
        (Value::Object(_) | Value::Bool(true), _) | (_, Value::Null | Value::Bool(false)) => {}
        (_, _) => {
            missing.insert(below(path, "*"));
        }
    }
    if than["items"].is_object() {
        compare(&format!("{path}[]"), &lacking["items"], &than["items"], missing);
    }
}

fn prune(path: &str, value: &Value, schema: &Value, pruned: &mut BTreeSet<String>) {
    if keeps_unknown(schema) {
        return;
    }
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if path.is_empty() && OF_EVERY_OBJECT.contains(&name.as_str()) {
                    continue;
                }
                let path = below(path, name);
                match member(schema, name) {
                    Member::Known(schema) => prune(&path, value, schema, pruned),
                    Member::Anything => {}
                    Member::Unknown => {
                        pruned.insert(path);
                    }
                }
            }
        }
        Value::Array(items) => {
            let path = format!("{path}[]");
            for item in items {
                prune(&path, item, &schema["items"], pruned);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What a schema says of a member.
enum Member<'s> {
    Known(&'s Value),
    /// Whatever it has stays.
    Anything,
    /// It is pruned.
    Unknown,
}

fn member<'s>(schema: &'s Value, name: &str) -> Member<'s> {
    if keeps_unknown(schema) {
        return Member::Anything;
    }
    if let Some(field) = schema["properties"].get(name) {
        return Member::Known(field);
    }
    match &schema["additionalProperties"] {
        Value::Object(_) => Member::Known(&schema["additionalProperties"]),
        Value::Bool(true) => Member::Anything,
        Value::Null | Value::Bool(false) | Value::Number(_) | Value::String(_) | Value::Array(_) => Member::Unknown,
    }
}

fn keeps_unknown(schema: &Value) -> bool {
    schema["x-kubernetes-preserve-unknown-fields"] == true
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten()
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rich() -> Value {
        json!({ "properties": {
            "metadata": { "type": "object" },
            "spec": { "properties": {
                "target": { "type": "string" },
                "labels": { "additionalProperties": { "type": "string" } },
                "pools": { "items": { "properties": { "name": {}, "hold": {} } } },
            }},
            "status": { "properties": { "phase": {} } },
            "free": { "x-kubernetes-preserve-unknown-fields": true },
        }})
    }

    fn fields(fields: &[&str]) -> BTreeSet<String> {
        fields.iter().map(|field| (*field).to_owned()).collect()
    }

    #[test]
    fn fields_that_one_schema_lacks_are_named() {
        let plain = json!({ "properties": {
            "spec": { "properties": { "target": {}, "labels": {}, "pools": { "items": { "properties": { "name": {} } } } } },
            "free": { "properties": { "a": {} } },
        }});
        let missing = ["free.*", "spec.labels.*", "spec.pools[].hold", "status"];
        for (lacking, than, expected) in [
            (&rich(), &rich(), &missing[..0]),
            (&rich(), &plain, &missing[..0]),
            (&plain, &rich(), &missing[..]),
            (
                &json!({ "x-kubernetes-preserve-unknown-fields": true }),
                &rich(),
                &missing[..0],
            ),
            (&Value::Null, &rich(), &["free", "spec", "status"]),
        ] {
            assert_eq!(missing_fields(lacking, than), fields(expected), "{lacking}");
        }
    }

    #[test]
    fn fields_of_an_object_that_a_schema_lacks_are_named() {
        let object = json!({
            "apiVersion": "v", "kind": "K", "metadata": { "name": "n", "annotations": {} },
            "spec": { "target": "v1", "labels": { "a": "b" }, "pools": [{ "name": "p" }, { "name": "q", "hold": false }] },
            "status": { "phase": "Held" },
            "free": { "what": ["ever"] },
        });
        assert_eq!(pruned_fields(&object, &rich()), fields(&[]));
        let lacking = json!({ "properties": {
            "spec": { "properties": { "target": {}, "labels": {}, "pools": { "items": { "properties": { "name": {} } } } } },
            "free": { "additionalProperties": true },
        }});
        assert_eq!(
            pruned_fields(&object, &lacking),
            fields(&["spec.labels.a", "spec.pools[].hold", "status"])
        );
    }
}
