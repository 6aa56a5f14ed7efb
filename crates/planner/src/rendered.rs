//! By what a minted template is known again, whatever the API server and its webhooks made of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use instar_api::{RENDERED_ANNOTATION, Values};
use instar_domain::JsonPointer;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    name::{HASH_LENGTH, digest},
    values::{at, includes},
};

/// What a template was rendered as, kept in its annotation [`RENDERED_ANNOTATION`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rendered {
    /// A hash of the Cluster, the kind and the spec. The template's name ends with its beginning.
    spec: String,
    /// A hash of the values that were set.
    pub(crate) values: String,
}

impl Rendered {
    /// The values come in the order in which they are set.
    pub(crate) fn new(cluster: &str, kind: &str, spec: &Value, values: [&Values; 2]) -> Self {
        Self {
            // With the Cluster in it: Clusters of a namespace may share a template, and each has its own copy.
            spec: digest(&format!("{cluster}\n{kind}\n{}", canonical(spec))),
            values: digest(&canonical(&json!(values))),
        }
    }

    /// Reads the annotation of a template. A garbled one counts as none.
    pub(crate) fn from_annotations(annotations: &BTreeMap<String, String>) -> Option<Self> {
        annotations
            .get(RENDERED_ANNOTATION)
            .and_then(|text| Self::from_annotation(text))
    }

