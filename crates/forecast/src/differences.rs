//! Where a value differs from another one.

use std::ops::ControlFlow;

use instar_domain::json::differences;
use serde_json::Value;

/// One place where a value becomes another one.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueDifference {
    /// Where: a JSON pointer.
    pub pointer: String,
    /// What is there now; absent where nothing is.
    pub before: Option<Value>,
    /// What will be there; absent where nothing will.
    pub after: Option<Value>,
}

/// Each place where `new` differs from `old`, in the order of the keys. An array counts as one value.
#[must_use]
pub fn value_differences(old: &Value, new: &Value) -> Vec<ValueDifference> {
    let mut found = Vec::new();
    let walked = differences(&old.to_string(), &new.to_string(), |_, pointer| {
        found.push(ValueDifference {
            before: old.pointer(&pointer).cloned(),
            after: new.pointer(&pointer).cloned(),
            pointer,
        });
        ControlFlow::<()>::Continue(())
    });
    match walked {
        Ok(_) => found,
        // Both are texts of values, so that they can be read; if not, all of it is one difference.
        Err(_) => vec![ValueDifference {
            pointer: String::new(),
            before: Some(old.clone()),
            after: Some(new.clone()),
        }],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_place_has_what_was_and_what_will_be() {
        let old = json!({ "image": "a", "disk": { "size": 20 }, "tags": ["x"], "gone": true });
        let new = json!({ "image": "b", "disk": { "size": 20, "type": "ssd" }, "tags": ["x"] });
        let found = value_differences(&old, &new);
        let found: Vec<_> = found
            .into_iter()
            .map(|difference| (difference.pointer, difference.before, difference.after))
            .collect();
        assert_eq!(
            found,
            [
                ("/disk/type".to_owned(), None, Some(json!("ssd"))),
                ("/gone".to_owned(), Some(json!(true)), None),
                ("/image".to_owned(), Some(json!("a")), Some(json!("b"))),
            ]
        );
        assert_eq!(value_differences(&old, &old), []);
    }
}
