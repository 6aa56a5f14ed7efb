//! CEL with bounds: what takes long, or what the library can't evaluate as Kubernetes does, is refused before.
//!
//! The library has no budget at run time and can't be interrupted, so the source is bounded before its parser sees it
//! (`source`), only functions whose work is known are let in (`functions`, `check`), and what an evaluation may take is
//! computed for the values at hand (`cost`).

mod absent;
mod check;
mod cost;
mod functions;
mod path;
mod source;
mod value;

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use jiff::Timestamp;
use kube_cel::{
    KubeCelExt,
    cel::{Context, ExecutionError, IdedExpr, Value, functions::timestamp, parser::Parser},
};
use serde_json::Value as Json;

pub use self::{check::Variable, cost::MOST_STEPS, value::MOST_BYTES};

/// Nothing in a bounded source comes near it: the library counts brackets and conditionals, and panics at its limit.
const DEEPEST_PARSE: u16 = 64;

/// An expression that was compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    source: String,
    tree: IdedExpr,
    variables: BTreeSet<Variable>,
}

/// Why an expression can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// It is longer, deeper or more nested than what is evaluated.
    #[error("{what}: {is}, and at most {most} are allowed")]
    TooMuch { what: &'static str, is: usize, most: usize },
    /// The library reads it otherwise than Kubernetes does.
    #[error("{0}")]
    Unsupported(&'static str),
    /// It isn't CEL.
    #[error("it is not CEL (line {line}, column {column}): {why}")]
    Syntax { line: isize, column: isize, why: String },
    /// A name that is no variable.
    #[error("{name} is no variable here; those are {known}")]
    UnknownVariable { name: String, known: String },
    /// A name that is no function, or one of Kubernetes' that is missing here.
    #[error("function {name}: {why}")]
    Function { name: String, why: String },
    /// The library failed on it.
    #[error("it can't be read")]
    Library,
}

/// What an expression came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evaluation {
    /// Whether it holds.
    Is(bool),
    /// It asks for a field that isn't there.
    Absent(String),
    /// It can't be said: why.
    Unknown(String),
}

/// What an expression for a time came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeEvaluation {
    /// This time.
    At(Timestamp),
    /// It asks for a field that isn't there.
    Absent(String),
    /// It can't be said: why.
    Unknown(String),
}

/// Why an evaluation came to no value.
enum NoValue {
    Absent(String),
    Unknown(String),
}

/// The values of an evaluation. What isn't among them is absent.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// By variable; the object's parts are taken out of `self`.
    pub values: &'a BTreeMap<Variable, Json>,
    /// The time of the evaluation.
    pub now: Timestamp,
}

impl Expression {
    /// Compiles an expression that may use these variables.
    pub fn compile(source: &str, known: &BTreeSet<Variable>) -> Result<Self, ExpressionError> {
        source::check(source)?;
        // The library's parser has panicked on hostile sources before.
        let parser = Parser::new().max_recursion_depth(DEEPEST_PARSE);
        let parsed = catch_unwind(AssertUnwindSafe(|| parser.parse(source))).map_err(|_| ExpressionError::Library)?;
        let expression = parsed.map_err(|errors| {
            let first = errors.errors.first();
            ExpressionError::Syntax {
                line: first.map_or(1, |error| error.pos.0),
                column: first.map_or(1, |error| error.pos.1),
                why: first.map_or_else(String::new, |error| syntax(&error.msg)),
            }
        })?;
        let variables = check::check(&expression, known)?;
        Ok(Self {
            source: source.to_owned(),
            tree: path::indexed(expression),
            variables,
        })
    }

    /// The expression as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The variables that it uses.
    #[must_use]
    pub const fn variables(&self) -> &BTreeSet<Variable> {
        &self.variables
    }

    /// The paths below a variable whose elements it goes through, such as `conditions` of `status.conditions.all(...)`.
    #[must_use]
    pub fn iterated(&self, variable: Variable) -> Vec<Vec<String>> {
        path::iterated(&self.tree, variable)
    }

    /// Whether it holds for these values.
    #[must_use]
    pub fn evaluate(&self, inputs: Inputs<'_>) -> Evaluation {
        self.evaluate_at(self.steps(inputs.values), inputs)
    }

