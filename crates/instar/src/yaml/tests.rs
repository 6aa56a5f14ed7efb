use super::*;
use serde_json::json;

fn round_trip(value: &Value) {
    let text = print(value).unwrap();
    match read(&text) {
        Ok(documents) => assert_eq!(documents, std::slice::from_ref(value), "{text}"),
        Err(error) => panic!("{error}: {text}"),
    }
    assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{text:?}");
}

/// Texts that are something else in YAML, of the version 1.1 or 1.2, when they stand bare.
const TEXTS: &[&str] = &[
    "",
    " ",
    "\n",
    "\n\n",
    "\t",
    "1.335s",
    "v1.33.5",
    "1.33",
    "1.30",
    "3.6",
    "3.6.5-0",
    "true",
    "True",
    "yes",
    "no",
    "on",
    "off",
    "y",
    "n",
    "null",
    "Null",
    "~",
    "0x10",
    "0o10",
    "010",
    "1e3",
    "1_000",
    ".5",
    ".inf",
    ".nan",
    "+1",
    "-1",
    "-",
    "--",
    "---",
    "...",
    "--- a",
    "- a",
    "? a",
    ": a",
    "a: b",
    "a:",
    "a #b",
    "#a",
    "&a",
    "*a",
    "!a",
    "|",
    ">",
    ">-",
    "%a",
    "@a",
    "`a`",
    "'",
    "\"",
    "''",
    "'a'",
    "\"a\"",
    "{",
    "}",
    "{}",
    "[]",
    "[a",
    "a, b",
    "<<",
    "=",
    "2026-11-20",
    "12:30:45",
    "1:30",
    " leading",
    "trailing ",
    "\ttab",
    "a\tb",
    "a\nb",
    "a\nb\n",
    "a\n\nb\n\n",
    " a\n  b\n",
    "\na",
    "a\r\nb",
    "a\\nb",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\u{feff}a",
    "é",
    "雪",
    "😀",
    "\0",
    "{{ .builtin.controlPlane.version }}",
    "{{- if eq \"a\" `b` }}'{{ . }}'{{ end -}}",
    "\"{{ .x }}\"",
    "{{- $pins := index .builtin.cluster.metadata.annotations \"upgrade.cluster.x-k8s.io/releases\" | fromJson -}}\n{{- range $k, $v := $pins }}\n  {{ $k }}: {{ $v | quote }}\n{{- end }}",
    "{\"adopted\":\"\",\"releases\":{\"v1.34.3\":{\"release\":\"v1.34.3-1\"}}}",
    "a very long line that goes far beyond eighty characters, with  two spaces and more  and more and more and more and more words",
    "a line that is long, and has: a colon, a # hash, {{ braces }} and \"quotes\" in it, so that it can't stand bare anywhere",
];

#[test]
fn every_text_survives_everywhere() {
    for text in TEXTS {
        round_trip(&json!({"key": text}));
        round_trip(&json!([text]));
        round_trip(&json!({"a": {"b": [{"c": text, "d": [text, [text]]}]}}));
        round_trip(&json!({ *text: "value" }));
        round_trip(&json!(text));
    }
}

#[test]
fn every_kind_of_value_survives() {
    for value in [
        json!({"empty": {}, "list": [], "null": null, "nested": [[], {}, [{}], null]}),
        json!({"numbers": [0, -1, i64::MAX, i64::MIN, u64::MAX, 0.5, -0.5, 1e300, 1.0, 1e-7]}),
        json!({"booleans": [true, false]}),
    ] {
        round_trip(&value);
    }
}

#[test]
fn documents_are_read_one_by_one() {
    let text = "---\n# a comment\na: 1\n---\n---\n{\"b\": [true, \"1.30\"]}\n...\n---\nc: |\n  x\n  y\n";
    assert_eq!(
        read(text).unwrap(),
        [json!({"a": 1}), json!({"b": [true, "1.30"]}), json!({"c": "x\ny\n"})]
    );
    assert!(read("").unwrap().is_empty());
}

#[test]
fn texts_and_numbers_are_read_as_kubernetes_reads_them() {
    assert_eq!(
        read("a: 1.30\nb: v1.30\nc: 'true'\nd: 3.6.5-0\ne: 2026-11-20\nf: 0\n").unwrap(),
        [json!({"a": 1.3, "b": "v1.30", "c": "true", "d": "3.6.5-0", "e": "2026-11-20", "f": 0})]
    );
}

#[test]
fn a_key_that_is_written_twice_is_refused() {
    let error = read("a: 1\na: 2\n").unwrap_err().to_string();
    assert!(error.contains("duplicate"), "{error}");
}

#[test]
fn a_value_with_lines_is_the_same_value() {
    let text = "# a row\na:\n  b: [1, {c: \"x\"}]\n  d: 1.335s\n---\n---\n- true\n- ~\n- 1.5\n- -3\n- &x {e: 2027-02-28}\n- *x\n";
    let located = read_located(text).unwrap();
    let values: Vec<Value> = located.iter().map(Located::value).collect();
    assert_eq!(values, read(text).unwrap());
    let a = located[0].member("a").unwrap();
    assert_eq!(a.member("d").unwrap().line, 4);
    assert_eq!(a.member("b").unwrap().items()[1].member("c").unwrap().line, 3);
    assert_eq!(located[1].line, 7);
    assert_eq!(located[1].items()[2].line, 9);
    assert!(a.member("none").is_none() && a.items().is_empty());
}
