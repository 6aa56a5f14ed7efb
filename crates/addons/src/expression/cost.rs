//! What an evaluation may take at most, for the values at hand.
//!
//! A step is one value that is looked at, copied or compared, or 16 bytes of a text. Lists count with their lengths, so a
//! comprehension within another one has the product of both.

use std::collections::BTreeMap;

use kube_cel::cel::{
    IdedExpr,
    common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators},
};
use regex::RegexBuilder;
use serde_json::Value as Json;

use super::{
    check::{Variable, is_operator, literal},
    functions::{Work, function},
    path::Path,
    value::{Measure, measure},
};

/// The most steps of one evaluation: well below a second.
pub const MOST_STEPS: u64 = 5_000_000;

/// Bytes of a text that count as one step.
const BYTES: u64 = 16;

/// What it takes to compile a pattern that takes no more than so many bytes then.
const SMALL_PATTERN: (usize, u64) = (16 * 1024, 20_000);

/// What it takes to compile any other: classes of Unicode have hundreds of ranges.
const PATTERN: u64 = 250_000;

/// An evaluation that may take too long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "it may take {steps} steps with lists of up to {longest} elements, and at most {MOST_STEPS} are allowed: nest less, or look at fewer elements"
)]
pub(super) struct TooCostly {
    steps: u64,
    longest: usize,
}

/// Whether so many steps are few enough for these values.
pub(super) fn check(steps: u64, values: &BTreeMap<Variable, Json>) -> Result<(), TooCostly> {
    if steps <= MOST_STEPS {
        return Ok(());
    }
    let longest = values.values().filter_map(measure).map(|measure| measure.longest).max();
    Err(TooCostly {
        steps,
        longest: longest.unwrap_or_default(),
    })
}

pub(super) fn steps(expression: &IdedExpr, values: &BTreeMap<Variable, Json>) -> u64 {
    let mut meter = Meter {
        values,
        scope: Vec::new(),
    };
    meter.price(expression).steps
}

/// Bounds of a value.
#[derive(Debug, Clone, Copy, Default)]
struct Shape {
    /// Of its longest list or map.
    length: u64,
    /// Steps to copy it.
    size: u64,
}

impl Shape {
    const SCALAR: Self = Self { length: 0, size: 1 };

    fn of(json: &Json) -> Self {
        let Measure { values, bytes, longest } = measure(json).unwrap_or_default();
        Self {
            length: wide(longest),
            size: wide(values).saturating_add(wide(bytes) / BYTES).max(1),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            length: self.length.saturating_add(other.length),
            size: self.size.saturating_add(other.size),
        }
    }

    /// The larger of both in everything.
    fn or(self, other: Self) -> Self {
        Self {
            length: self.length.max(other.length),
            size: self.size.max(other.size),
        }
    }
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[derive(Debug, Clone, Copy)]
struct Price {
    steps: u64,
    shape: Shape,
}

struct Meter<'a> {
    values: &'a BTreeMap<Variable, Json>,
    scope: Vec<(&'a str, Shape)>,
}

impl<'a> Meter<'a> {
    fn price(&mut self, expression: &'a IdedExpr) -> Price {
        // A path is looked up, and what stands there is known.
        if let Some(path) = Path::of(expression)
            && !self.scope.iter().any(|(name, _)| *name == path.root)
        {
            let steps = wide(path.members.len()).saturating_add(1);
            let shape = path.value(self.values).map_or(Shape::SCALAR, Shape::of);
            return Price { steps, shape };
        }
        match &expression.expr {
            Expr::Unspecified | Expr::Struct(_) => Price {
                steps: 1,
                shape: Shape::SCALAR,
            },
            Expr::Literal(literal) => {
                let size = match literal {
                    LiteralValue::String(text) => wide(text.inner().len()) / BYTES + 1,
                    LiteralValue::Bytes(bytes) => wide(bytes.inner().len()) / BYTES + 1,
                    LiteralValue::Boolean(_)
                    | LiteralValue::Double(_)
                    | LiteralValue::Int(_)
                    | LiteralValue::Null
                    | LiteralValue::UInt(_) => 1,
                };
                Price {
                    steps: 1,
                    shape: Shape { length: 0, size },
                }
            }
            Expr::Ident(name) => {
                let scoped = self.scope.iter().rev().find(|(scoped, _)| scoped == name);
                Price {
                    steps: 1,
                    shape: scoped.map_or(Shape::SCALAR, |(_, shape)| *shape),
                }
            }
            Expr::Select(select) => {
                let operand = self.price(&select.operand);
                Price {
                    steps: operand.steps.saturating_add(1),
                    shape: Shape::SCALAR,
                }
            }
            Expr::List(list) => self.all(list.elements.iter(), list.elements.len()),
            Expr::Map(map) => {
                let entries = map.entries.iter().filter_map(|entry| match &entry.expr {
                    EntryExpr::MapEntry(entry) => Some([&entry.key, &entry.value]),
                    EntryExpr::StructField(_) => None,
                });
                self.all(entries.flatten(), map.entries.len())
            }
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
        }
    }

