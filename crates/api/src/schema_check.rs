//! What a schema of ours refuses of an object, without an API server. Rules in CEL are not asked.

use std::{collections::BTreeMap, fmt};

use regex::Regex;
use serde_json::Value;

/// At the root these belong to the API server.
const OF_EVERY_OBJECT: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// A field of an object, from its root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldPath(Vec<Segment>);

/// A part of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// A member of an object.
    Member(String),
    /// An item of a list, from 0.
    Item(usize),
}

impl FieldPath {
    /// Its parts, from the root.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// A member below it.
    #[must_use]
    pub fn member(&self, name: &str) -> Self {
        self.below(Segment::Member(name.to_owned()))
    }

    /// An item below it.
    #[must_use]
    pub fn item(&self, at: usize) -> Self {
        self.below(Segment::Item(at))
    }

    fn below(&self, segment: Segment) -> Self {
        Self(self.0.iter().cloned().chain([segment]).collect())
    }
}

impl fmt::Display for FieldPath {
    /// As kubectl writes it: `spec.machineImages[0].kind`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Member(name) if at == 0 => f.write_str(name)?,
                Segment::Member(name) => write!(f, ".{name}")?,
                Segment::Item(item) => write!(f, "[{item}]")?,
            }
        }
        Ok(())
    }
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaViolation {
    /// The field. Where it is missing, what it is missing in.
    pub path: FieldPath,
    /// What is wrong, with the value, and what to do.
    pub what: String,
}

impl fmt::Display for SchemaViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, what } = self;
        write!(f, "{path}: {what}")
    }
}

/// A schema, ready to be asked about many objects.
#[derive(Debug)]
pub struct SchemaCheck<'s> {
    schema: &'s Value,
    patterns: BTreeMap<&'s str, Regex>,
}

impl<'s> SchemaCheck<'s> {
    /// Reads the patterns of a schema.
    ///
    /// # Errors
    /// Where one of them isn't read by our engine, which is that of the API server but for what neither is used for here.
    pub fn new(schema: &'s Value) -> Result<Self, regex::Error> {
        let mut patterns = BTreeMap::new();
        gather(schema, &mut patterns)?;
        Ok(Self { schema, patterns })
    }

    /// What is wrong with an object; of its metadata nothing.
    #[must_use]
    pub fn violations(&self, object: &Value) -> Vec<SchemaViolation> {
        let mut violations = Vec::new();
        self.check(&FieldPath::default(), object, self.schema, &mut violations);
        violations
    }

    fn check(&self, path: &FieldPath, value: &Value, schema: &Value, violations: &mut Vec<SchemaViolation>) {
        let mut refuse = |path: &FieldPath, what: String| {
            violations.push(SchemaViolation {
                path: path.clone(),
                what,
            });
        };
        if let Some(expected) = wrong_type(value, schema) {
            refuse(path, format!("{value} is not {expected}"));
            return;
        }
        match value {
            // The API server takes a null away.
            Value::Null | Value::Bool(_) => {}
            Value::Number(number) => {
                let beyond = |bound: &str, is_beyond: fn(f64, f64) -> bool| {
                    let bound = schema[bound].as_f64()?;
                    number.as_f64().filter(|number| is_beyond(*number, bound))?;
                    Some(bound)
                };
                if let Some(least) = beyond("minimum", |number, bound| number < bound) {
                    refuse(path, format!("{number} is too low: it must be at least {least}"));
                }
                if let Some(most) = beyond("maximum", |number, bound| number > bound) {
                    refuse(path, format!("{number} is too high: it must be at most {most}"));
                }
            }
            Value::String(text) => {
                for what in self.wrong_text(text, schema) {
                    refuse(path, what);
                }
            }
            Value::Array(items) => {
                for what in wrong_count(items.len(), schema, ["minItems", "maxItems"], "items") {
                    refuse(path, what);
                }
                for (at, item) in items.iter().enumerate() {
                    self.check(&path.item(at), item, &schema["items"], violations);
                }
            }
            Value::Object(members) => {
                for what in wrong_count(members.len(), schema, ["minProperties", "maxProperties"], "members") {
                    refuse(path, what);
                }
                let required = schema["required"].as_array().into_iter().flatten();
                let missing = required
                    .filter_map(Value::as_str)
                    .filter(|name| members.get(*name).is_none_or(Value::is_null));
                for name in missing {
                    refuse(path, format!("{name} is missing: set it"));
                }
                for (name, member) in members {
                    self.check_member(path, name, member, schema, violations);
                }
            }
        }
    }

