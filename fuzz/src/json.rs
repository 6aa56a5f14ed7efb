//! Whether two JSON texts are one value to an API server.

use instar_domain::json::difference;
use serde_json::Value;

/// The verdict is the same whichever text comes first, and however a text is written that `serde_json`
/// reads too. The input is two texts, on a line each.
pub fn json(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (a, b) = text.split_once('\n').unwrap_or((&text, ""));
    assert_eq!(difference(a, b), difference(b, a), "{a} and {b}");
    for text in [a, b] {
        let spaced = format!(" {text}\t");
        let itself = difference(text, &spaced);
        assert!(!matches!(itself, Ok(Some(_))), "{text} and itself: {itself:?}");
        let Ok(value) = serde_json::from_str::<Value>(text) else {
            continue;
        };
        for written in [value.to_string(), format!("{value:#}")] {
            assert_eq!(difference(text, &written), Ok(None), "{text} and {written}");
        }
        let other = Value::Array(vec![value]).to_string();
        assert!(matches!(difference(text, &other), Ok(Some(_))), "{text} and {other}");
    }
}
