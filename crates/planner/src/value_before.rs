//! What was in a field before an upgrade set it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The largest value that is kept, as JSON text.
const MOST_BYTES: usize = 4 * 1024;

/// How deep a value that is kept may be: with what is around it, a parser has to read it again.
const MOST_LEVELS: usize = 32;

/// What was in a field before an upgrade set it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ValueBefore {
    Value(Value),
    /// The object was there without the field.
    Absent,
    /// There was no such object.
    NoObject,
    /// A value that is larger than is kept.
    TooLarge,
    /// It isn't to be set back, so it wasn't looked at.
    NotKept,
}

impl ValueBefore {
    /// Of a field that was looked at.
    #[must_use]
    pub fn of(found: Option<Value>) -> Self {
        match found {
            None | Some(Value::Null) => Self::Absent,
            Some(value) if levels(&value) > MOST_LEVELS || value.to_string().len() > MOST_BYTES => Self::TooLarge,
            Some(value) => Self::Value(value),
        }
    }

    /// How much of an annotation it takes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Value(value) => value.to_string().len(),
            Self::Absent | Self::NoObject | Self::TooLarge | Self::NotKept => 0,
        }
    }
}

fn levels(value: &Value) -> usize {
    let within: Option<usize> = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        Value::Array(items) => Some(items.iter().map(levels).max().unwrap_or_default()),
        Value::Object(members) => Some(members.values().map(levels).max().unwrap_or_default()),
    };
    within.map_or(0, |within| within + 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_kept_fits_into_an_annotation_and_is_read_again() {
        assert_eq!(ValueBefore::of(None), ValueBefore::Absent);
        assert_eq!(ValueBefore::of(Some(Value::Null)), ValueBefore::Absent);
        assert_eq!(ValueBefore::of(Some(json!("v1"))), ValueBefore::Value(json!("v1")));
        let long = |length: usize| ValueBefore::of(Some(json!("x".repeat(length))));
        assert_eq!(long(4 * 1024 - 2).bytes(), 4 * 1024);
        assert_eq!(long(4 * 1024 - 1), ValueBefore::TooLarge);
        let deep = |levels: usize| ValueBefore::of(Some((0..levels).fold(json!(1), |value, _| json!([value]))));
        assert!(matches!(deep(32), ValueBefore::Value(_)));
        assert_eq!(deep(33), ValueBefore::TooLarge);
    }
}
