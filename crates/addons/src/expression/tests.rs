use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::*;

fn all() -> BTreeSet<Variable> {
    Variable::ALL.into_iter().collect()
}

fn compile(source: &str) -> Result<Expression, ExpressionError> {
    Expression::compile(source, &all())
}

fn values(status: Json) -> BTreeMap<Variable, Json> {
    BTreeMap::from([
        (Variable::Status, status),
        (Variable::Metadata, json!({ "generation": 3, "labels": { "a/b": "c" } })),
    ])
}

fn evaluate_on(source: &str, values: &BTreeMap<Variable, Json>) -> Evaluation {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    compile(source).unwrap().evaluate(Inputs { values, now })
}

fn evaluate(source: &str, status: Json) -> Evaluation {
    evaluate_on(source, &values(status))
}

#[test]
fn it_is_safe_to_share() {
    const fn shared<T: Send + Sync>() {}
    shared::<Expression>();
}

#[test]
fn what_is_not_there_is_named() {
    for (source, absent) in [
        ("status.phase == 'Running'", "status.phase"),
        ("status.a.phase == 'Running'", "status.a.phase"),
        ("status.b.c == 1", "status.b"),
        ("metadata.labels['x/y'] == ''", "metadata.labels['x/y']"),
        ("status.pods.all(pod, pod.ready)", "pod.ready"),
        ("status.pods[7].name == ''", "an element of a list"),
        ("spec.replicas == 1", "spec.replicas"),
        ("status.has == has(status.nothing)", "status.has"),
    ] {
        let status = json!({ "a": {}, "pods": [{ "name": "a" }] });
        assert_eq!(
            evaluate(source, status),
            Evaluation::Absent(absent.to_owned()),
            "{source}"
        );
    }
}

/// The library answers `false` for a member of a text.
#[test]
fn a_member_of_a_scalar_is_unknown() {
    let status = json!({ "phase": "Running", "list": ["a"] });
    for source in [
        "status.phase.name != 'x'",
        "status.list.all(x, x.phase != 'Failed')",
        "status.list.phase != 'x'",
    ] {
        assert!(
            matches!(evaluate(source, status.clone()), Evaluation::Unknown(_)),
            "{source}"
        );
    }
}

#[test]
fn names_are_checked() {
    for (source, message) in [
        (
            "stauts.phase == ''",
            "stauts is no variable here; those are self, metadata, spec, status, release, cluster, written, now",
        ),
        (
            "status.pods.all(pod, pods.ready)",
            "pods is no variable here; those are self, metadata, spec, status, release, cluster, written, now",
        ),
        (
            "status.pods.all(i, pod, pod.ready)",
            "function all: Instar has comprehensions of one variable: list.all(x, ...)",
        ),
        (
            "status.pods.sortBy(x, x.name) == []",
            "function sortBy: Instar doesn't evaluate it",
        ),
        (
            "cel.bind(x, status.phase, x == '')",
            "function cel.bind: Instar doesn't evaluate it",
        ),
        (
            "status.url.replace('a', 'b') == ''",
            "function replace: Instar doesn't evaluate it",
        ),
        (
            "'%s'.format([status.phase]) == ''",
            "function format: Instar doesn't evaluate it",
        ),
        ("status.phase.isReady()", "function isReady: there is none of that name"),
        (
            "lowerAscii(status.phase) == ''",
            "function lowerAscii: it is called as value.lowerAscii(...)",
        ),
        ("status.phase.int() == 1", "function int: it is called as int(...)"),
        (
            r"status.phase.matches('^\\w{90}$')",
            "function matches: its pattern is too large once it is compiled: use [0-9] and [A-Za-z] for \\d and \\w, or repeat less",
        ),
        (
            "status.phase.matches('(')",
            "function matches: its pattern can't be read: error: unclosed group",
        ),
        (
            "status.phase.matches(status.pattern)",
            "function matches: its pattern has to be a string of at most 128 bytes",
        ),
        (
            "status.phase.trim(1) == ''",
            "function trim: it takes 0 to 0 arguments and has 1",
        ),
        (
            "status.all(status, status.ready)",
            "a comprehension's variable has the name of a variable: use another one, as in list.all(x, ...)",
        ),
        (
            "status.a.all(x, x.all(y, y.all(z, z)))",
            "its comprehensions (all, exists, filter, map) are nested too deep: 3, and at most 2 are allowed",
        ),
        (
            "Pod{name: 'a'} == 1",
            "messages (Type{field: value}) are not supported: use a map",
        ),
    ] {
        assert_eq!(
            compile(source).map_err(|error| error.to_string()),
            Err(message.to_owned()),
            "{source}"
        );
    }
    assert!(matches!(
        compile("status.phase == "),
        Err(ExpressionError::Syntax { line: 1, .. })
    ));
    assert!(matches!(compile(""), Err(ExpressionError::Syntax { .. })));
}

