//! CEL expressions of add-ons and gates.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use instar_addons::{Evaluation, Expression, ExpressionError, Inputs, MOST_STEPS, Variable};
use jiff::Timestamp;
use serde_json::{Value, json};

/// What stands between an expression and the status that it is asked of.
const BETWEEN: &str = "\n---\n";

/// The longest message: a path, a name or a value in it is cut.
const LONGEST_MESSAGE: usize = 2_048;

/// No compilation and no evaluation takes longer, without optimisation and beside other tests.
const LONGEST: Duration = Duration::from_secs(20);

/// Whatever the text, it is refused or evaluated: nothing panics, overflows the stack or takes long, and what may take
/// more steps than allowed is not begun.
pub fn expressions(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (source, status) = text.split_once(BETWEEN).unwrap_or((&text, "{}"));
    let began = Instant::now();
    let known: BTreeSet<Variable> = Variable::ALL.into_iter().collect();
    let expression = match Expression::compile(source, &known) {
        Ok(expression) => expression,
        Err(error) => {
            assert_ne!(error, ExpressionError::Library, "{source}");
            assert!(error.to_string().len() < LONGEST_MESSAGE, "{error}");
            assert!(began.elapsed() < LONGEST, "{source}");
            return;
        }
    };
    assert_eq!(expression.source(), source);
    assert_eq!(Expression::compile(source, &known).as_ref(), Ok(&expression));
    let status = serde_json::from_str(status).unwrap_or_else(|_| json!({ "text": status }));
    let values = values(status);
    let steps = expression.steps(&values);
    let evaluation = expression.evaluate(Inputs {
        values: &values,
        now: Timestamp::UNIX_EPOCH,
    });
    assert!(!evaluation.is_library_failure(), "{source}");
    match &evaluation {
        Evaluation::Unknown(text) | Evaluation::Absent(text) => {
            assert!(text.len() < LONGEST_MESSAGE, "{text}");
        }
        Evaluation::Is(_) => assert!(steps <= MOST_STEPS, "{source}: {steps}"),
    }
    assert!(began.elapsed() < LONGEST, "{source}: {steps} steps");
}

fn values(status: Value) -> BTreeMap<Variable, Value> {
    let metadata = json!({ "name": "a", "namespace": "b", "generation": 3, "labels": { "tier": "prod" } });
    let spec = json!({ "version": "v1.2.3", "replicas": 3, "image": { "tag": "2.5" } });
    let object = json!({ "metadata": metadata, "spec": spec, "status": status });
    BTreeMap::from([
        (Variable::Metadata, metadata),
        (Variable::Spec, spec),
        (Variable::Status, status),
        (Variable::Object, object),
        (
            Variable::Release,
            json!({ "name": "r", "version": "v1.35.0", "revision": 1 }),
        ),
        (
            Variable::Cluster,
            json!({ "metadata": { "labels": {}, "annotations": {} } }),
        ),
        (
            Variable::Written,
            json!({ "value": "v1.2.3", "at": "2026-01-01T00:00:00Z" }),
        ),
    ])
}