    fn check_member(
        &self,
        path: &FieldPath,
        name: &str,
        member: &Value,
        schema: &Value,
        violations: &mut Vec<SchemaViolation>,
    ) {
        let below = path.member(name);
        if path.segments().is_empty() && OF_EVERY_OBJECT.contains(&name) {
            return;
        }
        let additional = &schema["additionalProperties"];
        if let Some(schema) = schema["properties"].get(name) {
            self.check(&below, member, schema, violations);
        } else if additional.is_object() {
            self.check(&below, member, additional, violations);
        } else if schema["x-kubernetes-preserve-unknown-fields"] != true && *additional != true {
            let what = "there is no such field: see `kubectl explain` for those that there are".to_owned();
            violations.push(SchemaViolation { path: below, what });
        }
    }

    fn wrong_text(&self, text: &str, schema: &Value) -> Vec<String> {
        let mut wrong = wrong_count(text.chars().count(), schema, ["minLength", "maxLength"], "characters");
        if let Some(pattern) = schema["pattern"].as_str()
            && self
                .patterns
                .get(pattern)
                .is_some_and(|pattern| !pattern.is_match(text))
        {
            wrong.push(format!("{text:?} is not of the form {pattern}"));
        }
        if let Some(known) = schema["enum"].as_array()
            && !known.iter().any(|known| known == text)
        {
            let known: Vec<&str> = known.iter().filter_map(Value::as_str).collect();
            wrong.push(format!("{text:?} is none of {}", known.join(", ")));
        }
        if schema["format"] == "date" && text.parse::<jiff::civil::Date>().is_err() {
            wrong.push(format!("{text:?} is not a day: write it as 2027-02-28"));
        }
        if schema["format"] == "date-time" && text.parse::<jiff::Timestamp>().is_err() {
            wrong.push(format!("{text:?} is not a time: write it as 2027-02-28T12:00:00Z"));
        }
        wrong
    }
}

