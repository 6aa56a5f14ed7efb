//! The table of expressions: what each comes to. An API server's own CEL is held against the same table.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use instar_addons::{Evaluation, Expression, Inputs, Variable};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Table {
    object: Value,
    expressions: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    cel: String,
    #[serde(default)]
    is: Option<bool>,
    #[serde(default)]
    absent: Option<String>,
    #[serde(default)]
    unknown: Option<String>,
    #[serde(default)]
    refused: Option<String>,
    #[serde(default)]
    kubernetes: Option<bool>,
    #[serde(default)]
    why: Option<String>,
}

const OF_OBJECT: [Variable; 4] = [Variable::Object, Variable::Metadata, Variable::Spec, Variable::Status];

#[test]
fn expressions_come_to_what_the_table_says() {
    let table: Table = serde_saphyr::from_str(include_str!("table.yaml")).unwrap();
    let known: BTreeSet<Variable> = OF_OBJECT.into_iter().collect();
    let object = &table.object;
    let parts = [object, &object["metadata"], &object["spec"], &object["status"]];
    let values: BTreeMap<Variable, Value> = OF_OBJECT.into_iter().zip(parts.map(Clone::clone)).collect();
    for row in &table.expressions {
        let evaluation = Expression::compile(&row.cel, &known).map(|expression| {
            expression.evaluate(Inputs {
                values: &values,
                now: Timestamp::UNIX_EPOCH,
            })
        });
        let expected = match (row.is, &row.absent, &row.unknown, &row.refused) {
            (Some(is), None, None, None) => Ok(Evaluation::Is(is)),
            (None, Some(path), None, None) => Ok(Evaluation::Absent(path.clone())),
            (None, None, Some(why), None) => Ok(Evaluation::Unknown(why.clone())),
            (None, None, None, Some(why)) => Err(why.clone()),
            _ => panic!("{}: one result", row.cel),
        };
        assert_eq!(evaluation.map_err(|error| error.to_string()), expected, "{}", row.cel);
        assert_eq!(
            row.kubernetes.is_some(),
            row.why.is_some(),
            "{}: a reason for a difference",
            row.cel
        );
    }
}
