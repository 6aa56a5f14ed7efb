//! What an expression that was parsed may use.

use std::collections::BTreeSet;

use kube_cel::cel::{
    IdedExpr,
    common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators},
};

use regex::RegexBuilder;

use super::{
    ExpressionError,
    functions::{Style, Work, function, lacking},
};

/// How deep the tree may be: it is walked by recursion.
const DEEPEST: usize = 48;

/// Comprehensions within each other.
const MOST_COMPREHENSIONS: usize = 2;

/// The longest pattern of a regular expression.
const LONGEST_PATTERN: usize = 128;

/// How many bytes it may take once it is compiled: a few milliseconds.
const LARGEST_PATTERN: usize = 128 * 1024;

/// A name that stands for a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Variable {
    /// `self`: the whole object.
    Object,
    /// Its metadata.
    Metadata,
    /// Its spec.
    Spec,
    /// Its status.
    Status,
    /// The release that the cluster goes to: `name`, `version`, `revision`.
    Release,
    /// The Cluster.
    Cluster,
    /// What was written: `value`, and `at`, the time, as text.
    Written,
    /// The time, as a timestamp.
    Now,
}

impl Variable {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Object,
        Self::Metadata,
        Self::Spec,
        Self::Status,
        Self::Release,
        Self::Cluster,
        Self::Written,
        Self::Now,
    ];

    /// As an expression names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Object => "self",
            Self::Metadata => "metadata",
            Self::Spec => "spec",
            Self::Status => "status",
            Self::Release => "release",
            Self::Cluster => "cluster",
            Self::Written => "written",
            Self::Now => "now",
        }
    }

    /// The variable of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|variable| variable.name() == name)
    }
}

/// The variables that an expression uses, of those that it may.
pub(super) fn check(expression: &IdedExpr, known: &BTreeSet<Variable>) -> Result<BTreeSet<Variable>, ExpressionError> {
    let mut checker = Checker {
        known,
        used: BTreeSet::new(),
        scope: Vec::new(),
    };
    checker.visit(expression, 1)?;
    Ok(checker.used)
}

struct Checker<'a> {
    known: &'a BTreeSet<Variable>,
    used: BTreeSet<Variable>,
    /// The variables of the comprehensions around, two each.
    scope: Vec<String>,
}