fn gather<'s>(schema: &'s Value, patterns: &mut BTreeMap<&'s str, Regex>) -> Result<(), regex::Error> {
    match schema {
        Value::Object(members) => {
            if let Some(pattern) = schema["pattern"].as_str()
                && !patterns.contains_key(pattern)
            {
                patterns.insert(pattern, Regex::new(pattern)?);
            }
            members.values().try_for_each(|member| gather(member, patterns))
        }
        Value::Array(items) => items.iter().try_for_each(|item| gather(item, patterns)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// The type that it should have, where it has another one.
fn wrong_type(value: &Value, schema: &Value) -> Option<&'static str> {
    if value.is_null() {
        return None;
    }
    if schema["x-kubernetes-int-or-string"] == true {
        return (!value.is_string() && !value.is_i64() && !value.is_u64()).then_some("a whole number or a text");
    }
    let (is_so, expected) = match schema["type"].as_str()? {
        "object" => (value.is_object(), "an object"),
        "array" => (value.is_array(), "a list"),
        "string" => (value.is_string(), "a text: put it in quotes"),
        "boolean" => (value.is_boolean(), "true or false"),
        "integer" => (value.is_i64() || value.is_u64(), "a whole number"),
        "number" => (value.is_number(), "a number"),
        // No schema of ours has another one.
        _ => return None,
    };
    (!is_so).then_some(expected)
}

fn wrong_count(count: usize, schema: &Value, bounds: [&str; 2], what: &str) -> Vec<String> {
    let bound = |name: &str| schema[name].as_u64().and_then(|bound| usize::try_from(bound).ok());
    let [least, most] = bounds.map(bound);
    let too_few = least.filter(|least| count < *least);
    let too_few = too_few.map(|least| format!("it has {count} {what}: at least {least} are needed"));
    let too_many = most.filter(|most| count > *most);
    let too_many = too_many.map(|most| format!("it has {count} {what}: at most {most} are possible"));
    too_few.into_iter().chain(too_many).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Definition;

    fn violations(spec: &Value) -> Vec<String> {
        let check = SchemaCheck::new(Definition::KubernetesReleases.schema()).unwrap();
        let object = json!({ "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1", "kind": "KubernetesRelease", "metadata": { "name": "r", "labels": {} }, "spec": spec });
        let violations = check.violations(&object);
        violations.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_patterns_of_all_kinds_are_read() {
        for definition in Definition::ALL {
            SchemaCheck::new(definition.schema()).unwrap();
        }
    }

    #[test]
    fn a_row_as_it_should_be_is_fine() {
        let row = json!({
            "version": "v1.35.4", "revision": 2, "catalog": "flatcar",
            "support": { "tier": "LTS", "since": null, "endOfLife": "2027-02-28" },
            "upgradesFrom": ">=1.34.0, <1.36.0",
            "machineImages": [{
                "kind": "K", "role": "Worker", "labels": { "a.example.org/b": "true" },
                "values": [{ "pointer": "/spec/a", "value": 3 }, { "pointer": "/spec/b", "json": "true" }],
            }],
            "components": { "etcd": { "imageTag": "3.6.6-0" }, "coreDNS": { "imageTag": "v1.13.1" } },
        });
        assert_eq!(violations(&row), [] as [String; 0]);
    }

    #[test]
    fn what_an_api_server_would_refuse_is_named() {
        let with = |field: &str, value: Value| {
            let mut row = json!({ "version": "v1.35.4" });
            row[field] = value;
            row
        };
        let image = |value: Value| with("machineImages", json!([{ "kind": "K", "values": [value] }]));
        for (row, wrong) in [
            (json!({}), "spec: version is missing: set it"),
            (
                json!({ "version": 1.35 }),
                "spec.version: 1.35 is not a text: put it in quotes",
            ),
            (
                json!({ "version": "1.35.4" }),
                "spec.version: \"1.35.4\" is not of the form ^v",
            ),
            (
                with("revision", json!(0)),
                "spec.revision: 0 is too low: it must be at least 1",
            ),
            (
                with("revision", json!("1")),
                "spec.revision: \"1\" is not a whole number",
            ),
            (
                with("upgradeFrom", json!(">=1.34")),
                "spec.upgradeFrom: there is no such field",
            ),
            (
                with("support", json!({ "tier": "Supportet" })),
                "spec.support.tier: \"Supportet\" is none of Preview",
            ),
            (
                with("support", json!({ "endOfLife": "2027-02-30" })),
                "spec.support.endOfLife: \"2027-02-30\" is not a day",
            ),
            (
                with("machineImages", json!([{ "values": [] }])),
                "spec.machineImages[0]: kind is missing: set it",
            ),
            (
                with("machineImages", json!([{ "kind": "K", "values": [] }])),
                "spec.machineImages[0].values: it has 0 items",
            ),
            (
                image(json!({ "pointer": "spec/a", "value": 1 })),
                "spec.machineImages[0].values[0].pointer: \"spec/a\" is not of the form",
            ),
            (
                image(json!({ "pointer": "/spec/a", "value": true })),
                "values[0].value: true is not a whole number or a text",
            ),
            (
                image(json!({ "pointer": "/spec/a", "json": "" })),
                "json: it has 0 characters: at least 1 are needed",
            ),
            (
                with("catalog", json!("a".repeat(64))),
                "spec.catalog: it has 64 characters: at most 63 are possible",
            ),
        ] {
            let found = violations(&row);
            assert!(found.iter().any(|found| found.contains(wrong)), "{wrong}: {found:?}");
        }
    }
}
