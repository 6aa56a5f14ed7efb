//! The CRD keeps what it promises: bounded, described, with no way around the schema.

use serde_json::{Value, json};

/// What is wrong with a schema, by path.
fn lint(path: &str, schema: &Value, findings: &mut Vec<String>) {
    let has = |member: &str| schema.get(member).is_some();
    let mut complain = |what: &str| findings.push(format!("{path}: {what}"));

    let string = schema["type"] == "string" || schema["x-kubernetes-int-or-string"] == true;
    if string && !has("maxLength") && !has("enum") && schema["format"] != "date" {
        complain("a string without maxLength or enum");
    }
    if schema["type"] == "array" {
        if !has("maxItems") {
            complain("an array without maxItems");
        }
        if !has("x-kubernetes-list-type") {
            complain("an array without x-kubernetes-list-type");
        }
    }
    if has("additionalProperties") && !has("maxProperties") {
        complain("a map without maxProperties");
    }
    if has("nullable") {
        complain("nullable");
    }
    if has("x-kubernetes-preserve-unknown-fields") {
        complain("x-kubernetes-preserve-unknown-fields");
    }
    for bound in ["maximum", "minimum"] {
        if has(bound) && !schema[bound].is_i64() {
            complain("a bound that is no whole number");
        }
    }
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        // The API server takes the size of an optional for unbounded, hence the rule's cost, and
        // refuses the CRD.
        if rule["rule"]
            .as_str()
            .is_none_or(|rule| rule.contains(".?") || rule.contains("[?"))
        {
            complain("a rule with .?, whose cost has no bound: has() does the same");
        }
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if field["description"].as_str().is_none_or(|text| text.trim().is_empty()) {
            findings.push(format!("{path}: a field without description"));
        }
        lint(&path, field, findings);
    }
    for (nested, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(nested) = schema.get(nested) {
            lint(&format!("{path}{mark}"), nested, findings);
        }
    }
    // Inside a junctor a member may only bound what is outside of it, but no nullable hides there.
    for junctor in ["allOf", "anyOf", "oneOf"] {
        for (index, nested) in schema[junctor].as_array().into_iter().flatten().enumerate() {
            if nested.get("nullable").is_some() {
                findings.push(format!("{path}.{junctor}[{index}]: nullable"));
            }
        }
    }
}

#[test]
fn the_schema_is_bounded_and_described() {
    let mut findings = Vec::new();
    for crd in xtask::crds() {
        for version in crd["spec"]["versions"].as_array().unwrap() {
            let schema = &version["schema"]["openAPIV3Schema"];
            assert!(schema["properties"]["spec"].is_object(), "no schema");
            lint("", schema, &mut findings);
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn the_lint_finds_what_it_looks_for() {
    let described = |mut schema: Value| {
        schema["description"] = json!("What it is.");
        schema
    };
    let schema = json!({ "properties": {
        "fine": described(json!({ "type": "string", "maxLength": 1 })),
        "choice": described(json!({ "type": "string", "enum": ["A"] })),
        "day": described(json!({ "type": "string", "format": "date" })),
        "mute": { "type": "boolean" },
        "open": described(json!({ "type": "string" })),
        "either": described(json!({ "x-kubernetes-int-or-string": true })),
        "list": described(json!({ "type": "array", "items": { "type": "string" } })),
        "map": described(json!({ "type": "object", "additionalProperties": { "type": "string" } })),
        "none": described(json!({ "type": "boolean", "nullable": true })),
        "all": described(json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })),
        "half": described(json!({ "type": "number", "maximum": 0.5 })),
        "rule": described(json!({ "type": "object", "x-kubernetes-validations": [{ "rule": "self.?a == oldSelf.?a" }] })),
        "same": described(json!({ "type": "object", "x-kubernetes-validations": [{ "rule": "self.a == oldSelf.a" }] })),
    }});
    let mut findings = Vec::new();
    lint("", &schema, &mut findings);
    findings.sort();
    assert_eq!(
        findings,
        [
            ".all: x-kubernetes-preserve-unknown-fields",
            ".either: a string without maxLength or enum",
            ".half: a bound that is no whole number",
            ".list: an array without maxItems",
            ".list: an array without x-kubernetes-list-type",
            ".list[]: a string without maxLength or enum",
            ".map: a map without maxProperties",
            ".map{}: a string without maxLength or enum",
            ".mute: a field without description",
            ".none: nullable",
            ".open: a string without maxLength or enum",
            ".rule: a rule with .?, whose cost has no bound: has() does the same",
        ]
    );
}
