//! Objects that `serde_json` refuses as a whole, without the part that it refuses.

use std::collections::BTreeMap;

use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

/// Half of what `serde_json` reads of its own accord, and more than any field has that is read.
const DEEPEST: usize = 64;

/// The same value, with null for what is deeper than that, and for what can't be read.
///
/// `serde_json` gives a whole text up where one value is too deep, and an API server takes any depth. Text that isn't looked
/// into has no limit, so here each level is such text until it is looked into.
pub(super) fn cut(text: &str) -> Value {
    cut_to(text, DEEPEST)
}

fn cut_to(text: &str, left: usize) -> Value {
    let Some(left) = left.checked_sub(1) else {
        return Value::Null;
    };
    match text.trim_start().bytes().next() {
        Some(b'{') => {
            let fields = serde_json::from_str::<BTreeMap<String, &RawValue>>(text).unwrap_or_default();
            let fields = fields.into_iter();
            Value::Object(fields.map(|(name, inner)| (name, cut_to(inner.get(), left))).collect())
        }
        Some(b'[') => {
            let items = serde_json::from_str::<Vec<&RawValue>>(text).unwrap_or_default();
            Value::Array(items.into_iter().map(|inner| cut_to(inner.get(), left)).collect())
        }
        Some(_) | None => serde_json::from_str(text).unwrap_or_default(),
    }
}

/// The object without who wrote which of its fields; nothing where it doesn't say that.
pub(super) fn without_managed_fields(text: &str) -> Option<String> {
    let mut object: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
    let mut metadata: BTreeMap<String, &RawValue> = serde_json::from_str(object.get("metadata")?.get()).ok()?;
    metadata.remove("managedFields")?;
    let metadata = to_raw_value(&metadata).ok()?;
    object.insert("metadata".to_owned(), &metadata);
    serde_json::to_string(&object).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_deeper_is_null_and_all_else_is_as_it_was() {
        let shallow = json!({ "a": [1, "ä\n", { "b": null, "c": true }], "d": {} });
        assert_eq!(cut(&shallow.to_string()), shallow);

        let deep = |levels, innermost| (0..levels).fold(innermost, |inner, _| json!([inner]));
        let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
        let shallow = deep(62, json!(1));
        let text = format!(r#"{{"deep": {open}1{close}, "shallow": {shallow}, "text": "t"}}"#);
        let expected = json!({ "deep": deep(63, json!(null)), "shallow": shallow, "text": "t" });
        assert_eq!(cut(&text), expected);
    }

    #[test]
    fn what_cannot_be_read_is_null() {
        assert_eq!(
            cut(r#"{"number": 1e999, "text": "\ud800", "other": 1}"#),
            json!({ "number": null, "text": null, "other": 1 })
        );
        assert_eq!(cut(""), json!(null));
    }

    #[test]
    fn who_wrote_which_fields_is_left_out() {
        let text = r#"{"metadata": {"name": "n", "managedFields": [{}], "labels": {"a":"b"}}, "spec": [1e999]}"#;
        assert_eq!(
            without_managed_fields(text).as_deref(),
            Some(r#"{"metadata":{"labels":{"a":"b"},"name":"n"},"spec":[1e999]}"#)
        );
        for text in [r#"{"metadata": {"name": "n"}}"#, r#"{"metadata": 1}"#, "{}", "1"] {
            assert_eq!(without_managed_fields(text), None, "{text}");
        }
    }
}