    pub(crate) fn from_annotation(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The annotation's text.
    pub(crate) fn to_annotation(&self) -> String {
        // Texts alone always have a JSON form; the error can't come.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What the template's name ends with.
    pub(crate) fn suffix(&self) -> &str {
        self.spec.get(..HASH_LENGTH).unwrap_or_default()
    }

    /// Whether the template of that name was rendered as this. A copy under another name wasn't.
    pub(crate) fn is_of(&self, name: &str) -> bool {
        let suffix = name.rsplit_once('-').map(|(_, suffix)| suffix);
        suffix.is_some_and(|suffix| !suffix.is_empty() && suffix == self.suffix())
    }

    pub(crate) fn is_same_spec(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
}

/// A value that reads back as another one than was set.
#[derive(Debug, Clone, PartialEq)]
pub struct NormalisedValue {
    pub pointer: JsonPointer,
    /// What it is now.
    pub value: Value,
}

impl fmt::Display for NormalisedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was normalised to {}", self.pointer, self.value)
    }
}

/// What became of the values at these pointers between the spec that was rendered and the one that reads back.
/// Members that defaulting adds to a value leave it what it was.
#[must_use]
pub fn normalised(rendered: &Value, pointers: &BTreeSet<JsonPointer>, there: &Value) -> Vec<NormalisedValue> {
    let changed = pointers.iter().filter_map(|pointer| {
        let there = at(there, pointer).filter(|there| !there.is_null())?;
        changed(pointer, at(rendered, pointer)?, there)
    });
    changed.collect()
}

/// What became of values that were set, in the spec that reads back. Null is what was taken away.
#[must_use]
pub fn normalised_values(values: &Values, there: &Value) -> Vec<NormalisedValue> {
    let changed = values
        .iter()
        .filter_map(|(pointer, wanted)| changed(pointer, wanted, at(there, pointer).unwrap_or(&Value::Null)));
    changed.collect()
}

fn changed(pointer: &JsonPointer, wanted: &Value, there: &Value) -> Option<NormalisedValue> {
    (!includes(there, wanted)).then(|| NormalisedValue {
        pointer: pointer.clone(),
        value: there.clone(),
    })
}

/// A pointer whose value was rendered and doesn't read back. An empty value may go: a webhook that is written in Go
/// omits it, and it means the same.
pub(crate) fn dropped(rendered: &Value, pointers: &BTreeSet<JsonPointer>, there: &Value) -> Option<JsonPointer> {
    let is_gone = |pointer: &&JsonPointer| {
        at(rendered, pointer).is_some_and(|wanted| !is_empty(wanted)) && at(there, pointer).is_none_or(Value::is_null)
    };
    pointers.iter().find(is_gone).cloned()
}

/// Where these values go.
pub(crate) fn pointers(values: [&Values; 2]) -> BTreeSet<JsonPointer> {
    values.into_iter().flat_map(Values::keys).cloned().collect()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

/// JSON with its members in order, whatever `serde_json` was built to keep.
pub(crate) fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => object(members),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn object(members: &Map<String, Value>) -> String {
    let sorted: BTreeMap<&String, &Value> = members.iter().collect();
    let members: Vec<String> = sorted
        .into_iter()
        .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical(value)))
        .collect();
    format!("{{{}}}", members.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str = "/spec/template/spec/image";

    fn spec(members: &Value) -> Value {
        json!({ "template": { "spec": members } })
    }

    fn at_image() -> BTreeSet<JsonPointer> {
        BTreeSet::from([IMAGE.parse().unwrap()])
    }

    #[test]
    fn what_became_of_a_value() {
        for (wanted, there, normal, is_dropped) in [
            (json!("A"), json!({ "image": "A", "disk": 1 }), None, false),
            (json!("A"), json!({ "image": "a" }), Some(json!("a")), false),
            (json!("A"), json!({ "disk": 1 }), None, true),
            (json!("A"), json!({ "image": null }), None, true),
            (json!({ "x": 1 }), json!({ "image": { "x": 1, "y": 2 } }), None, false),
            (
                json!({ "x": 1 }),
                json!({ "image": { "y": 2 } }),
                Some(json!({ "y": 2 })),
                false,
            ),
            (json!(false), json!({}), None, false),
            (json!(0), json!({}), None, false),
            (json!([]), json!({}), None, false),
        ] {
            let (rendered, there) = (spec(&json!({ "image": wanted })), spec(&there));
            let found = normalised(&rendered, &at_image(), &there);
            let values: Vec<Value> = found.into_iter().map(|found| found.value).collect();
            assert_eq!(values, normal.into_iter().collect::<Vec<_>>(), "{rendered} {there}");
            let found = dropped(&rendered, &at_image(), &there);
            assert_eq!(found.is_some(), is_dropped, "{rendered} {there}");
        }
    }

    #[test]
    fn a_template_is_known_by_its_name_and_its_values() {
        let values = |pairs: &[(&str, Value)]| -> Values {
            let pairs = pairs.iter().map(|(at, value)| (at.parse().unwrap(), value.clone()));
            pairs.collect()
        };
        let (none, one) = (Values::new(), values(&[(IMAGE, json!("a"))]));
        let rendered = |cluster: &str, values: [&Values; 2]| Rendered::new(cluster, "K", &json!({ "a": 1 }), values);
        let first = rendered("blue", [&one, &none]);
        assert!(first.is_of(&format!("md-0-v1-34-3-{}", first.suffix())));
        assert!(!first.is_of("md-0-copy"));
        assert!(!first.is_of(""));
        assert_ne!(first.values, rendered("blue", [&none, &none]).values);
        // A patch over a release's value isn't the release's value over a patch.
        assert_ne!(first.values, rendered("blue", [&none, &one]).values);
        assert!(first.is_same_spec(&rendered("blue", [&none, &one])));
        assert!(!first.is_same_spec(&rendered("green", [&one, &none])));

        let annotation = |text: &str| BTreeMap::from([(RENDERED_ANNOTATION.to_owned(), text.to_owned())]);
        assert_eq!(
            Rendered::from_annotations(&annotation(&first.to_annotation())),
            Some(first)
        );
        assert_eq!(Rendered::from_annotations(&annotation("{}")), None);
        let garbled = Rendered::from_annotations(&annotation(r#"{"spec":"","values":""}"#)).unwrap();
        assert!(!garbled.is_of("md-0") && !garbled.is_of("md-"));
    }

    #[test]
    fn the_order_of_members_does_not_matter() {
        let a = serde_json::from_str::<Value>(r#"{"a": 1, "b": [{"c": "x", "d": null}]}"#).unwrap();
        let b = serde_json::from_str::<Value>(r#"{"b": [{"d": null, "c": "x"}], "a": 1}"#).unwrap();
        assert_eq!(canonical(&a), canonical(&b));
        assert_eq!(canonical(&a), r#"{"a":1,"b":[{"c":"x","d":null}]}"#);
    }
}
