//! Which field it is that isn't there.

use std::collections::BTreeMap;

use kube_cel::cel::IdedExpr;
use serde_json::Value as Json;

use super::{
    check::Variable,
    path::{Path, each},
};

/// The longest path in a message.
const LONGEST: usize = 200;

/// The path that ends in `key` and leads nowhere, as the expression has it; `key` where none does.
pub(super) fn path(expression: &IdedExpr, values: &BTreeMap<Variable, Json>, key: &str) -> String {
    let mut found: Option<Path<'_>> = None;
    each(expression, &mut |part| {
        let Some(path) = Path::of(part).filter(|path| path.members.last() == Some(&key)) else {
            return;
        };
        let is_variable = Variable::named(path.root).is_some();
        // Of what comprehensions go through, nobody knows which element it was.
        if found.is_none() && (!is_variable || path.value(values).is_none()) {
            found = Some(path);
        }
    });
    let text = found.map_or_else(|| key.to_owned(), |path| path.to_string());
    text.chars().take(LONGEST).collect()
}
