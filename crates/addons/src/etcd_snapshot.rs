//! What objects say of snapshots of etcd: which is the newest that can be restored.

mod refusal;

use std::collections::BTreeSet;

use instar_api::{ClusterSide, EtcdSnapshotParameters, EtcdSnapshotStatus, Observe};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    expression::{Evaluation, Expression, Inputs, TimeEvaluation, Variable},
    subject::Subject,
    verdict::{MOST_OBJECTS, MOST_STEPS_OF_ALL, object_ref, said},
};

pub use refusal::refusals_of_etcd_snapshot;

/// How far another clock may go ahead of ours.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// What a policy asks of snapshots, with its expressions compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotQuery {
    parameters: EtcdSnapshotParameters,
    objects: Observe,
    ready_when: Expression,
    timestamp: Expression,
}

/// What a look at the objects came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotsSeen {
    /// The newest that can be restored.
    pub newest: Option<EtcdSnapshotStatus>,
    /// Why the first of the others doesn't count.
    pub not_ready: Option<String>,
    /// Of the first of which it can't be said, why.
    pub unknown: Option<String>,
}

/// A look, and of what.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotReading {
    pub of: SnapshotQuery,
    /// When.
    pub at: Timestamp,
    /// Or why there was none.
    pub found: Result<SnapshotsSeen, String>,
}

/// What one object reports.
enum Report {
    /// A snapshot of this time.
    Made(Timestamp),
    NotReady(String),
    Unknown(String),
}

impl SnapshotQuery {
    /// Reads what a policy of this namespace asks for; an error says what is wrong with it. Admission refuses that, so it
    /// was written while admission was off.
    pub fn read(parameters: &EtcdSnapshotParameters, namespace: &str) -> Result<Self, String> {
        if let Some(refusal) = refusals_of_etcd_snapshot(parameters, namespace).first() {
            return Err(format!("{}: {}", refusal.what, refusal.remediation));
        }
        let compile = |source| Expression::compile(source, &variables()).map_err(|error| error.to_string());
        Ok(Self {
            parameters: parameters.clone(),
            objects: parameters.observe.objects(),
            ready_when: compile(&parameters.ready_when)?,
            timestamp: compile(&parameters.timestamp_expression)?,
        })
    }

    /// What was read.
    #[must_use]
    pub const fn parameters(&self) -> &EtcdSnapshotParameters {
        &self.parameters
    }

    /// The objects to look at.
    #[must_use]
    pub const fn objects(&self) -> &Observe {
        &self.objects
    }

    /// Where they are.
    #[must_use]
    pub const fn side(&self) -> ClusterSide {
        self.objects.cluster
    }

    /// What the objects say together. `cluster` is the Cluster as JSON.
    ///
    /// # Errors
    /// Why they are not looked at.
    pub fn judge(&self, objects: &[Value], cluster: &Value, now: Timestamp) -> Result<SnapshotsSeen, String> {
        let (kind, count) = (&self.objects.kind, objects.len());
        if count > MOST_OBJECTS {
            return Err(format!(
                "{count} objects of kind {kind} are observed, and at most {MOST_OBJECTS} are allowed: narrow the labelSelector"
            ));
        }
        let subject = Subject::of_cluster(cluster, now);
        let (mut seen, mut spent) = (SnapshotsSeen::default(), 0);
        for object in objects {
            match self.report(object, &subject, &mut spent) {
                Report::Made(time) if seen.newest.as_ref().is_none_or(|newest| newest.time < time) => {
                    seen.newest = Some(self.snapshot(object, time));
                }
                Report::Made(_) => {}
                Report::NotReady(why) => {
                    seen.not_ready.get_or_insert(why);
                }
                Report::Unknown(why) => {
                    seen.unknown.get_or_insert(why);
                }
            }
            if spent > MOST_STEPS_OF_ALL {
                return Err(format!(
                    "{count} objects of kind {kind} may take {spent} steps and more, and at most {MOST_STEPS_OF_ALL} are \
                     allowed: narrow the labelSelector, or nest less"
                ));
            }
        }
        Ok(seen)
    }

    fn report(&self, object: &Value, subject: &Subject, spent: &mut u64) -> Report {
        let named = object_ref(&self.objects.kind, object);
        if !object["metadata"]["deletionTimestamp"].is_null() {
            return Report::NotReady(format!("{named} is being deleted"));
        }
        let mut price = |expression: &Expression| {
            let values = subject.with(object, expression.variables());
            let steps = expression.steps(&values);
            *spent = spent.saturating_add(steps);
            (values, steps)
        };
        let (values, steps) = price(&self.ready_when);
        let now = subject.now;
        let inputs = Inputs { values: &values, now };
        match self.ready_when.evaluate_at(steps, inputs) {
            Evaluation::Is(true) => {}
            Evaluation::Is(false) => {
                let source = self.ready_when.source();
                return Report::NotReady(format!("{named}: readyWhen doesn't hold: {source}{}", said(object)));
            }
            Evaluation::Absent(path) => return Report::NotReady(format!("{named}: {path} is absent (readyWhen)")),
            Evaluation::Unknown(why) => {
                return Report::Unknown(format!("{named}: readyWhen can't be evaluated: {why}"));
            }
        }
        let (values, steps) = price(&self.timestamp);
        let inputs = Inputs { values: &values, now };
        match self.timestamp.time_at(steps, inputs) {
            // One clock that is wrong must not hide what others have saved.
            TimeEvaluation::At(time) if time.duration_since(now) > AHEAD => Report::Unknown(format!(
                "{named} says {time}, which is still to come: timestampExpression has to give the time when it was made"
            )),
            TimeEvaluation::At(time) => Report::Made(time),
            TimeEvaluation::Absent(path) => Report::Unknown(format!("{named}: {path} is absent (timestampExpression)")),
            TimeEvaluation::Unknown(why) => {
                Report::Unknown(format!("{named}: timestampExpression gives no time: {why}"))
            }
        }
    }

    fn snapshot(&self, object: &Value, time: Timestamp) -> EtcdSnapshotStatus {
        let text = |member: &str| object["metadata"][member].as_str().map(str::to_owned);
        EtcdSnapshotStatus {
            cluster: self.side(),
            kind: self.objects.kind.clone(),
            namespace: text("namespace"),
            name: text("name").unwrap_or_default(),
            time,
        }
    }
}

/// What its expressions may use: an upgrade that doesn't begin has no release yet, and nothing is written.
fn variables() -> BTreeSet<Variable> {
    let known = Variable::ALL.into_iter().filter(|variable| match variable {
        Variable::Object
        | Variable::Metadata
        | Variable::Spec
        | Variable::Status
        | Variable::Cluster
        | Variable::Now => true,
        Variable::Release | Variable::Written => false,
    });
    known.collect()
}

#[cfg(test)]
mod tests;
