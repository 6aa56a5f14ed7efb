//! What the objects of a gate come to: the rule of generations first, then the expressions, in Flux's order.

use std::{collections::BTreeSet, fmt};

use instar_api::{GenerationRule, Observe, OnTimeout};
use jiff::SignedDuration;
use serde_json::Value;

use crate::{
    expression::{Evaluation, Expression, ExpressionError, Inputs, MOST_STEPS, Variable},
    rollout::Rollout,
    subject::Subject,
};

/// How many objects one gate looks at.
pub(crate) const MOST_OBJECTS: usize = 1_000;

/// The most steps of all expressions over all objects of a gate: a few seconds.
pub(crate) const MOST_STEPS_OF_ALL: u64 = 4 * MOST_STEPS;

/// As long as a name of Kubernetes may be.
const LONGEST_NAME: usize = 253;

/// The longest text of an object's own in a message.
const LONGEST_TEXT: usize = 160;

/// A gate whose expressions were compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    name: String,
    observe: Observe,
    judged_by: JudgedBy,
    pub(crate) settle: SignedDuration,
    pub(crate) timeout: Option<SignedDuration>,
    pub(crate) on_timeout: OnTimeout,
}

/// What says whether the objects of a gate are ready.
#[derive(Debug, Clone, PartialEq)]
enum JudgedBy {
    Expressions(Box<Expressions>),
    Rollout(Rollout),
}

#[derive(Debug, Clone, PartialEq)]
struct Expressions {
    only_if: Option<Expression>,
    in_progress_when: Option<Expression>,
    failed_when: Option<Expression>,
    ready_when: Expression,
    generation: GenerationRule,
}

/// Whether a gate counts for a Cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applies {
    /// It does.
    Yes,
    /// `onlyIf` says that it doesn't.
    No,
    /// It can't be said, which closes it.
    Unknown(String),
}

/// What the objects of a gate come to at one moment. Each text names the object and what decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Each object is ready.
    Ready,
    /// An object isn't ready yet, or isn't there.
    InProgress(String),
    /// An object has failed.
    Failed(String),
    /// It can't be said.
    Unknown(String),
    /// It doesn't count for the Cluster: `onlyIf` says so, and no object is asked.
    NotApplicable,
}

/// An expression, by the field in which it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    OnlyIf,
    InProgressWhen,
    FailedWhen,
    ReadyWhen,
}

impl Field {
    /// The variables that it may use. `written` is only there where something is.
    pub(crate) fn variables(self, writes: Writes) -> BTreeSet<Variable> {
        let known = Variable::ALL.into_iter().filter(|variable| match variable {
            Variable::Release | Variable::Cluster | Variable::Now => true,
            Variable::Object | Variable::Metadata | Variable::Spec | Variable::Status => self != Self::OnlyIf,
            Variable::Written => self != Self::OnlyIf && writes == Writes::Something,
        });
        known.collect()
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OnlyIf => "onlyIf",
            Self::InProgressWhen => "inProgressWhen",
            Self::FailedWhen => "failedWhen",
            Self::ReadyWhen => "readyWhen",
        })
    }
}

/// Whether something is written for it: only add-ons of releases do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    Something,
    Nothing,
}

/// An expression that can't be used, and where it stands.
pub(crate) struct WrongExpression {
    pub field: Field,
    pub error: ExpressionError,
}

impl Gate {
    /// Reads a gate of an `UpgradePolicy`.
    pub fn read(gate: &instar_api::Gate) -> Result<Self, ExpressionError> {
        Self::compile(gate, Writes::Nothing).map_err(|wrong| wrong.error)
    }

    /// Reads an add-on of a `KubernetesRelease`.
    pub fn of_addon(addon: &instar_api::Addon) -> Result<Self, ExpressionError> {
        Self::compile(&addon.gate, writes(addon)).map_err(|wrong| wrong.error)
    }

