//! What the gates of a policy and the add-ons of a release may not ask for.
//!
//! Admission refuses it. The controller asks again before it observes or writes anything, since an object may have come
//! while the admission server was down.

use instar_api::{
    Addon, ClusterAnnotation, ClusterSide, Gate as Spec, GenerationRule, ObjectField, OnRollback, OnTimeout, Rule,
};
use instar_domain::JsonPointer;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    expression::{Evaluation, Expression, Inputs, Variable},
    order::order,
    subject::Subject,
    verdict::{Gate, Writes, writes},
};

/// What is wrong with a list of gates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The rule that it breaks.
    pub rule: Rule,
    /// The gate and the field, and what is wrong.
    pub what: String,
    /// What to do.
    pub remediation: &'static str,
}

/// What is wrong with the add-ons of a release.
#[must_use]
pub fn refusals_of_addons(addons: &[Addon]) -> Vec<Refusal> {
    let own = addons.iter().flat_map(|addon| {
        let mut refusals = of_gate(&addon.gate, writes(addon));
        refusals.extend(of_write(addon));
        refusals
    });
    let gates: Vec<&Spec> = addons.iter().map(|addon| &addon.gate).collect();
    own.chain(of_order(&gates)).collect()
}

/// What is wrong with the gates of a policy in this namespace.
#[must_use]
pub fn refusals_of_gates(gates: &[Spec], namespace: &str) -> Vec<Refusal> {
    let own = gates.iter().flat_map(|gate| {
        let mut refusals = of_gate(gate, Writes::Nothing);
        let foreign = gate.observe.namespace.as_deref().filter(|other| *other != namespace);
        if let (ClusterSide::Management, Some(foreign)) = (gate.observe.cluster, foreign) {
            refusals.push(refusal(
                Rule::GateReach,
                &gate.name,
                "observe.namespace",
                foreign_namespace(foreign, namespace),
                "leave it out, or let a KubernetesRelease observe it",
            ));
        }
        refusals
    });
    let listed: Vec<&Spec> = gates.iter().collect();
    own.chain(of_order(&listed)).collect()
}

fn refusal(
    rule: Rule,
    gate: &str,
    field: impl std::fmt::Display,
    what: impl std::fmt::Display,
    remediation: &'static str,
) -> Refusal {
    Refusal {
        rule,
        what: format!("{gate}: {field}: {what}"),
        remediation,
    }
}

pub(crate) const CORRECT: &str = "correct it";

pub(crate) const SECRETS: &str = "Secrets are never observed";

/// What is wrong with a policy that looks elsewhere.
pub(crate) fn foreign_namespace(foreign: &str, own: &str) -> String {
    format!("{foreign} is another namespace of the management cluster than the policy's own, {own}")
}

fn of_order(gates: &[&Spec]) -> Option<Refusal> {
    let error = order(gates).err()?;
    Some(Refusal {
        rule: Rule::GateReadable,
        what: error.to_string(),
        remediation: CORRECT,
    })
}

fn of_gate(spec: &Spec, writes: Writes) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let mut refuse = |rule, field: &'static str, what: String, remediation| {
        refusals.push(refusal(rule, &spec.name, field, what, remediation));
    };
    let observe = &spec.observe;
    if is_secret(&observe.api_version, &observe.kind) {
        let what = SECRETS.to_owned();
        refuse(
            Rule::GateReach,
            "observe.kind",
            what,
            "observe what reports the state of it",
        );
    }
    if observe.name.is_some() && observe.min_objects > 1 {
        let what = format!("{} objects can't have one name", observe.min_objects);
        refuse(
            Rule::GateReadable,
            "observe.minObjects",
            what,
            "leave it out, or set labelSelector",
        );
    }
    if spec.timeout.is_some_and(|timeout| timeout <= spec.settle) {
        let what = format!("it is not longer than settle, {:#}", spec.settle);
        refuse(Rule::GateReadable, "timeout", what, "set a longer one");
    }
    if spec.timeout.is_none() && spec.on_timeout == OnTimeout::Fail {
        let what = "Fail counts after timeout, which is absent".to_owned();
        refuse(Rule::GateReadable, "onTimeout", what, "set timeout");
    }
    if spec.generation == GenerationRule::Ignore && spec.settle <= SignedDuration::ZERO {
        let what = "0s with generation: Ignore lets an old status count as the new one".to_owned();
        refuse(
            Rule::GateNeedsStatus,
            "settle",
            what,
            "set the time that the operator needs to see an edit, such as 1m",
        );
    }
    match Gate::compile(spec, writes) {
        Err(wrong) => refuse_expression(&mut refusals, spec, &wrong.field, &wrong.error),
        Ok(gate) => {
            refusals.extend(of_only_if(&gate));
            refusals.extend(of_ready_when(&gate));
        }
    }
    refusals
}

