//! What a policy may not ask of snapshots. Admission refuses it, and the controller asks again before it looks.

use instar_api::{ClusterSide, EtcdSnapshotParameters, Rule};
use jiff::SignedDuration;

use super::variables;
use crate::{
    expression::{Expression, ExpressionError, Inputs, TimeEvaluation},
    refusal::{CORRECT, Refusal, SECRETS, bare, foreign_namespace, is_secret, nobody, ready_without_status},
};

/// What is wrong with the parameters of a policy in this namespace.
#[must_use]
pub fn refusals_of_etcd_snapshot(parameters: &EtcdSnapshotParameters, namespace: &str) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let mut refuse = |rule, field: &str, what: String, remediation| {
        let what = format!("etcd-snapshot: {field}: {what}");
        refusals.push(Refusal {
            rule,
            what,
            remediation,
        });
    };
    let observe = &parameters.observe;
    if is_secret(&observe.api_version, &observe.kind) {
        let remediation = "observe what reports the state of it";
        refuse(Rule::GateReach, "observe.kind", SECRETS.to_owned(), remediation);
    }
    let foreign = observe.namespace.as_deref().filter(|other| *other != namespace);
    if let (ClusterSide::Management, Some(foreign)) = (observe.cluster, foreign) {
        let what = foreign_namespace(foreign, namespace);
        let remediation = "leave it out, and let what saves etcd report in the Cluster's namespace";
        refuse(Rule::GateReach, "observe.namespace", what, remediation);
    }
    if parameters.max_age <= SignedDuration::ZERO {
        let what = "no snapshot is young enough for 0s".to_owned();
        refuse(
            Rule::GateReadable,
            "maxAge",
            what,
            "set the age of a snapshot that you would restore, such as 24h",
        );
    }
    let compile = |source: &str| Expression::compile(source, &variables());
    let unreadable = |error: ExpressionError| error.to_string();
    match compile(&parameters.ready_when) {
        Err(error) => refuse(Rule::GateReadable, "readyWhen", unreadable(error), CORRECT),
        Ok(ready_when) => {
            if let Some((what, remediation)) = ready_without_status(&ready_when) {
                refuse(Rule::GateNeedsStatus, "readyWhen", what.to_owned(), remediation);
            }
        }
    }
    match compile(&parameters.timestamp_expression) {
        Err(error) => refuse(Rule::GateReadable, "timestampExpression", unreadable(error), CORRECT),
        Ok(timestamp) if is_without_status(&timestamp) => refuse(
            Rule::GateNeedsStatus,
            "timestampExpression",
            "it gives a time for an object without a status".to_owned(),
            "name the field that has the time of the snapshot",
        ),
        Ok(_) => {}
    }
    refusals
}

/// A time that no object gives, such as now, is always young enough.
fn is_without_status(timestamp: &Expression) -> bool {
    let subject = nobody();
    let values = subject.with(&bare(), timestamp.variables());
    let inputs = Inputs {
        values: &values,
        now: subject.now,
    };
    matches!(
        timestamp.time_at(timestamp.steps(&values), inputs),
        TimeEvaluation::At(_)
    )
}