#[test]
fn the_worst_case_is_computed_first() {
    let pods: Vec<Json> = (0..3_000)
        .map(|n| json!({ "name": format!("pod-{n}"), "ready": true }))
        .collect();
    let status = json!({ "pods": pods });
    let once = "status.pods.all(pod, pod.ready)";
    assert_eq!(evaluate(once, status.clone()), Evaluation::Is(true));
    let pairs = "status.pods.all(a, status.pods.all(b, a.name != b.name || a == b))";
    let Evaluation::Unknown(why) = evaluate(pairs, status.clone()) else {
        panic!("it was evaluated");
    };
    assert!(
        why.starts_with("it may take ") && why.contains("lists of up to 3000 elements"),
        "{why}"
    );
    // What is gathered is copied in each round.
    assert!(matches!(
        evaluate("size(status.pods.map(pod, pod)) == 3000", status),
        Evaluation::Unknown(_)
    ));
    let few = json!({ "pods": [{ "name": "a" }, { "name": "b" }] });
    assert_eq!(evaluate(pairs, few), Evaluation::Is(true));
}

#[test]
fn an_object_is_bounded() {
    let large = json!({ "text": "a".repeat(MOST_BYTES) });
    assert_eq!(
        evaluate("status.text == ''", large),
        Evaluation::Unknown("status is larger than 1048576 bytes".to_owned())
    );
    let deep = (0..70).fold(json!(1), |inner, _| json!({ "a": inner }));
    assert_eq!(
        evaluate("has(status.a)", deep),
        Evaluation::Unknown("status is nested deeper than 64 levels".to_owned())
    );
}

#[test]
fn a_result_is_true_or_false() {
    let status = json!({ "phase": "Running", "replicas": 3 });
    for (source, unknown) in [
        ("status.phase", "it is neither true nor false"),
        (
            "status.phase + 1 == 2",
            "it applies an operator or a function to a value of another type",
        ),
        ("status.replicas / 0 == 1", "it divides by zero"),
        ("int(status.phase) == 1", "function int failed on what it was given"),
    ] {
        assert_eq!(
            evaluate(source, status.clone()),
            Evaluation::Unknown(unknown.to_owned()),
            "{source}"
        );
    }
}

/// A thread of ours has 2 MiB.
#[test]
fn the_deepest_expressions_fit_a_small_stack() {
    let status = json!({ "a": true });
    let sources = [
        format!("{}true{}", "(".repeat(16), ")".repeat(16)),
        format!("status{}", ".a".repeat(155)),
        format!("[{}", "status.a[".repeat(16)),
        format!("1{} == 1", " + 1".repeat(150)),
        format!("true{}", " && true".repeat(70)),
        format!("true{}", " ? true : true".repeat(70)),
        format!("true{}", " ? true : true".repeat(16)),
        format!("{}1", "- ".repeat(100)),
        format!("status{}", "[0]".repeat(150)),
        format!("status.a{}", ".trim()".repeat(75)),
        format!("true{}", " == true".repeat(70)),
    ];
    let run = move || {
        for source in &sources {
            let compiled = compile(source);
            assert_ne!(compiled, Err(ExpressionError::Library), "{source}");
            if let Ok(expression) = compiled {
                let evaluation = expression.evaluate(Inputs {
                    values: &values(status.clone()),
                    now: Timestamp::UNIX_EPOCH,
                });
                assert!(!evaluation.is_library_failure(), "{source}");
            }
        }
    };
    let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(run).unwrap();
    thread.join().unwrap();
}

#[test]
fn time_is_a_variable() {
    let status = json!({ "at": "2027-01-15T07:50:00Z" });
    assert_eq!(
        evaluate("now - timestamp(status.at) > duration('5m')", status.clone()),
        Evaluation::Is(true)
    );
    assert_eq!(
        evaluate("now - timestamp(status.at) > duration('15m')", status),
        Evaluation::Is(false)
    );
}

#[test]
fn numbers_are_compared_as_numbers() {
    let status =
        json!({ "observedGeneration": 3, "replicas": 2, "large": 18_446_744_073_709_551_615_u64, "ratio": 0.5 });
    for source in [
        "status.observedGeneration == metadata.generation",
        "status.replicas < 3",
        "status.ratio < 1.0",
        "status.replicas + 1 == 3",
        "metadata.labels['a/b'] == 'c'",
        "'a/b' in metadata.labels",
        "!('x' in metadata.labels)",
        "!has(status.nothing)",
        "has(status.replicas) && status.replicas == 2",
        "semver('1.10.0').isGreaterThan(semver('1.9.0'))",
        "quantity('1Gi').isGreaterThan(quantity('512Mi'))",
        "'v1.2.3'.matches('^v[0-9.]+$')",
        "[1, 2].sum() == 3",
    ] {
        assert_eq!(evaluate(source, status.clone()), Evaluation::Is(true), "{source}");
    }
}