fn refuse_expression(
    refusals: &mut Vec<Refusal>,
    spec: &Spec,
    field: &dyn std::fmt::Display,
    error: &dyn std::fmt::Display,
) {
    refusals.push(refusal(Rule::GateReadable, &spec.name, field, error, CORRECT));
}

/// A Cluster without labels and annotations has to have an answer: without one each such Cluster would be held.
fn of_only_if(gate: &Gate) -> Option<Refusal> {
    let what = match evaluate(gate.only_if()?, &object(&json!({}))) {
        Evaluation::Is(_) => return None,
        Evaluation::Absent(path) => format!("{path} is absent in a Cluster without labels and annotations"),
        Evaluation::Unknown(why) => format!("in a Cluster without labels and annotations, {why}"),
    };
    Some(refusal(
        Rule::GateReadable,
        gate.name(),
        "onlyIf",
        what,
        "ask first whether it is there, as in 'example.org/cni' in cluster.metadata.labels && ...",
    ))
}

/// What is ready without saying so.
fn of_ready_when(gate: &Gate) -> Option<Refusal> {
    let (what, remediation) = ready_without_status(gate.ready_when()?)?;
    Some(refusal(
        Rule::GateNeedsStatus,
        gate.name(),
        "readyWhen",
        what,
        remediation,
    ))
}

/// An object that was just created has no status, and of an empty list everything is true: where an expression holds, and
/// what to do.
pub(crate) fn ready_without_status(ready_when: &Expression) -> Option<(&'static str, &'static str)> {
    let bare = evaluate(ready_when, &object(&json!({})));
    if bare == Evaluation::Is(true) {
        return Some((
            "it holds for an object without a status",
            "name a field of status that only a ready object has",
        ));
    }
    let status = with_empty_lists(ready_when)?;
    (evaluate(ready_when, &object(&status)) == Evaluation::Is(true)).then_some((
        "it holds where the lists of status are empty",
        "ask for the elements too, as in size(status.pods) > 0 && status.pods.all(...), or for one with exists(...)",
    ))
}

/// An object that was just created.
pub(crate) fn bare() -> Value {
    object(&json!({}))
}

fn object(status: &Value) -> Value {
    json!({ "metadata": { "name": "name", "namespace": "namespace", "generation": 1 }, "spec": {}, "status": status })
}

/// A status in which each list that an expression goes through is there and empty.
fn with_empty_lists(expression: &Expression) -> Option<Value> {
    let mut paths = expression.iterated(Variable::Status);
    let of_self = expression.iterated(Variable::Object).into_iter();
    paths.extend(
        of_self
            .filter(|path| path.first().is_some_and(|first| first == "status"))
            .map(|mut path| path.split_off(1)),
    );
    if paths.is_empty() {
        return None;
    }
    // Shorter ones first, so that a list that others go through stays one.
    paths.sort_by_key(Vec::len);
    let mut status = json!({});
    for path in paths {
        let mut at = &mut status;
        for (depth, member) in path.iter().enumerate() {
            let Some(members) = at.as_object_mut() else { break };
            let is_last = depth + 1 == path.len();
            at = members
                .entry(member.clone())
                .or_insert_with(|| if is_last { json!([]) } else { json!({}) });
        }
    }
    Some(status)
}

fn evaluate(expression: &Expression, object: &Value) -> Evaluation {
    let subject = nobody();
    let values = subject.with(object, expression.variables());
    expression.evaluate(Inputs {
        values: &values,
        now: subject.now,
    })
}

/// A Cluster of which nothing is known but its name.
pub(crate) fn nobody() -> Subject {
    let cluster = json!({ "metadata": { "name": "name", "namespace": "namespace" }, "spec": {}, "status": {} });
    Subject::of_nobody(&cluster, Timestamp::UNIX_EPOCH)
}

