//! Members of values, by path.

use std::collections::BTreeMap;

use kube_cel::cel::{
    IdedExpr,
    common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, operators},
};
use serde_json::Value as Json;

use super::check::Variable;

/// The expression with `a['b']` for `a.b`. The library answers `false` for a member of a value that has none, where CEL
/// has an error, and copies the member; an index does neither.
pub(super) fn indexed(expression: IdedExpr) -> IdedExpr {
    let id = expression.id;
    let expr = match expression.expr {
        Expr::Select(mut select) => {
            let operand = indexed(std::mem::take(&mut *select.operand));
            if select.test {
                *select.operand = operand;
                Expr::Select(select)
            } else {
                let member = IdedExpr {
                    id,
                    expr: Expr::Literal(LiteralValue::String(select.field.as_str().into())),
                };
                Expr::Call(CallExpr {
                    func_name: operators::INDEX.to_owned(),
                    target: None,
                    args: vec![operand, member],
                })
            }
        }
        Expr::Call(mut call) => {
            call.target = call.target.map(|target| Box::new(indexed(*target)));
            call.args = call.args.into_iter().map(indexed).collect();
            Expr::Call(call)
        }
        Expr::List(mut list) => {
            list.elements = list.elements.into_iter().map(indexed).collect();
            Expr::List(list)
        }
        Expr::Map(mut map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    entry.key = indexed(std::mem::take(&mut entry.key));
                    entry.value = indexed(std::mem::take(&mut entry.value));
                }
            }
            Expr::Map(map)
        }
        Expr::Comprehension(mut comprehension) => {
            for part in [
                &mut comprehension.iter_range,
                &mut comprehension.accu_init,
                &mut comprehension.loop_cond,
                &mut comprehension.loop_step,
                &mut comprehension.result,
            ] {
                *part = indexed(std::mem::take(part));
            }
            Expr::Comprehension(comprehension)
        }
        other @ (Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_)) => other,
    };
    IdedExpr { id, expr }
}

/// A name and the members below it, where an expression is nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path<'a> {
    pub root: &'a str,
    pub members: Vec<&'a str>,
}

impl<'a> Path<'a> {
    pub(super) fn of(expression: &'a IdedExpr) -> Option<Self> {
        let mut members = Vec::new();
        let mut at = expression;
        loop {
            match &at.expr {
                Expr::Ident(root) => {
                    members.reverse();
                    return Some(Self { root, members });
                }
                Expr::Select(select) => {
                    members.push(select.field.as_str());
                    at = &select.operand;
                }
                Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
                    [operand, member] => {
                        let Expr::Literal(LiteralValue::String(member)) = &member.expr else {
                            return None;
                        };
                        members.push(member.inner());
                        at = operand;
                    }
                    _ => return None,
                },
                _ => return None,
            }
        }
    }

    /// What stands there.
    pub(super) fn value<'v>(&self, values: &'v BTreeMap<Variable, Json>) -> Option<&'v Json> {
        let root = values.get(&Variable::named(self.root)?)?;
        self.members.iter().try_fold(root, |at, member| at.get(member))
    }
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.root)?;
        for member in &self.members {
            if member.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                write!(f, ".{member}")?;
            } else {
                write!(f, "['{member}']")?;
            }
        }
        Ok(())
    }
}

/// Calls a function with every part of an expression, itself first.
pub(super) fn each<'a>(expression: &'a IdedExpr, visit: &mut dyn FnMut(&'a IdedExpr)) {
    visit(expression);
    match &expression.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) => {}
        Expr::Select(select) => each(&select.operand, visit),
        Expr::Call(call) => {
            let target = call.target.as_deref();
            for part in target.into_iter().chain(&call.args) {
                each(part, visit);
            }
        }
        Expr::List(list) => list.elements.iter().for_each(|element| each(element, visit)),
        Expr::Map(map) => {
            for entry in &map.entries {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    each(&entry.key, visit);
                    each(&entry.value, visit);
                }
            }
        }
        Expr::Comprehension(comprehension) => {
            for part in [
                &comprehension.iter_range,
                &comprehension.accu_init,
                &comprehension.loop_cond,
                &comprehension.loop_step,
                &comprehension.result,
            ] {
                each(part, visit);
            }
        }
    }
}

/// The members below a variable that comprehensions go through.
pub(super) fn iterated(expression: &IdedExpr, variable: Variable) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    each(expression, &mut |part| {
        let Expr::Comprehension(comprehension) = &part.expr else {
            return;
        };
        let path = Path::of(&comprehension.iter_range).filter(|path| path.root == variable.name());
        found.extend(path.map(|path| path.members.into_iter().map(str::to_owned).collect()));
    });
    found
}