impl Checker<'_> {
    fn visit(&mut self, expression: &IdedExpr, depth: usize) -> Result<(), ExpressionError> {
        if depth > DEEPEST {
            return Err(ExpressionError::TooMuch {
                what: "it is too deep, in levels",
                is: depth,
                most: DEEPEST,
            });
        }
        let below = depth + 1;
        match &expression.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => self.visit(&select.operand, below),
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.visit(element, below)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.visit(&entry.key, below)?;
                    self.visit(&entry.value, below)
                }
                EntryExpr::StructField(_) => Err(NO_MESSAGES),
            }),
            Expr::Call(call) => self.call(call, below),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, below),
            Expr::Struct(_) => Err(NO_MESSAGES),
            Expr::Unspecified => Err(ExpressionError::Library),
        }
    }

    fn name(&mut self, name: &str) -> Result<(), ExpressionError> {
        if self.scope.iter().any(|scoped| scoped == name) {
            return Ok(());
        }
        if let Some(variable) = Variable::named(name).filter(|variable| self.known.contains(variable)) {
            self.used.insert(variable);
            return Ok(());
        }
        let known: Vec<&str> = self.known.iter().map(|variable| variable.name()).collect();
        Err(ExpressionError::UnknownVariable {
            name: name.to_owned(),
            known: known.join(", "),
        })
    }

    fn call(&mut self, call: &CallExpr, depth: usize) -> Result<(), ExpressionError> {
        let visit_arguments =
            |checker: &mut Self| call.args.iter().try_for_each(|argument| checker.visit(argument, depth));
        if is_operator(&call.func_name) {
            return visit_arguments(self);
        }
        // `math.least(a, b)` reads as a method of `math`.
        let prefix = call.target.as_deref().and_then(|target| match &target.expr {
            Expr::Ident(prefix) if Variable::named(prefix).is_none() && !self.scope.contains(prefix) => Some(prefix),
            _ => None,
        });
        let name = prefix.map_or_else(
            || call.func_name.clone(),
            |prefix| format!("{prefix}.{}", call.func_name),
        );
        let refuse = |why: String| {
            Err(ExpressionError::Function {
                name: name.chars().take(64).collect(),
                why,
            })
        };
        let Some(function) = function(&name) else {
            return refuse(lacking(&name).to_owned());
        };
        let is_method = call.target.is_some() && prefix.is_none();
        match (function.style, is_method) {
            (Style::Global, true) => return refuse(format!("it is called as {name}(...)")),
            (Style::Method, false) => return refuse(format!("it is called as value.{name}(...)")),
            (Style::Global | Style::Either, false) | (Style::Method | Style::Either, true) => {}
        }
        let (least, most) = function.arguments;
        let given = call.args.len() + usize::from(is_method);
        if !(least..=most).contains(&given) {
            let own = usize::from(is_method);
            return refuse(format!(
                "it takes {} to {} arguments and has {}",
                least - own,
                most - own,
                given - own
            ));
        }
        if function.work == Work::Matches
            && let Err(why) = pattern(call.args.first())
        {
            return refuse(why);
        }
        if let Some(target) = call.target.as_deref().filter(|_| is_method) {
            self.visit(target, depth)?;
        }
        visit_arguments(self)
    }

    fn comprehension(&mut self, comprehension: &ComprehensionExpr, depth: usize) -> Result<(), ExpressionError> {
        let ComprehensionExpr {
            iter_range,
            iter_var,
            iter_var2,
            accu_var,
            accu_init,
            loop_cond,
            loop_step,
            result,
        } = comprehension;
        self.visit(iter_range, depth)?;
        if iter_var2.is_some() {
            return Err(ExpressionError::Unsupported(
                "comprehensions of two variables are not supported: use one, as in list.all(x, ...)",
            ));
        }
        if Variable::named(iter_var).is_some() {
            return Err(ExpressionError::Unsupported(
                "a comprehension's variable has the name of a variable: use another one, as in list.all(x, ...)",
            ));
        }
        let nested = self.scope.len() / 2 + 1;
        if nested > MOST_COMPREHENSIONS {
            return Err(ExpressionError::TooMuch {
                what: "its comprehensions (all, exists, filter, map) are nested too deep",
                is: nested,
                most: MOST_COMPREHENSIONS,
            });
        }
        self.scope.push(iter_var.clone());
        self.scope.push(accu_var.clone());
        for part in [accu_init, loop_cond, loop_step, result] {
            self.visit(part, depth)?;
        }
        self.scope.truncate(self.scope.len() - 2);
        Ok(())
    }
}

const NO_MESSAGES: ExpressionError =
    ExpressionError::Unsupported("messages (Type{field: value}) are not supported: use a map");

/// The library compiles a pattern again for each value that it is tried on, and `\\w{90}` takes it a tenth of a second.
fn pattern(argument: Option<&IdedExpr>) -> Result<(), String> {
    let Some(pattern) = argument
        .and_then(literal)
        .filter(|pattern| pattern.len() <= LONGEST_PATTERN)
    else {
        return Err(format!(
            "its pattern has to be a string of at most {LONGEST_PATTERN} bytes"
        ));
    };
    match RegexBuilder::new(pattern).size_limit(LARGEST_PATTERN).build() {
        Ok(_) => Ok(()),
        Err(regex::Error::CompiledTooBig(_)) => Err(
            "its pattern is too large once it is compiled: use [0-9] and [A-Za-z] for \\d and \\w, or repeat less"
                .to_owned(),
        ),
        Err(error) => Err(format!("its pattern can't be read: {}", last_line(&error.to_string()))),
    }
}

/// The text of a literal.
pub(super) fn literal(expression: &IdedExpr) -> Option<&str> {
    match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// Before it, the library draws the pattern and an arrow.
fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text)
}

pub(super) fn is_operator(name: &str) -> bool {
    [
        operators::CONDITIONAL,
        operators::LOGICAL_AND,
        operators::LOGICAL_OR,
        operators::LOGICAL_NOT,
        operators::SUBSTRACT,
        operators::ADD,
        operators::MULTIPLY,
        operators::DIVIDE,
        operators::MODULO,
        operators::EQUALS,
        operators::NOT_EQUALS,
        operators::GREATER_EQUALS,
        operators::LESS_EQUALS,
        operators::GREATER,
        operators::LESS,
        operators::NEGATE,
        operators::INDEX,
        operators::NOT_STRICTLY_FALSE,
        operators::IN,
    ]
    .contains(&name)
}
