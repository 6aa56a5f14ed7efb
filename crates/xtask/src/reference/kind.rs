//! The fields of a kind, from its CRD's schema.

use serde_json::Value;

use super::row;

/// The page of a CRD with one version.
pub(super) fn page(crd: &Value) -> String {
    let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut page = format!(
        "# {kind}\n\n`{group}/{version}`, {scope}, short name `{short}`.\n\n{description}\n\n",
        kind = text("/spec/names/kind"),
        group = text("/spec/group"),
        version = text("/spec/versions/0/name"),
        scope = match text("/spec/scope") {
            "Namespaced" => "namespaced",
            _ => "Cluster-scoped",
        },
        short = text("/spec/names/shortNames/0"),
        description = description(&schema["properties"]["spec"]),
    );
    page.push_str("## Fields\n\n| field | type | bounds | what it is |\n| --- | --- | --- | --- |\n");
    fields(&mut page, "spec", &schema["properties"]["spec"]);
    let status = &schema["properties"]["status"];
    if status.is_object() {
        page.push_str("\n## Status\n\n");
        page.push_str(&description(status));
        page.push_str("\n\n");
        page.push_str("| field | type | bounds | what it is |\n| --- | --- | --- | --- |\n");
        fields(&mut page, "status", status);
    }
    page.push_str("\n## Rules\n\nThe API server itself refuses what breaks one of these.\n\n");
    page.push_str("| object | message | rule (CEL) |\n| --- | --- | --- |\n");
    rules(&mut page, text("/spec/names/kind"), schema);
    page
}

fn fields(page: &mut String, path: &str, schema: &Value) {
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    // Fields that must be there come first.
    let mut properties: Vec<(&String, &Value)> = schema["properties"].as_object().into_iter().flatten().collect();
    properties.sort_by_key(|(name, _)| (!required.contains(&name.as_str()), *name));
    for (name, field) in properties {
        let path = format!("{path}.{name}");
        let needed = if required.contains(&name.as_str()) {
            vec!["required".to_owned()]
        } else {
            Vec::new()
        };
        let bounds: Vec<String> = needed.into_iter().chain(bounds(field)).collect();
        page.push_str(&row([
            format!("`{path}`"),
            type_of(field),
            bounds.join("; "),
            description(field),
        ]));
        fields(page, &path, field);
        fields(page, &format!("{path}[]"), &field["items"]);
    }
}

fn type_of(schema: &Value) -> String {
    if schema["x-kubernetes-int-or-string"] == true {
        return "integer or string".to_owned();
    }
    let name = schema["type"].as_str().unwrap_or_default();
    match (name, schema["format"].as_str()) {
        ("array", _) => format!("list of {}", type_of(&schema["items"])),
        ("object", _) if schema["additionalProperties"].is_object() => {
            format!("map to {}", type_of(&schema["additionalProperties"]))
        }
        ("string", Some(format)) => format.to_owned(),
        _ => name.to_owned(),
    }
}

/// What the schema bounds, but for what the type says already.
fn bounds(schema: &Value) -> Vec<String> {
    let mut bounds = Vec::new();
    if let Some(choices) = schema["enum"].as_array() {
        let choices: Vec<String> = choices
            .iter()
            .filter_map(Value::as_str)
            .map(|choice| format!("`{choice}`"))
            .collect();
        bounds.push(format!("one of {}", choices.join(", ")));
    }
    for (least, most, unit) in [
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
        ("minProperties", "maxProperties", " entries"),
    ] {
        match (&schema[least], &schema[most]) {
            (Value::Null, Value::Null) => {}
            (least, Value::Null) => bounds.push(format!("at least {least}{unit}")),
            (Value::Null, most) => bounds.push(format!("at most {most}{unit}")),
            (least, most) => bounds.push(format!("{least} to {most}{unit}")),
        }
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        bounds.push(format!("pattern `{pattern}`"));
    }
    // The defaults of an object are those of its fields.
    if let Some(default) = schema.get("default").filter(|default| !default.is_object()) {
        bounds.push(format!(
            "default `{}`",
            default.as_str().map_or_else(|| default.to_string(), str::to_owned)
        ));
    }
    bounds
}

fn rules(page: &mut String, path: &str, schema: &Value) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let text = |member: &str| rule[member].as_str().unwrap_or_default();
        page.push_str(&row([
            format!("`{path}`"),
            text("message").to_owned(),
            format!("`{}`", text("rule")),
        ]));
    }
    let name = |field: &str| {
        let path = if path.starts_with("spec") {
            format!("{path}.")
        } else {
            String::new()
        };
        format!("{path}{field}")
    };
    for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
        rules(page, &name(field), schema);
        rules(page, &format!("{}[]", name(field)), &schema["items"]);
    }
}

fn description(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().to_owned()
}