    /// The same, where the steps are known.
    pub(crate) fn evaluate_at(&self, steps: u64, inputs: Inputs<'_>) -> Evaluation {
        match self.resolve(steps, inputs) {
            Ok(Value::Bool(is)) => Evaluation::Is(is),
            Ok(_) => Evaluation::Unknown("it is neither true nor false".to_owned()),
            Err(NoValue::Absent(path)) => Evaluation::Absent(path),
            Err(NoValue::Unknown(why)) => Evaluation::Unknown(why),
        }
    }

    /// The time that it gives for these values: a timestamp, or a text that is one.
    pub(crate) fn time_at(&self, steps: u64, inputs: Inputs<'_>) -> TimeEvaluation {
        let is_none = || TimeEvaluation::Unknown("it is no time such as 2026-12-01T02:00:00Z".to_owned());
        match self.resolve(steps, inputs) {
            Ok(Value::Timestamp(time)) => {
                Timestamp::from_second(time.timestamp()).map_or_else(|_| is_none(), TimeEvaluation::At)
            }
            Ok(Value::String(text)) => text.parse().map_or_else(|_| is_none(), TimeEvaluation::At),
            Ok(_) => is_none(),
            Err(NoValue::Absent(path)) => TimeEvaluation::Absent(path),
            Err(NoValue::Unknown(why)) => TimeEvaluation::Unknown(why),
        }
    }

    fn resolve(&self, steps: u64, inputs: Inputs<'_>) -> Result<Value, NoValue> {
        let mut context = Context::default().with_all();
        let nothing = Json::Object(serde_json::Map::new());
        for variable in &self.variables {
            let value = match variable {
                Variable::Now => timestamp(Arc::new(inputs.now.to_string())).ok(),
                Variable::Object
                | Variable::Metadata
                | Variable::Spec
                | Variable::Status
                | Variable::Release
                | Variable::Cluster
                | Variable::Written => {
                    let json = inputs.values.get(variable).unwrap_or(&nothing);
                    match value::of_json(json) {
                        Ok(value) => Some(value),
                        Err(error) => return Err(NoValue::Unknown(format!("{} {error}", variable.name()))),
                    }
                }
            };
            context.add_variable_from_value(variable.name(), value.unwrap_or(Value::Null));
        }
        if let Err(error) = cost::check(steps, inputs.values) {
            return Err(NoValue::Unknown(error.to_string()));
        }
        let resolved = catch_unwind(AssertUnwindSafe(|| Value::resolve(&self.tree, &context)));
        let resolved = resolved.map_err(|_| NoValue::Unknown(LIBRARY_FAILED.to_owned()))?;
        resolved.map_err(|error| match error {
            ExecutionError::NoSuchKey(key) => NoValue::Absent(absent::path(&self.tree, inputs.values, &key)),
            ExecutionError::IndexOutOfBounds(_) => NoValue::Absent("an element of a list".to_owned()),
            error => NoValue::Unknown(words(&error)),
        })
    }

    /// How many steps an evaluation may take for these values.
    #[must_use]
    pub fn steps(&self, values: &BTreeMap<Variable, Json>) -> u64 {
        cost::steps(&self.tree, values)
    }
}

/// Without the list of all tokens that would fit.
fn syntax(message: &str) -> String {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let message = message.split_once(" expecting ").map_or(message, |(what, _)| what);
    message.chars().take(LONGEST_SYNTAX).collect()
}

const LONGEST_SYNTAX: usize = 160;

/// What [`Evaluation::Unknown`] says where the library panicked.
const LIBRARY_FAILED: &str = "the CEL library failed";

impl Evaluation {
    /// Whether the library failed, which no expression may bring about.
    #[must_use]
    pub fn is_library_failure(&self) -> bool {
        matches!(self, Self::Unknown(why) if why == LIBRARY_FAILED)
    }
}

/// The library's own words print values as they are, however long.
fn words(error: &ExecutionError) -> String {
    match error {
        ExecutionError::InvalidArgumentCount { expected, actual } => {
            format!("a function takes {expected} arguments and got {actual}")
        }
        ExecutionError::FunctionError { function, .. } => format!("function {function} failed on what it was given"),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "it divides by zero".to_owned(),
        ExecutionError::Overflow(..) => "a number is out of range".to_owned(),
        ExecutionError::UndeclaredReference(name) => format!("{name} is not known"),
        // The rest are values of types that an operator or a function doesn't take.
        _ => "it applies an operator or a function to a value of another type".to_owned(),
    }
}

#[cfg(test)]
mod tests;
