//! Which field an error of decoding is about: found by where in the text it was noticed, once for all types. A decoder that
//! follows the path itself is one more of each type, and a fifth of the program.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// An object may be of any depth, and its path goes into log lines and messages.
const MOST_STEPS: usize = 32;

/// The error with the path of the field in front.
pub(super) fn explain(text: &str, error: &serde_json::Error) -> String {
    let position = format!(" at line {} column {}", error.line(), error.column());
    let what = error.to_string();
    let what = what.strip_suffix(&position).unwrap_or(&what);
    let path = offset(text, error.line(), error.column()).map(|at| path(text, at));
    match path.as_deref() {
        None | Some("") => what.to_owned(),
        Some(path) => format!("{path}: {what}"),
    }
}

/// How many bytes had been read: lines count from 1, and columns are bytes.
fn offset(text: &str, line: usize, column: usize) -> Option<usize> {
    let begin: usize = text
        .split_inclusive('\n')
        .take(line.checked_sub(1)?)
        .map(str::len)
        .sum();
    Some(begin + column)
}

/// The innermost value that reaches there. A value is refused when it has been read, a list or an object before its
/// bracket has: so no two values, of which neither is in the other, reach the same place.
fn path(text: &str, at: usize) -> String {
    let (mut path, mut value, mut steps) = (String::new(), text, 0);
    while let Some((step, inner)) = step(text, value, at) {
        if steps == MOST_STEPS {
            path.push_str("...");
            break;
        }
        steps += 1;
        if !(path.is_empty() || step.starts_with('[')) {
            path.push('.');
        }
        path.push_str(&step);
        value = inner;
    }
    path
}

fn step<'t>(text: &str, value: &'t str, at: usize) -> Option<(String, &'t str)> {
    let reaches = |inner: &RawValue| {
        let begin = inner.get().as_ptr().addr().checked_sub(text.as_ptr().addr());
        begin.is_some_and(|begin| (begin..=begin + inner.get().len()).contains(&at))
    };
    match value.trim_start().bytes().next()? {
        b'{' => {
            let fields: BTreeMap<String, &'t RawValue> = serde_json::from_str(value).ok()?;
            let mut fields = fields.into_iter();
            fields
                .find(|(_, inner)| reaches(inner))
                .map(|(name, inner)| (name, inner.get()))
        }
        b'[' => {
            let items: Vec<&'t RawValue> = serde_json::from_str(value).ok()?;
            let found = items.iter().position(|inner| reaches(inner))?;
            Some((format!("[{found}]"), items.get(found)?.get()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Outer {
        #[serde(rename = "items")]
        _items: Vec<Inner>,
        #[serde(rename = "by", default)]
        _by: BTreeMap<String, Option<Inner>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(rename = "text")]
        _text: String,
        #[serde(rename = "many", default)]
        _many: Vec<u8>,
        #[serde(rename = "one", default)]
        _one: One,
    }

    #[derive(Debug, Default, Deserialize)]
    enum One {
        #[default]
        First,
    }

    #[track_caller]
    fn assert_explained(text: &str, explained: &str) {
        let error = serde_json::from_str::<Outer>(text).unwrap_err();
        assert_eq!(explain(text, &error), explained);
    }

    #[test]
    fn the_field_is_named_whatever_is_wrong_with_it() {
        for (text, explained) in [
            (
                r#"{"items":[{"text":"a"},{"text":35}]}"#,
                "items[1].text: invalid type: integer `35`, expected a string",
            ),
            (
                r#"{"items":[{"text":[[35]]}]}"#,
                "items[0].text: invalid type: sequence, expected a string",
            ),
            (
                r#"{"items":[{"text":{"b":1}}]}"#,
                "items[0].text: invalid type: map, expected a string",
            ),
            (
                r#"{"items":[{"text":null,"many":[]}]}"#,
                "items[0].text: invalid type: null, expected a string",
            ),
            (
                r#"{"items":[{"text":"a","many":[1,2,300]}]}"#,
                "items[0].many[2]: invalid value: integer `300`, expected u8",
            ),
            (
                r#"{"items":[],"by":{"x.y/\"z":{"text":1e3}}}"#,
                "by.x.y/\"z.text: invalid type: floating point `1000.0`, expected a string",
            ),
            (
                r#"{"items":[{"text":"a","one":"Second"}]}"#,
                "items[0].one: unknown variant `Second`, expected `First`",
            ),
            (r#"{"items":[{"many":[1]}],"by":{}}"#, "items[0]: missing field `text`"),
            (r#"{"by":{}}"#, "missing field `items`"),
            ("[]", "invalid length 0, expected struct Outer with 2 elements"),
            ("35", "invalid type: integer `35`, expected struct Outer"),
        ] {
            assert_explained(text, explained);
        }
    }

    #[test]
    fn a_long_path_is_cut() {
        let error = serde_json::from_str::<serde_json::Value>(&"[".repeat(200)).unwrap_err();
        let text = "[".repeat(200) + &"]".repeat(200);
        let path = "[0]".repeat(MOST_STEPS);
        assert_eq!(explain(&text, &error), format!("{path}...: recursion limit exceeded"));
    }

    #[test]
    fn lines_are_counted() {
        assert_explained(
            "{\n  \"items\": [\n    { \"text\": \"ä\" }, { \"text\": 35 }\n  ]\n}\n",
            "items[1].text: invalid type: integer `35`, expected a string",
        );
    }
}