fn of_write(addon: &Addon) -> Option<Refusal> {
    let write = addon.write.as_ref()?;
    let name = &addon.gate.name;
    let annotation = write
        .annotation
        .as_ref()
        .and_then(|annotation| of_annotation(name, annotation));
    let field = write.field.as_ref();
    annotation
        .or_else(|| field.and_then(|field| of_field(name, field)))
        .or_else(|| field.and_then(|field| of_restored(name, field, write.on_rollback)))
}

/// What goes back for one Cluster is its own: what was there before stands in its ClusterUpgrade, which its team may make
/// with any text.
fn of_restored(name: &str, field: &ObjectField, on_rollback: OnRollback) -> Option<Refusal> {
    match (on_rollback, field.cluster, &field.namespace) {
        (OnRollback::Restore, ClusterSide::Management, Some(namespace)) => Some(refusal(
            Rule::GateReach,
            name,
            "write.onRollback",
            format_args!(
                "Restore would set {} {namespace}/{} back for all Clusters that share it",
                field.kind, field.name
            ),
            "leave write.field.namespace out, so that it is the Cluster's own namespace, or set Keep",
        )),
        (OnRollback::Restore, ClusterSide::Management, None)
        | (OnRollback::Restore, ClusterSide::Workload, _)
        | (OnRollback::Keep, _, _) => None,
    }
}

/// An add-on sets what its own operator reads, and nothing by which Kubernetes, Cluster API or Instar are steered.
fn of_annotation(name: &str, annotation: &ClusterAnnotation) -> Option<Refusal> {
    let key = &annotation.key;
    let domain = key.split_once('/').map(|(domain, _)| domain);
    let Some(domain) = domain.filter(|domain| !domain.is_empty()) else {
        return Some(refusal(
            Rule::GateReadable,
            name,
            "write.annotation.key",
            format_args!("{key} has no domain"),
            "name an annotation such as example.org/version",
        ));
    };
    is_of_kubernetes(domain).then(|| {
        refusal(
            Rule::GateReach,
            name,
            "write.annotation.key",
            format_args!("{key} steers Kubernetes, Cluster API or Instar"),
            "name an annotation of the add-on's own operator",
        )
    })
}

fn of_field(name: &str, field: &ObjectField) -> Option<Refusal> {
    let refuse = |rule, at: &str, what: String, remediation| {
        Some(refusal(rule, name, format_args!("write.field.{at}"), what, remediation))
    };
    let ObjectField {
        cluster,
        api_version,
        kind,
        namespace: _,
        name: _,
        pointer,
        value: _,
        json,
    } = field;
    if is_secret(api_version, kind) {
        return refuse(
            Rule::GateReach,
            "kind",
            "nothing is written into Secrets".to_owned(),
            "write into the object that the operator reads",
        );
    }
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    if *cluster == ClusterSide::Management && (group == "cluster.x-k8s.io" || group.ends_with(".cluster.x-k8s.io")) {
        return refuse(
            Rule::GateReach,
            "apiVersion",
            format!("{kind} of {api_version} is Cluster API's or Instar's own, whose versions the upgrade itself sets"),
            "set an annotation of the Cluster instead (write.annotation)",
        );
    }
    if let Err(error) = pointer.parse::<JsonPointer>() {
        return refuse(Rule::GateReadable, "pointer", error.to_string(), CORRECT);
    }
    match serde_json::from_str::<Value>(json.as_deref()?) {
        Ok(Value::Null) => refuse(
            Rule::GateReadable,
            "json",
            "null would take the field away, and is never found there".to_owned(),
            "set a value",
        ),
        Ok(_) => None,
        Err(error) => refuse(Rule::GateReadable, "json", format!("it is not JSON ({error})"), CORRECT),
    }
}

pub(crate) fn is_secret(api_version: &str, kind: &str) -> bool {
    api_version == "v1" && kind == "Secret"
}

fn is_of_kubernetes(domain: &str) -> bool {
    ["kubernetes.io", "k8s.io", "x-k8s.io"]
        .into_iter()
        .any(|own| domain == own || domain.strip_suffix(own).is_some_and(|rest| rest.ends_with('.')))
}

#[cfg(test)]
mod tests;
