//! JSON as values of the CEL library.

use std::{collections::HashMap, sync::Arc};

use kube_cel::cel::{
    Value,
    objects::{Key, Map},
};
use serde_json::Value as Json;

/// The largest object, in bytes of its texts and 8 for each value.
pub const MOST_BYTES: usize = 1 << 20;

/// The deepest one: it is converted by recursion.
const DEEPEST: usize = 64;

/// Why a value isn't looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ValueError {
    #[error("is larger than {MOST_BYTES} bytes")]
    TooLarge,
    #[error("is nested deeper than {DEEPEST} levels")]
    TooDeep,
}

/// What a value is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Measure {
    /// Values in it, itself among them.
    pub values: usize,
    /// The bytes of its texts.
    pub bytes: usize,
    /// The length of its longest list or map.
    pub longest: usize,
}

/// Converts a value, if it is no larger than [`MOST_BYTES`].
pub(super) fn of_json(json: &Json) -> Result<Value, ValueError> {
    let measure = measure(json).ok_or(ValueError::TooDeep)?;
    if measure.values.saturating_mul(8).saturating_add(measure.bytes) > MOST_BYTES {
        return Err(ValueError::TooLarge);
    }
    Ok(convert(json))
}

fn convert(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(is) => Value::Bool(*is),
        // CEL's integers are signed, and so are those of objects.
        Json::Number(number) => number.as_i64().map_or_else(
            || {
                let unsigned = number.as_u64().map(Value::UInt);
                unsigned.unwrap_or_else(|| Value::Float(number.as_f64().unwrap_or(f64::NAN)))
            },
            Value::Int,
        ),
        Json::String(text) => Value::String(Arc::new(text.clone())),
        Json::Array(list) => Value::List(Arc::new(list.iter().map(convert).collect())),
        Json::Object(members) => {
            let members = members
                .iter()
                .map(|(key, value)| (Key::String(Arc::new(key.clone())), convert(value)));
            Value::Map(Map {
                map: Arc::new(members.collect::<HashMap<Key, Value>>()),
            })
        }
    }
}

/// Measures a value; nothing where it is too deep.
pub(super) fn measure(json: &Json) -> Option<Measure> {
    let mut measure = Measure::default();
    add(json, 1, &mut measure).then_some(measure)
}

fn add(json: &Json, depth: usize, measure: &mut Measure) -> bool {
    if depth > DEEPEST {
        return false;
    }
    measure.values += 1;
    match json {
        Json::Null | Json::Bool(_) | Json::Number(_) => true,
        Json::String(text) => {
            measure.bytes += text.len();
            true
        }
        Json::Array(list) => {
            measure.longest = measure.longest.max(list.len());
            list.iter().all(|element| add(element, depth + 1, measure))
        }
        Json::Object(members) => {
            measure.longest = measure.longest.max(members.len());
            members.iter().all(|(key, value)| {
                measure.bytes += key.len();
                add(value, depth + 1, measure)
            })
        }
    }
}