    pub(crate) fn compile(gate: &instar_api::Gate, writes: Writes) -> Result<Self, WrongExpression> {
        let instar_api::Gate {
            name,
            when: _,
            observe,
            only_if,
            in_progress_when,
            failed_when,
            ready_when,
            generation,
            settle,
            timeout,
            on_timeout,
            depends_on: _,
        } = gate;
        let compile = |field: Field, source: &str| {
            Expression::compile(source, &field.variables(writes)).map_err(|error| WrongExpression { field, error })
        };
        let optional =
            |field, source: &Option<String>| source.as_deref().map(|source| compile(field, source)).transpose();
        Ok(Self {
            name: name.clone(),
            observe: observe.clone(),
            judged_by: JudgedBy::Expressions(Box::new(Expressions {
                only_if: optional(Field::OnlyIf, only_if)?,
                in_progress_when: optional(Field::InProgressWhen, in_progress_when)?,
                failed_when: optional(Field::FailedWhen, failed_when)?,
                ready_when: compile(Field::ReadyWhen, ready_when)?,
                generation: *generation,
            })),
            settle: *settle,
            timeout: *timeout,
            on_timeout: *on_timeout,
        })
    }

    /// A workload that has to be rolled out, for however short a time.
    pub(crate) const fn of_rollout(name: String, observe: Observe, rollout: Rollout) -> Self {
        Self {
            name,
            observe,
            judged_by: JudgedBy::Rollout(rollout),
            settle: SignedDuration::ZERO,
            timeout: None,
            on_timeout: OnTimeout::Hold,
        }
    }

    /// What messages call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The objects that it looks at.
    #[must_use]
    pub const fn observe(&self) -> &Observe {
        &self.observe
    }

    pub(crate) const fn only_if(&self) -> Option<&Expression> {
        match &self.judged_by {
            JudgedBy::Expressions(expressions) => expressions.only_if.as_ref(),
            JudgedBy::Rollout(_) => None,
        }
    }

    pub(crate) const fn ready_when(&self) -> Option<&Expression> {
        match &self.judged_by {
            JudgedBy::Expressions(expressions) => Some(&expressions.ready_when),
            JudgedBy::Rollout(_) => None,
        }
    }

    /// Whether an expression asks for what was set.
    pub(crate) fn asks_for_written(&self) -> bool {
        match &self.judged_by {
            JudgedBy::Expressions(expressions) => {
                let Expressions {
                    only_if: _,
                    in_progress_when,
                    failed_when,
                    ready_when,
                    generation: _,
                } = &**expressions;
                let mut all = in_progress_when.iter().chain(failed_when).chain([ready_when]);
                all.any(|expression| expression.variables().contains(&Variable::Written))
            }
            JudgedBy::Rollout(_) => false,
        }
    }

    /// Whether it counts for a Cluster.
    #[must_use]
    pub fn applies(&self, subject: &Subject) -> Applies {
        let Some(only_if) = self.only_if() else {
            return Applies::Yes;
        };
        let values = subject.alone();
        match only_if.evaluate(Inputs {
            values: &values,
            now: subject.now,
        }) {
            Evaluation::Is(true) => Applies::Yes,
            Evaluation::Is(false) => Applies::No,
            Evaluation::Absent(path) => {
                Applies::Unknown(format!("{path} is absent (onlyIf): ask with has() or in first"))
            }
            Evaluation::Unknown(why) => Applies::Unknown(format!("onlyIf can't be evaluated: {why}")),
        }
    }

