//! What a check finds, before modes and skips.

use instar_planner::{Condition, ConditionStatus, Problem};

/// What a check finds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    Pass,
    /// Something is wrong that an upgrade can live with, whatever the mode.
    Warn(Problem),
    Fail(Problem),
    /// It can't be said.
    Unknown(Problem),
    /// There is nothing to look at, and this is why.
    NotApplicable(String),
}

impl Finding {
    /// What is found of several objects: what fails counts more than what can't be said, and that more than a warning. The
    /// first problem is told in full.
    pub(crate) fn of_all(findings: impl IntoIterator<Item = Self>) -> Self {
        let (mut failed, mut unknown, mut warned) = (Vec::new(), Vec::new(), Vec::new());
        for finding in findings {
            match finding {
                Self::Pass | Self::NotApplicable(_) => {}
                Self::Warn(problem) => warned.push(problem),
                Self::Fail(problem) => failed.push(problem),
                Self::Unknown(problem) => unknown.push(problem),
            }
        }
        match (joined(failed), joined(unknown), joined(warned)) {
            (Some(problem), _, _) => Self::Fail(problem),
            (None, Some(problem), _) => Self::Unknown(problem),
            (None, None, Some(problem)) => Self::Warn(problem),
            (None, None, None) => Self::Pass,
        }
    }

    /// What a condition says that ought to be True. One that describes another generation says nothing.
    pub(crate) fn of_condition(kind: &str, name: &str, generation: i64, condition: &Condition) -> Self {
        let Condition {
            kind: condition_type,
            status,
            message,
            observed_generation,
            ..
        } = condition;
        let problem = |message: String| Problem {
            kind: kind.to_owned(),
            name: name.to_owned(),
            message,
        };
        // Cluster API names no generation where it could not tell.
        if *observed_generation != 0 && *observed_generation < generation {
            return Self::Unknown(problem(format!(
                "condition {condition_type} of {kind} {name} describes generation {observed_generation}, and not \
                 {generation} yet"
            )));
        }
        let say = |is: &str| {
            let because = if message.is_empty() { "" } else { ": " };
            problem(format!(
                "condition {condition_type} of {kind} {name} is {is}{because}{}",
                one_line(message)
            ))
        };
        match status {
            ConditionStatus::True => Self::Pass,
            ConditionStatus::False => Self::Fail(say("False")),
            ConditionStatus::Unknown => Self::Unknown(say("Unknown")),
        }
    }
}

/// What a condition says: its list of Machines has a line for each.
pub(crate) fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The first names, and how many others there are.
pub(crate) fn names<'n>(first: impl IntoIterator<Item = &'n str>, more: usize) -> String {
    let names = first.into_iter().collect::<Vec<_>>().join(", ");
    match more {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}

/// How many further objects are named.
const NAMED: usize = 3;

/// One problem for all: the first one, and which other objects have one.
fn joined(problems: Vec<Problem>) -> Option<Problem> {
    let mut problems = problems.into_iter();
    let first = problems.next()?;
    let mut others: Vec<(String, String)> = Vec::new();
    for Problem { kind, name, .. } in problems {
        let object = (kind, name);
        if (object.0 != first.kind || object.1 != first.name) && !others.contains(&object) {
            others.push(object);
        }
    }
    if others.is_empty() {
        return Some(first);
    }
    let named: Vec<String> = others
        .iter()
        .take(NAMED)
        .map(|(kind, name)| format!("{kind} {name}"))
        .collect();
    let named = names(named.iter().map(String::as_str), others.len() - named.len());
    Some(Problem {
        message: format!("{}; so it is with {named}", first.message),
        ..first
    })
}
