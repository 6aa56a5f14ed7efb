//! The table of expressions: what each comes to. A journey asks an API server's own CEL the same.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod table;

use std::collections::{BTreeMap, BTreeSet};

use instar_addons::{Evaluation, Expression, Inputs, Variable};
use jiff::Timestamp;
use serde_json::Value;

use self::table::{OF_OBJECT, Outcome, Row, Table};

#[test]
fn expressions_come_to_what_the_table_says() {
    let table = Table::read().unwrap();
    let values: BTreeMap<Variable, Value> = OF_OBJECT
        .into_iter()
        .map(|(name, path)| {
            let value = table.object.pointer(path).unwrap().clone();
            (Variable::named(name).unwrap(), value)
        })
        .collect();
    let wrong: Vec<String> = table
        .expressions
        .iter()
        .filter_map(|row| {
            let outcome = outcome(row, &values);
            let differs = outcome != row.instar;
            differs.then(|| {
                format!(
                    "{}: {}\n  is       {outcome}\n  expected {}",
                    row.name, row.cel, row.instar
                )
            })
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn outcome(row: &Row, values: &BTreeMap<Variable, Value>) -> Outcome {
    let known: BTreeSet<Variable> = values.keys().copied().collect();
    let now = Timestamp::UNIX_EPOCH;
    match Expression::compile(&row.cel, &known) {
        Ok(expression) => match expression.evaluate(Inputs { values, now }) {
            Evaluation::Is(is) => Outcome::Is(is),
            Evaluation::Absent(path) => Outcome::Absent(path),
            Evaluation::Unknown(why) => Outcome::Unknown(why),
        },
        Err(error) => Outcome::Refused(error.to_string()),
    }
}

/// Each row has a name of its own. Where an API server differs it names a difference, and all of those are documented.
#[test]
fn differences_are_documented() {
    let table = Table::read().unwrap();
    let (mut names, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for row in &table.expressions {
        assert!(names.insert(&row.name), "{} is there twice", row.name);
        let (kubernetes, differs) = row.kubernetes();
        assert_eq!(
            row.why.is_some(),
            differs,
            "{}: a reason for a difference, and for nothing else; {kubernetes} there, {} here",
            row.name,
            row.instar
        );
        seen.extend(&row.why);
    }
    assert_eq!(seen, table.differences.keys().collect(), "differences in use");
    let documented = include_str!("../../../../docs/addons.md");
    for text in table.differences.values() {
        assert!(
            documented.contains(&format!("\n- {text}\n")),
            "docs/addons.md doesn't say: {text}"
        );
    }
}