    /// What the objects that were observed come to. What fails comes before what isn't known, and that before what is
    /// on its way.
    #[must_use]
    pub fn judge(&self, objects: &[Value], subject: &Subject) -> Verdict {
        if objects.len() > MOST_OBJECTS {
            let (kind, count) = (&self.observe.kind, objects.len());
            return Verdict::Unknown(format!(
                "{count} objects of kind {kind} are observed, and at most {MOST_OBJECTS} are allowed: narrow the labelSelector"
            ));
        }
        let mut spent = 0;
        let mut verdicts = Vec::with_capacity(objects.len());
        for object in objects {
            verdicts.push(self.judge_one(object, subject, &mut spent));
            if spent > MOST_STEPS_OF_ALL {
                let (kind, count) = (&self.observe.kind, objects.len());
                return Verdict::Unknown(format!(
                    "{count} objects of kind {kind} may take {spent} steps and more, and at most {MOST_STEPS_OF_ALL} are \
                     allowed: narrow the labelSelector, or nest less"
                ));
            }
        }
        let rank = |verdict: &Verdict| match verdict {
            Verdict::Failed(_) => 3,
            Verdict::Unknown(_) => 2,
            Verdict::InProgress(_) => 1,
            Verdict::Ready | Verdict::NotApplicable => 0,
        };
        let worst = verdicts.iter().map(rank).max().unwrap_or_default();
        let alike = verdicts.iter().filter(|verdict| rank(verdict) == worst).count();
        // Of several the first is told: the caller's order is the API server's, by name.
        let first = verdicts.iter().find(|verdict| rank(verdict) == worst);
        let more = |text: &str| match alike {
            0 | 1 => text.to_owned(),
            more => format!("{text} (and {} more)", more - 1),
        };
        match first {
            Some(Verdict::Failed(text)) => Verdict::Failed(more(text)),
            Some(Verdict::Unknown(text)) => Verdict::Unknown(more(text)),
            Some(Verdict::InProgress(text)) => Verdict::InProgress(more(text)),
            Some(Verdict::Ready | Verdict::NotApplicable) | None => self.enough(objects.len()),
        }
    }

    /// Whether there are as many objects as there have to be, where none of them says otherwise.
    fn enough(&self, found: usize) -> Verdict {
        let Observe {
            cluster,
            kind,
            namespace,
            name,
            min_objects,
            ..
        } = &self.observe;
        if found >= usize::from(*min_objects) {
            return Verdict::Ready;
        }
        let place = cluster.as_str();
        let namespace = namespace.as_deref();
        if let Some(name) = name {
            let name = namespace.map_or_else(|| name.clone(), |namespace| format!("{namespace}/{name}"));
            return Verdict::InProgress(format!("{kind} {name} is not there, in the {place}"));
        }
        let within = namespace.map_or_else(String::new, |namespace| format!(" in namespace {namespace}"));
        Verdict::InProgress(format!(
            "{found} objects of kind {kind} with the labels of labelSelector are there{within}, in the {place}, and there have to be {min_objects}"
        ))
    }

    fn judge_one(&self, object: &Value, subject: &Subject, spent: &mut u64) -> Verdict {
        let named = object_ref(&self.observe.kind, object);
        if !object["metadata"]["deletionTimestamp"].is_null() {
            return Verdict::InProgress(format!("{named}: not ready: it is being deleted"));
        }
        match &self.judged_by {
            JudgedBy::Expressions(expressions) => expressions.judge(&named, object, subject, spent),
            JudgedBy::Rollout(rollout) => rollout.missing(object).map_or(Verdict::Ready, |why| {
                Verdict::InProgress(format!("{named}: not ready: {why}"))
            }),
        }
    }
}

impl Expressions {
    fn judge(&self, named: &str, object: &Value, subject: &Subject, spent: &mut u64) -> Verdict {
        if let Some(why) = behind(self.generation, object) {
            return Verdict::InProgress(format!("{named}: not ready: {why}"));
        }
        let mut evaluate = |expression: &Expression| {
            let values = subject.with(object, expression.variables());
            let steps = expression.steps(&values);
            *spent = spent.saturating_add(steps.min(MOST_STEPS));
            let inputs = Inputs {
                values: &values,
                now: subject.now,
            };
            expression.evaluate_at(steps, inputs)
        };
        let asked = [
            (Field::InProgressWhen, self.in_progress_when.as_ref()),
            (Field::FailedWhen, self.failed_when.as_ref()),
            (Field::ReadyWhen, Some(&self.ready_when)),
        ];
        for (field, expression) in asked {
            let Some(expression) = expression else { continue };
            let holds = match evaluate(expression) {
                Evaluation::Is(holds) => holds,
                Evaluation::Absent(path) => {
                    return Verdict::InProgress(format!("{named}: not ready: {path} is absent ({field})"));
                }
                Evaluation::Unknown(why) => {
                    return Verdict::Unknown(format!("{named}: {field} can't be evaluated: {why}"));
                }
            };
            let source = expression.source();
            match (field, holds) {
                (Field::InProgressWhen, true) => {
                    return Verdict::InProgress(format!("{named}: not ready: inProgressWhen holds: {source}"));
                }
                (Field::FailedWhen, true) => {
                    return Verdict::Failed(format!("{named}: failed: failedWhen holds: {source}{}", said(object)));
                }
                (Field::ReadyWhen, false) => {
                    let said = said(object);
                    return Verdict::InProgress(format!("{named}: not ready: readyWhen doesn't hold: {source}{said}"));
                }
                (Field::OnlyIf | Field::InProgressWhen | Field::FailedWhen, _) | (Field::ReadyWhen, true) => {}
            }
        }
        Verdict::Ready
    }
}

