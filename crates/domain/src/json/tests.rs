use std::{fmt::Write, ops::ControlFlow};

use proptest::prelude::*;

use super::{Difference, POINTER_LIMIT, Unreadable, difference, differences, scan::DEPTH};

/// What Go (k8s.io/apimachinery v0.36.3, util/json) reads back of what it stored. None where it refuses.
const STORED: &[(&str, Option<&str>)] = &[
    ("1", Some("1")),
    ("1.0", Some("1")),
    ("1e0", Some("1")),
    ("1E+0", Some("1")),
    ("10e-1", Some("1")),
    ("-0", Some("0")),
    ("-0.0", Some("0")),
    ("0e5", Some("0")),
    ("1e-400", Some("0")),
    ("0.1", Some("0.1")),
    ("1e-1", Some("0.1")),
    ("0.10", Some("0.1")),
    ("1e-7", Some("1e-7")),
    ("0.0000001", Some("1e-7")),
    ("9007199254740992", Some("9007199254740992")),
    ("9007199254740993", Some("9007199254740993")),
    ("9007199254740993.0", Some("9007199254740992")),
    ("9223372036854775807", Some("9223372036854775807")),
    ("9223372036854775808", Some("9223372036854776000")),
    ("9223372036854774784.0", Some("9223372036854775000")),
    ("-9223372036854775808", Some("-9223372036854775808")),
    ("-9223372036854775809", Some("-9223372036854776000")),
    ("1e20", Some("100000000000000000000")),
    ("1e21", Some("1e+21")),
    ("1000000000000000000000", Some("1e+21")),
    ("1e400", None),
    ("-1e400", None),
    (r#""\ud800""#, Some("\"\u{fffd}\"")),
    (r#""\ud800\u0041""#, Some("\"\u{fffd}A\"")),
    (r#""\udc00\ud800""#, Some("\"\u{fffd}\u{fffd}\"")),
    (r#""\ud800\ud83d\ude00""#, Some("\"\u{fffd}\u{1f600}\"")),
    (r#""\ud83d\uDE00""#, Some("\"\u{1f600}\"")),
    (r#""\u0041\/""#, Some(r#""A/""#)),
    (r#""\u0009""#, Some(r#""\t""#)),
    (r#"{"a":1,"a":2}"#, Some(r#"{"a":2}"#)),
    (r#"{"\u0061":1,"a":2}"#, Some(r#"{"a":2}"#)),
    (r#"{"a":{"x":1},"a":{"y":2}}"#, Some(r#"{"a":{"y":2}}"#)),
    (r#"{"a":1,"A":2}"#, Some(r#"{"A":2,"a":1}"#)),
    (
        r#"{"b":[{"d":1,"c":[]}],"a":null}"#,
        Some(r#"{"a":null,"b":[{"c":[],"d":1}]}"#),
    ),
    (r#"{"a":1e999,"a":1}"#, None),
    ("[ 1 , 2 ]", Some("[1,2]")),
    ("[]", Some("[]")),
    ("{}", Some("{}")),
    ("null", Some("null")),
    ("true", Some("true")),
    ("false", Some("false")),
    (r#""""#, Some(r#""""#)),
    (r#""1""#, Some(r#""1""#)),
    (r#""null""#, Some(r#""null""#)),
    ("[[]]", Some("[[]]")),
    ("[1]", Some("[1]")),
    ("[2,1]", Some("[2,1]")),
    (r#"{"":{}}"#, Some(r#"{"":{}}"#)),
    ("", None),
    (" ", None),
    ("01", None),
    ("1.", None),
    (".5", None),
    ("+1", None),
    ("-", None),
    ("1e", None),
    ("NaN", None),
    ("nul", None),
    ("nulL", None),
    ("[1,]", None),
    ("[,1]", None),
    ("[1 2]", None),
    ("[1", None),
    ("[1}", None),
    ("1,", None),
    ("1:2", None),
    (":", None),
    (r#"{"a":1,}"#, None),
    (r#"{"a"}"#, None),
    (r#"{"a",1}"#, None),
    (r#"{"a":}"#, None),
    (r#"{"a":1"#, None),
    ("{1:1}", None),
    (r#""a" "b""#, None),
    (r#""a"#, None),
    (r#""\'""#, None),
    (r#""\x""#, None),
    (r#""\u00g0""#, None),
    (r#""\u00""#, None),
    ("\"\n\"", None),
    ("\u{feff}1", None),
    ("\u{a0}1", None),
];

/// What two texts are to each other, wherever they differ.
#[derive(Debug, PartialEq, Eq)]
enum Are {
    Same,
    Different,
    Unreadable,
}

fn same(a: &str, b: &str) -> Are {
    match difference(a, b) {
        Ok(None) => Are::Same,
        Ok(Some(_)) => Are::Different,
        Err(Unreadable) => Are::Unreadable,
    }
}

/// A text beside other values, where keys ascend, and where they are mixed.
fn surroundings(text: &str) -> [String; 3] {
    [
        format!("[0,{text},0]"),
        format!(r#"{{"k":{text},"l":0}}"#),
        format!(r#"{{"l":1,"k":{text},"l":0}}"#),
    ]
}

#[test]
fn two_texts_are_the_same_if_go_stores_the_same() {
    for (a, stored_a) in STORED {
        for (b, stored_b) in STORED {
            let expected = match (stored_a, stored_b) {
                _ if a == b => Are::Same,
                (None, _) | (_, None) => Are::Unreadable,
                (Some(a), Some(b)) if a == b => Are::Same,
                (Some(_), Some(_)) => Are::Different,
            };
            assert_eq!(same(a, b), expected, "{a} and {b}");
            // A space more, so that not even equal texts are equal unread.
            let expected = match (stored_a, stored_b) {
                (None, _) | (_, None) => Are::Unreadable,
                (Some(a), Some(b)) if a == b => Are::Same,
                (Some(_), Some(_)) => Are::Different,
            };
            for (a, b) in surroundings(a).iter().zip(surroundings(&format!("{b}\t"))) {
                assert_eq!(same(a, &b), expected, "{a} and {b}");
            }
        }
    }
}

#[test]
fn as_deep_as_an_api_server_reads_and_no_deeper() {
    let nested = |depth: usize, inner: &str| "[".repeat(depth) + inner + &"]".repeat(depth);
    assert_eq!(same(&nested(DEPTH, ""), &nested(DEPTH, " ")), Are::Same);
    assert_eq!(same(&nested(DEPTH, ""), &nested(DEPTH, "1")), Are::Different);
    assert_eq!(same(&nested(DEPTH + 1, ""), &nested(DEPTH + 1, " ")), Are::Unreadable);
    assert_eq!(same(&nested(1_000_000, ""), &nested(1_000_000, " ")), Are::Unreadable);
    assert_eq!(
        same(&"[".repeat(1_000_000), &"{\"a\":".repeat(1_000_000)),
        Are::Unreadable
    );

    let mixed = |inner: &str| r#"{"b":0,"a":"#.repeat(DEPTH) + inner + &"}".repeat(DEPTH);
    assert_eq!(same(&mixed("1"), &mixed("1.0")), Are::Same);
    assert_eq!(same(&mixed("1"), &mixed("2")), Are::Different);
}

#[test]
fn many_keys_in_any_order_are_the_same() {
    const KEYS: usize = 100_000;
    let object = |keys: &mut dyn Iterator<Item = usize>| {
        let mut text = String::from("{");
        for key in keys {
            write!(text, r#""k{key}":[{{"v":{key}}}],"#).unwrap();
        }
        text + r#""last":0}"#
    };
    let forward = object(&mut (0..KEYS));
    assert_eq!(same(&forward, &object(&mut (0..KEYS).rev())), Are::Same);
    assert_eq!(same(&forward, &object(&mut (0..KEYS).chain(0..KEYS))), Are::Same);
    assert_eq!(same(&forward, &object(&mut (1..KEYS).rev())), Are::Different);
}

#[test]
fn a_difference_is_where_the_first_key_differs() {
    for (a, b, at) in [
        ("1", "2", ""),
        ("1", r#"{"a":1}"#, ""),
        (r#"{"a":{"b":1,"c":2}}"#, r#"{"a":{"b":1,"c":3}}"#, "/a/c"),
        // Of two the first one, also where they are written in another order.
        (r#"{"c":0,"b":1}"#, r#"{"b":2,"c":1}"#, "/b"),
        // What is missing on one side.
        (r#"{"b":1}"#, r#"{"a":0,"b":1}"#, "/a"),
        (r#"{"b":1}"#, r#"{"b":1,"c":0}"#, "/c"),
        (r#"{"b":{}}"#, r#"{"b":{"c":null}}"#, "/b/c"),
        // Behind containers that are the same.
        (
            r#"{"a":[{}],"b":{"c":[]},"d":1}"#,
            r#"{"a":[{}],"b":{"c":[]},"d":2}"#,
            "/d",
        ),
        // A whole array.
        (r#"{"a":[{"b":1}]}"#, r#"{"a":[{"b":2}]}"#, "/a"),
        (r#"{"a":[1]}"#, r#"{"a":[1,2]}"#, "/a"),
        ("[1]", "[2]", ""),
        // Keys are escaped as a pointer's members, and no more as JSON.
        (r#"{"a/b":{"~\u0041":1}}"#, r#"{"a/b":{"~\u0041":2}}"#, "/a~1b/~0A"),
        (r#"{"\u0041":1}"#, r#"{"A":2}"#, "/A"),
    ] {
        for (a, b) in [(a, b), (b, a)] {
            assert_eq!(difference(a, b), Ok(Some(at.to_owned())), "{a} and {b}");
        }
    }
}

/// A value, whose members are in any order and whose keys are all different.
#[derive(Debug, Clone)]
enum Tree {
    Null,
    Bool(bool),
    Integer(i64),
    /// In halves, so that it has a short text.
    Halves(i32),
    Text(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::Bool),
        any::<i64>().prop_map(Tree::Integer),
        (-50i64..50).prop_map(Tree::Integer),
        any::<i32>().prop_map(Tree::Halves),
        "[a-c\"\\\\\n\u{e9}\u{1f600}/]{0,4}".prop_map(Tree::Text),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Tree::Array),
            prop::collection::btree_map("[a-c\"\u{e9}]{0,3}", inner, 0..6)
                .prop_map(|members| Tree::Object(members.into_iter().collect())),
        ]
    })
}

/// Writes a tree in one of the many ways that mean it; the seed says which.
struct Writer(u64);

impl Writer {
    fn choose(&mut self, of: u64) -> u64 {
        // Knuth's constants: any sequence will do.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % of
    }

    fn space(&mut self, out: &mut String) {
        out.push_str(["", "", " ", "\n\t", "\r"][usize::try_from(self.choose(5)).unwrap()]);
    }

    fn text(&mut self, text: &str, out: &mut String) {
        out.push('"');
        for character in text.chars() {
            if self.choose(3) == 0 {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    write!(out, "\\u{unit:04x}").unwrap();
                }
            } else {
                let quoted = serde_json::to_string(&character).unwrap();
                out.push_str(&quoted[1..quoted.len() - 1]);
            }
        }
        out.push('"');
    }

    fn tree(&mut self, tree: &Tree, out: &mut String) {
        self.space(out);
        match tree {
            Tree::Null => out.push_str("null"),
            Tree::Bool(bool) => write!(out, "{bool}").unwrap(),
            Tree::Integer(integer) => {
                write!(out, "{integer}").unwrap();
                // With a fraction it becomes a float64, which holds no more than 53 bits.
                if integer.unsigned_abs() < 1 << 53 {
                    out.push_str(["", ".0", "e0", ".00E+0"][usize::try_from(self.choose(4)).unwrap()]);
                }
            }
            Tree::Halves(halves) => {
                let tenths = i64::from(*halves) * 5;
                match self.choose(2) {
                    0 => write!(out, "{tenths}e-1").unwrap(),
                    _ => write!(out, "{}", f64::from(*halves) / 2.0).unwrap(),
                }
            }
            Tree::Text(text) => self.text(text, out),
            Tree::Array(values) => {
                out.push('[');
                for (index, value) in values.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    self.tree(value, out);
                }
                out.push(']');
            }
            Tree::Object(members) => self.object(members, out),
        }
        self.space(out);
    }

    fn object(&mut self, members: &[(String, Tree)], out: &mut String) {
        let mut members: Vec<_> = members.iter().collect();
        if self.choose(2) == 0 {
            for index in (1..members.len()).rev() {
                let other = usize::try_from(self.choose(index as u64 + 1)).unwrap();
                members.swap(index, other);
            }
        }
        out.push('{');
        for (index, (key, value)) in members.into_iter().enumerate() {
            out.push_str(if index == 0 { "" } else { "," });
            if self.choose(8) == 0 {
                // Another value of the key, which doesn't hold.
                self.text(key, out);
                out.push_str(": [1, {\"z\": 0, \"a\": []}],");
            }
            self.text(key, out);
            self.space(out);
            out.push(':');
            self.tree(value, out);
        }
        out.push('}');
    }
}

fn written(tree: &Tree, seed: u64) -> String {
    let mut text = String::new();
    Writer(seed).tree(tree, &mut text);
    text
}

/// A tree as Go would store it, by other means than the module's.
fn stored(tree: &Tree) -> serde_json::Value {
    match tree {
        Tree::Null => serde_json::Value::Null,
        Tree::Bool(bool) => (*bool).into(),
        Tree::Integer(integer) => (*integer).into(),
        Tree::Halves(halves) if halves % 2 == 0 => (halves / 2).into(),
        Tree::Halves(halves) => (f64::from(*halves) / 2.0).into(),
        Tree::Text(text) => text.clone().into(),
        Tree::Array(values) => values.iter().map(stored).collect(),
        Tree::Object(members) => members
            .iter()
            .map(|(key, value)| (key.clone(), stored(value)))
            .collect(),
    }
}

proptest! {
    #[test]
    fn one_value_is_the_same_however_it_is_written(tree in tree(), a: u64, b: u64) {
        let (a, b) = (written(&tree, a), written(&tree, b));
        prop_assert_eq!(same(&a, &b), Are::Same, "{} and {}", a, b);
    }

    #[test]
    fn two_values_are_the_same_only_if_they_are_stored_alike(a in tree(), b in tree(), seed: u64) {
        let expected = if stored(&a) == stored(&b) { Are::Same } else { Are::Different };
        prop_assert_eq!(same(&written(&a, seed), &written(&b, !seed)), expected);
    }

    #[test]
    fn where_they_differ_is_what_is_not_stored_alike(a in tree(), b in tree(), seed: u64) {
        let Ok(Some(at)) = difference(&written(&a, seed), &written(&b, !seed)) else {
            return Ok(());
        };
        let (mut a, mut b) = (Some(&stored(&a)), Some(&stored(&b)));
        for key in at.split('/').skip(1) {
            let key = key.replace("~1", "/").replace("~0", "~");
            let [object, other] = [a, b].map(|value| value.and_then(serde_json::Value::as_object).unwrap());
            let before = |object: &serde_json::Map<String, serde_json::Value>| -> Vec<_> {
                object.clone().into_iter().filter(|(name, _)| *name < key).collect()
            };
            prop_assert_eq!(before(object), before(other), "before {} of {}", key, at);
            (a, b) = (object.get(&key), other.get(&key));
        }
        prop_assert_ne!(a, b, "at {}", at);
    }

    #[test]
    fn what_differs_in_one_place_is_different(tree in tree(), seed: u64) {
        let text = written(&tree, seed);
        for (index, _) in text.match_indices("null") {
            let other = format!("{}true{}", &text[..index], &text[index + 4..]);
            prop_assert_eq!(same(&text, &other), Are::Different, "{} and {}", text, other);
        }
    }

    #[test]
    fn no_text_is_too_much(text in r#"[\[\]{}:,"\\u0-9eE.+ntrfalse -]{0,40}"#) {
        let readable = serde_json::from_str::<serde_json::Value>(&text).is_ok();
        let expected = if readable { Are::Same } else { Are::Unreadable };
        // Serde reads no half of a surrogate pair.
        prop_assume!(!text.contains("\\ud"));
        prop_assert_eq!(same(&text, &format!("{text} ")), expected, "{}", text);
    }
}

/// All that `differences` shows, as `+`, `-` or `!` and the pointer.
fn all_differences(old: &str, new: &str) -> Vec<String> {
    let mut all = Vec::new();
    let end = differences(old, new, |difference, pointer| {
        let mark = match difference {
            Difference::Added => '+',
            Difference::Removed => '-',
            Difference::Changed => '!',
        };
        all.push(format!("{mark}{pointer}"));
        ControlFlow::<()>::Continue(())
    });
    assert_eq!(end, Ok(ControlFlow::Continue(())), "{old} and {new}");
    all
}

#[test]
fn every_difference_is_shown_once() {
    for (old, new, expected) in [
        ("{}", "{}", &[][..]),
        (r#"{"b":1}"#, r#"{"a":{"x":[1,{}]},"b":1,"c":2}"#, &["+/a", "+/c"]),
        (r#"{"a":{"x":[1]},"b":1,"c":2}"#, r#"{"b":1}"#, &["-/a", "-/c"]),
        (r#"{"c":2,"a":1}"#, r#"{"b":1,"a":1}"#, &["+/b", "-/c"]),
        (r#"{"a":{"b":{}}}"#, r#"{"a":{"b":{"c":1}},"d":1}"#, &["+/a/b/c", "+/d"]),
        // Another value, and the walk goes on behind it.
        (
            r#"{"a":1,"b":{"c":1}}"#,
            r#"{"a":{"x":[]},"b":{"c":2}}"#,
            &["!/a", "!/b/c"],
        ),
        (r#"{"a":"","b":0}"#, r#"{"a":"x","b":1}"#, &["!/a", "!/b"]),
        // What was null was not there.
        (r#"{"a":null,"b":1}"#, r#"{"a":{"x":1},"b":1}"#, &["+/a"]),
        (r#"{"a":1}"#, r#"{"a":null}"#, &["!/a"]),
        ("null", r#"{"a":1}"#, &["!"]),
        ("[null]", "[1]", &["!"]),
        // Members of the elements of an array, which are told by their places.
        (
            r#"{"a":[{"b":1},{}],"c":1}"#,
            r#"{"a":[{"b":1,"x":1},{"y":2}],"c":1}"#,
            &["+/a", "+/a"],
        ),
        (r#"{"a":[{"b":1}],"c":1}"#, r#"{"a":[{"b":2}],"c":2}"#, &["!/a", "!/c"]),
        // An element more or fewer.
        (r#"{"a":[],"c":1}"#, r#"{"a":[{"b":[]},2],"c":2}"#, &["!/a", "!/c"]),
        (r#"{"a":[1,[2],{"b":3}],"c":1}"#, r#"{"a":[1],"c":2}"#, &["!/a", "!/c"]),
        (r#"{"a":[1,2]}"#, r#"{"a":[2]}"#, &["!/a", "!/a"]),
    ] {
        assert_eq!(all_differences(old, new), expected, "{old} and {new}");
    }
}

#[test]
fn a_long_pointer_is_cut_off() {
    let (key, many) = ("k".repeat(3000), "a".repeat(700));
    let new = format!(r#"{{"{key}":1,"{many}":{{"{many}":{{"{many}":1}}}}}}"#);
    let old = format!(r#"{{"{many}":{{"{many}":{{}}}}}}"#);
    for pointer in all_differences(&old, &new) {
        assert!(
            pointer.len() > POINTER_LIMIT && pointer.len() < POINTER_LIMIT + 8,
            "{}",
            pointer.len()
        );
    }
    assert_eq!(all_differences(&old, &new).len(), 2);
}

/// By other means than the module's.
fn reference_differences(old: &serde_json::Value, new: &serde_json::Value, at: &str, all: &mut Vec<String>) {
    use serde_json::Value;
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                match (old.get(key), new.get(key)) {
                    (Some(Value::Null), Some(new)) if !new.is_null() => all.push(format!("+{at}")),
                    (Some(old), Some(new)) => reference_differences(old, new, &at, all),
                    (Some(_), None) => all.push(format!("-{at}")),
                    (None, _) => all.push(format!("+{at}")),
                }
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            let mut within = Vec::new();
            for (old, new) in old.iter().zip(new) {
                reference_differences(old, new, "", &mut within);
            }
            // No pointer goes into an array.
            all.extend(within.iter().map(|found| format!("{}{at}", &found[..1])));
            if old.len() != new.len() {
                all.push(format!("!{at}"));
            }
        }
        (old, new) if old == new => {}
        _ => all.push(format!("!{at}")),
    }
}

proptest! {
    #[test]
    fn the_differences_are_those_of_the_trees(a in tree(), b in tree(), seed: u64) {
        let mut expected = Vec::new();
        reference_differences(&stored(&a), &stored(&b), "", &mut expected);
        prop_assert_eq!(all_differences(&written(&a, seed), &written(&b, !seed)), expected);
    }
}
