//! Values put into, and looked for in, a JSON value by pointer.

use std::borrow::Cow;

use instar_api::Values;
use instar_domain::JsonPointer;
use serde_json::{Map, Value};

/// A value that can't be put where its pointer says, since something else than an object is in
/// the way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer} leads through something that is no object")]
pub struct PointerError {
    /// Where it should have gone.
    pub pointer: JsonPointer,
}

/// The spec with the values put in. A parent that is missing, or null, is made.
pub(crate) fn apply<'a>(spec: &Value, values: impl IntoIterator<Item = &'a Values>) -> Result<Value, PointerError> {
    let mut spec = spec.clone();
    for (pointer, value) in values.into_iter().flatten() {
        put(&mut spec, below_spec(pointer), value.clone()).ok_or_else(|| PointerError {
            pointer: pointer.clone(),
        })?;
    }
    Ok(spec)
}

/// Whether all of the values are there, so that to put them in would change nothing.
pub(crate) fn holds<'a>(spec: &Value, values: impl IntoIterator<Item = &'a Values>) -> bool {
    let holds_one = |pointer: &JsonPointer, value: &Value| {
        // Through objects alone, as they are put.
        let there = members(below_spec(pointer)).try_fold(spec, |at, member| at.as_object()?.get(&*member));
        there == Some(value)
    };
    let mut all = values.into_iter().flatten();
    all.all(|(pointer, value)| holds_one(pointer, value))
}

/// Puts a value at a pointer, or nothing where an array or a scalar is in the way.
pub(crate) fn put(target: &mut Value, pointer: &str, value: Value) -> Option<()> {
    let mut at = target;
    for member in members(pointer) {
        if at.is_null() {
            *at = Value::Object(Map::new());
        }
        at = at.as_object_mut()?.entry(member).or_insert(Value::Null);
    }
    *at = value;
    Some(())
}

/// The JSON merge patch (RFC 7386) that makes one value another; absent where they are the same. A null in the other
/// can't be written by a merge patch.
pub(crate) fn difference(from: &Value, to: &Value) -> Option<Value> {
    let (Value::Object(before), Value::Object(after)) = (from, to) else {
        return (from != to).then(|| to.clone());
    };
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    let gone = gone.map(|name| (name.clone(), Value::Null));
    let changed = after.iter().filter_map(|(name, value)| {
        let change = match before.get(name) {
            Some(present) => difference(present, value)?,
            None => value.clone(),
        };
        Some((name.clone(), change))
    });
    let patch: Map<_, _> = gone.chain(changed).collect();
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// The value at a pointer.
pub(crate) fn at<'v>(spec: &'v Value, pointer: &JsonPointer) -> Option<&'v Value> {
    spec.pointer(below_spec(pointer))
}

/// A pointer into an object, as one into its spec.
pub(crate) fn below_spec(pointer: &JsonPointer) -> &str {
    pointer.as_str().strip_prefix("/spec").unwrap_or_default()
}

fn members(pointer: &str) -> impl Iterator<Item = Cow<'_, str>> {
    pointer.split('/').skip(1).map(unescaped)
}

/// A member's name, as an object has it. Source: RFC 6901, 4.
pub(crate) fn unescaped(member: &str) -> Cow<'_, str> {
    if member.contains('~') {
        Cow::Owned(member.replace("~1", "/").replace("~0", "~"))
    } else {
        Cow::Borrowed(member)
    }
}

/// Whether everything that is wanted is there. An API server adds defaults to what is created.
pub(crate) fn includes(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => wanted
            .iter()
            .all(|(name, wanted)| there.get(name).is_some_and(|there| includes(there, wanted))),
        (Value::Array(there), Value::Array(wanted)) => {
            there.len() == wanted.len() && there.iter().zip(wanted).all(|(there, wanted)| includes(there, wanted))
        }
        (
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_),
            wanted,
        ) => there == wanted,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_replaced_and_not_merged() {
        let from = json!({ "image": { "id": "a", "gallery": "g" }, "size": 1, "list": [1] });
        let to = json!({ "image": { "id": "b" }, "size": 1, "list": [2], "new": { "a": 1 } });
        let patch = json!({ "image": { "gallery": null, "id": "b" }, "list": [2], "new": { "a": 1 } });
        assert_eq!(difference(&from, &to), Some(patch));
        assert_eq!(difference(&to, &to), None);
    }

    #[test]
    fn values_are_held_where_to_put_them_in_changes_nothing() {
        let spec = json!({ "a": { "b": 1, "c/d": null, "e": [{ "f": 2 }] } });
        let one = |pointer: &str, value: Value| Values::from([(pointer.parse().unwrap(), value)]);
        for (values, held) in [
            ([one("/spec/a/b", json!(1)), Values::new()], true),
            ([one("/spec/a/c~1d", json!(null)), one("/spec/a/b", json!(1))], true),
            ([one("/spec/a/b", json!(1)), one("/spec/a/b", json!(2))], false),
            ([one("/spec/a/x", json!(null)), Values::new()], false),
            // It can't be put there.
            ([one("/spec/a/e/f", json!(2)), Values::new()], false),
        ] {
            assert_eq!(holds(&spec, &values), held, "{values:?}");
            let same = apply(&spec, &values).is_ok_and(|applied| applied == spec);
            assert_eq!(same, held, "{values:?}");
        }
    }

    #[test]
    fn defaults_may_be_added_and_nothing_else_may_differ() {
        let wanted = json!({ "a": { "b": 1 }, "c": [1, 2] });
        assert!(includes(&json!({ "a": { "b": 1, "d": 2 }, "c": [1, 2] }), &wanted));
        assert!(!includes(&json!({ "a": { "b": 2 }, "c": [1, 2] }), &wanted));
        assert!(!includes(&json!({ "a": { "b": 1 }, "c": [1] }), &wanted));
        assert!(!includes(&json!({ "a": { "b": 1 } }), &wanted));
    }
}