pub(crate) const fn writes(addon: &instar_api::Addon) -> Writes {
    match addon.write {
        Some(_) => Writes::Something,
        None => Writes::Nothing,
    }
}

/// The object as messages name it. Elements of a list have no kind of their own.
pub(crate) fn object_ref(kind: &str, object: &Value) -> String {
    let metadata = &object["metadata"];
    // What a workload cluster says is no name before it is looked at.
    let plain = |text: &str| -> String {
        text.chars()
            .filter(|one| !one.is_control())
            .take(LONGEST_NAME)
            .collect()
    };
    let name = metadata["name"]
        .as_str()
        .map_or_else(|| "without a name".to_owned(), plain);
    match metadata["namespace"].as_str().map(plain) {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// Why the status isn't of the object's latest edit.
fn behind(rule: GenerationRule, object: &Value) -> Option<String> {
    let generation = &object["metadata"]["generation"];
    let of_condition = |condition: &Value| {
        let kind = condition["type"].as_str().unwrap_or_default();
        let observed = &condition["observedGeneration"];
        if observed.is_null() {
            return Some(format!(
                "its condition {kind} has no observedGeneration (generation: Conditions)"
            ));
        }
        (observed != generation)
            .then(|| format!("its condition {kind} is of generation {observed}, and the object is at {generation}"))
    };
    let rule = match rule {
        GenerationRule::Ignore => return None,
        GenerationRule::Status | GenerationRule::Conditions if generation.is_null() => {
            return Some("metadata.generation is absent: a kind without it needs generation: Ignore".to_owned());
        }
        other => other,
    };
    match rule {
        GenerationRule::Ignore => None,
        GenerationRule::Status => {
            let observed = &object["status"]["observedGeneration"];
            if observed.is_null() {
                return Some("status.observedGeneration is absent (generation: Status)".to_owned());
            }
            (observed != generation)
                .then(|| format!("its status is of generation {observed}, and the object is at {generation}"))
        }
        GenerationRule::Conditions => {
            let conditions = object["status"]["conditions"].as_array().filter(|all| !all.is_empty());
            let Some(conditions) = conditions else {
                return Some("status.conditions is absent (generation: Conditions)".to_owned());
            };
            conditions.iter().find_map(of_condition)
        }
    }
}

/// What the object itself says: a condition that doesn't hold, or a phase.
pub(crate) fn said(object: &Value) -> String {
    let status = &object["status"];
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let told = conditions
        .filter(|condition| condition["status"] != "True")
        .find_map(|condition| {
            let text = condition["message"].as_str().filter(|text| !text.is_empty())?;
            Some(format!(
                "{} is {}: {text}",
                condition["type"].as_str()?,
                condition["status"].as_str()?
            ))
        });
    let phase = || Some(format!("status.phase is {}", status["phase"].as_str()?));
    told.or_else(phase).map_or_else(String::new, |text| {
        let text: String = text.chars().take(LONGEST_TEXT).collect();
        let line: String = text
            .chars()
            .map(|one| if one.is_control() { ' ' } else { one })
            .collect();
        format!(" ({line})")
    })
}

#[cfg(test)]
mod tests;