    /// A list or a map of these.
    fn all(&mut self, parts: impl Iterator<Item = &'a IdedExpr>, length: usize) -> Price {
        let nothing = Price {
            steps: 1,
            shape: Shape::SCALAR,
        };
        let mut all = parts.fold(nothing, |all, part| {
            let part = self.price(part);
            Price {
                steps: all.steps.saturating_add(part.steps).saturating_add(part.shape.size),
                shape: Shape {
                    length: all.shape.length.max(part.shape.length),
                    size: all.shape.size.saturating_add(part.shape.size),
                },
            }
        });
        all.shape.length = all.shape.length.max(wide(length));
        all
    }

    fn call(&mut self, call: &'a CallExpr) -> Price {
        let target = call.target.as_deref();
        // The prefix of `math.least` is no value, and costs a step.
        let parts: Vec<Price> = target
            .into_iter()
            .chain(&call.args)
            .map(|part| self.price(part))
            .collect();
        let steps = parts.iter().fold(1_u64, |sum, part| sum.saturating_add(part.steps));
        let given = parts.iter().fold(Shape::default(), |sum, part| sum.and(part.shape));
        let pairs = parts
            .iter()
            .fold(1_u64, |product, part| product.saturating_mul(part.shape.size.max(1)));
        let (work, shape) = if is_operator(&call.func_name) {
            match call.func_name.as_str() {
                operators::INDEX => (1, parts.first().map_or(Shape::SCALAR, |part| part.shape)),
                operators::ADD => (given.size, given),
                operators::CONDITIONAL => {
                    let branches = parts.iter().skip(1).map(|part| part.shape);
                    (1, branches.fold(Shape::SCALAR, Shape::or))
                }
                operators::IN => (pairs, Shape::SCALAR),
                _ => (given.size, Shape::SCALAR),
            }
        } else {
            let work = function(&call.func_name).or_else(|| {
                let prefix = target.and_then(Path::of)?;
                function(&format!("{}.{}", prefix.root, call.func_name))
            });
            match work.map(|function| function.work) {
                Some(Work::Looks) => (given.size, Shape::SCALAR),
                Some(Work::LooksAtPairs) => (pairs.saturating_mul(BYTES), Shape::SCALAR),
                Some(Work::Matches) => (given.size.saturating_mul(BYTES).saturating_add(pattern(call)), given),
                Some(Work::Keeps) => (given.size, given),
                Some(Work::Splits) => {
                    let most = given.size.saturating_mul(BYTES);
                    let shape = Shape {
                        length: most,
                        size: most.saturating_mul(2),
                    };
                    (shape.size, shape)
                }
                Some(Work::Joins) => (pairs, Shape { length: 0, size: pairs }),
                None => (pairs, given),
            }
        };
        Price {
            steps: steps.saturating_add(work),
            shape,
        }
    }

    fn comprehension(&mut self, comprehension: &'a ComprehensionExpr) -> Price {
        let range = self.price(&comprehension.iter_range);
        let init = self.price(&comprehension.accu_init);
        let (rounds, element) = self.elements(&comprehension.iter_range, range.shape);
        self.scope.push((&comprehension.iter_var, element));
        self.scope.push((&comprehension.accu_var, init.shape));
        // What one round adds to what is gathered: a list grows by it in each, anything else stays as it is.
        let once = self.price(&comprehension.loop_step).shape;
        let gathered = match comprehension.accu_init.expr {
            Expr::List(_) => Shape {
                length: rounds.max(once.length),
                size: once.size.saturating_mul(rounds).saturating_add(1),
            },
            _ => Shape::SCALAR,
        };
        if let Some((_, shape)) = self.scope.last_mut() {
            *shape = gathered;
        }
        let condition = self.price(&comprehension.loop_cond).steps;
        let step = self.price(&comprehension.loop_step).steps;
        // Each round copies the element and what was gathered.
        let round = condition
            .saturating_add(step)
            .saturating_add(element.size)
            .saturating_add(gathered.size);
        let result = self.price(&comprehension.result);
        self.scope.truncate(self.scope.len().saturating_sub(2));
        Price {
            steps: [range.steps, init.steps, result.steps, rounds.saturating_mul(round)]
                .into_iter()
                .fold(1, u64::saturating_add),
            shape: result.shape,
        }
    }

    /// How many elements a range has, and bounds of each.
    fn elements(&self, range: &'a IdedExpr, shape: Shape) -> (u64, Shape) {
        let known = Path::of(range)
            .filter(|path| !self.scope.iter().any(|(name, _)| *name == path.root))
            .and_then(|path| path.value(self.values));
        match known {
            Some(Json::Array(list)) => {
                let largest = list.iter().map(Shape::of).fold(Shape::SCALAR, Shape::or);
                (wide(list.len()), largest)
            }
            Some(Json::Object(members)) => {
                let longest = members.keys().map(String::len).max().unwrap_or_default();
                let key = Shape {
                    length: 0,
                    size: wide(longest) / BYTES + 1,
                };
                (wide(members.len()), key)
            }
            Some(Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_)) => (0, Shape::SCALAR),
            None => (shape.length, shape),
        }
    }
}

/// What it takes to compile the pattern of a call, which the library does again for each value.
fn pattern(call: &CallExpr) -> u64 {
    let literal = call.args.first().and_then(literal);
    let (bytes, steps) = SMALL_PATTERN;
    let is_small = |pattern: &str| RegexBuilder::new(pattern).size_limit(bytes).build().is_ok();
    if literal.is_some_and(is_small) { steps } else { PATTERN }
}
