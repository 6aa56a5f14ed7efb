//! The table of expressions (`crates/addons/tests/expressions`) as an API server's own CEL evaluates it.
//!
//! A ValidatingAdmissionPolicy has two validations for each row. They are asked one row at a time, by the dry run of an
//! object that names the row: the first fails where the expression does, the second wherever the first doesn't.

#[path = "../../../crates/addons/tests/expressions/table.rs"]
mod table;

use std::{fmt, time::Duration};

use anyhow::ensure;
use futures::{StreamExt, TryStreamExt, stream};
use instar_e2e::{
    Context, Result,
    progress::say,
    support::{
        journeys::JourneyContext,
        request::{ApiRequest, ApiResponse, Verb, resource},
    },
    wait::wait_for,
};
use kube::discovery::ApiResource;
use serde_json::{Value, json};

use self::table::{Failure, Kubernetes, OF_OBJECT, Outcome, Row, Table};

/// The group of what is asked about, and the name of what asks.
const GROUP: &str = "expressions.example.org";

/// A row that isn't in the table. It says whether the policy is in force.
const SENTINEL: &str = "sentinel";

const IN_FORCE: Duration = Duration::from_secs(30);

const AT_ONCE: usize = 8;

/// What an API server came to.
enum Answer {
    Is(bool),
    Error(String),
    Refused(String),
}

pub(crate) async fn as_an_api_server_evaluates_them(scene: JourneyContext) -> Result<()> {
    let table = Table::read()?;
    create_definition(&scene).await?;
    let each: Vec<_> = table.expressions.iter().map(validations).collect();
    let alone: Vec<Value> = each.iter().map(|validations| policy(validations)).collect();
    let refusals: Vec<Option<String>> = stream::iter(alone)
        .map(|policy| refusal(&scene, policy))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let compiled = each.into_iter().zip(&refusals);
    let compiled = compiled.filter(|(_, refusal)| refusal.is_none());
    put_in_force(&scene, &table.object, compiled.flat_map(|(validations, _)| validations)).await?;

    let names: Vec<String> = table.expressions.iter().map(|row| row.name.clone()).collect();
    let answers: Vec<Answer> = stream::iter(names.into_iter().zip(refusals))
        .map(|(name, refusal)| answer(&scene, &table.object, name, refusal))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let wrong: Vec<String> = table
        .expressions
        .iter()
        .zip(&answers)
        .filter(|(row, answer)| !answer.is_as(row))
        .map(|(row, answer)| {
            let (expected, _) = row.kubernetes();
            let why = row.why.as_ref().and_then(|why| table.differences.get(why));
            let why = why.map_or("no difference", String::as_str);
            format!(
                "{}: {}\n  the API server: {answer}\n  the table:      {expected} ({why})\n  Instar:         {}",
                row.name, row.cel, row.instar
            )
        })
        .collect();
    ensure!(
        wrong.is_empty(),
        "{} of {} expressions are not as the table says:\n{}",
        wrong.len(),
        answers.len(),
        wrong.join("\n")
    );
    let differ = table.expressions.iter().filter(|row| row.kubernetes().1).count();
    say(format!(
        "expressions: {} as the table says, {differ} of them known differences",
        answers.len()
    ));
    Ok(())
}

impl Answer {
    fn is_as(&self, row: &Row) -> bool {
        match (self, row.kubernetes().0) {
            (Self::Is(is), Kubernetes::Is(expected)) => *is == expected,
            (Self::Error(error), Kubernetes::Fails(Failure::Error)) => match &row.instar {
                Outcome::Absent(path) => lacks(error, path),
                Outcome::Is(_) | Outcome::Unknown(_) | Outcome::Refused(_) => true,
            },
            (Self::Refused(_), Kubernetes::Fails(Failure::Refused)) => true,
            (Self::Is(_) | Self::Error(_) | Self::Refused(_), Kubernetes::Is(_) | Kubernetes::Fails(_)) => false,
        }
    }
}

/// Whether an error of an evaluation is about what Instar calls absent.
fn lacks(error: &str, path: &str) -> bool {
    error.strip_prefix("no such key: ").map_or_else(
        || error.starts_with("index out of bounds"),
        |key| path == key || path.ends_with(&format!(".{key}")) || path.ends_with(&format!("['{key}']")),
    )
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(is) => write!(f, "{is}"),
            Self::Error(why) => write!(f, "error: {why}"),
            Self::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}

fn subjects() -> ApiResource {
    resource(GROUP, "v1", "Subject", "subjects")
}

/// A kind whose field `subject` may be anything: of an object's own metadata an API server sets some itself.
async fn create_definition(scene: &JourneyContext) -> Result<()> {
    let open = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("subjects.{GROUP}") },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": { "kind": "Subject", "plural": "subjects" },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "properties": { "row": { "type": "string" }, "subject": open },
                } },
            }],
        },
    });
    scene.apply_object(definition).await?;
    Ok(())
}

/// An expression with the variables of the table, each the only element of a list that is gone through.
fn bound(cel: &str) -> String {
    OF_OBJECT.iter().rev().fold(cel.to_owned(), |inner, (name, path)| {
        format!("[object.subject{}].all({name}, {inner})", path.replace('/', "."))
    })
}

/// What is said of a row: `false` or an error by the first, and otherwise `true`.
fn validations(row: &Row) -> [Value; 2] {
    let others = format!("object.row != '{}'", row.name);
    [
        json!({ "expression": format!("{others} || {}", bound(&row.cel)), "message": "false" }),
        json!({ "expression": others, "message": "true" }),
    ]
}

fn policy(validations: &[Value]) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": GROUP },
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": { "resourceRules": [{
                "apiGroups": [GROUP], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["subjects"],
            }] },
            "validations": validations,
        },
    })
}

/// Why an API server doesn't compile an expression.
async fn refusal(scene: &JourneyContext, policy: Value) -> Result<Option<String>> {
    let kind = resource(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
    );
    let ask = ApiRequest {
        resource: &kind,
        namespace: None,
        name: GROUP,
        verb: Verb::Create(&policy),
        is_dry_run: true,
    };
    let response = ask.send(&scene.mgmt.client()).await?;
    if response.code == 201 {
        return Ok(None);
    }
    // By the compiler, or by the evaluation of what has only literals.
    let (_, why) = ["compilation failed: ", "program instantiation failed: "]
        .into_iter()
        .find_map(|refused| response.message.split_once(refused))
        .with_context(|| format!("a policy was refused for something else: {response:?}"))?;
    // The expression is repeated below the error.
    Ok(Some(why.lines().next().unwrap_or_default().to_owned()))
}

/// Creates the policy, and waits until the API server asks it.
async fn put_in_force(
    scene: &JourneyContext,
    object: &Value,
    validations: impl Iterator<Item = Value> + Send,
) -> Result<()> {
    let mut all: Vec<Value> = validations.collect();
    all.push(json!({ "expression": format!("object.row != '{SENTINEL}'"), "message": "true" }));
    scene.apply_object(policy(&all)).await?;
    scene
        .apply_object(json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": { "name": GROUP },
            "spec": {
                "policyName": GROUP,
                "validationActions": ["Deny"],
                "matchResources": {
                    "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": scene.namespace } },
                },
            },
        }))
        .await?;
    wait_for("the policy to be in force", IN_FORCE, || async {
        evaluate(scene, object, SENTINEL).await?;
        Ok(())
    })
    .await
}

async fn answer(scene: &JourneyContext, object: &Value, row: String, refusal: Option<String>) -> Result<Answer> {
    match refusal {
        Some(why) => Ok(Answer::Refused(why)),
        None => evaluate(scene, object, &row).await,
    }
}

/// What the policy says of a row.
async fn evaluate(scene: &JourneyContext, object: &Value, row: &str) -> Result<Answer> {
    let object = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "Subject",
        "metadata": { "name": row },
        "row": row,
        "subject": object,
    });
    let kind = subjects();
    let ask = ApiRequest {
        resource: &kind,
        namespace: Some(&scene.namespace),
        name: row,
        verb: Verb::Create(&object),
        is_dry_run: true,
    };
    let response = ask.send(&scene.mgmt.client()).await?;
    read(&response).with_context(|| format!("{row}: the policy said nothing of it: {response:?}"))
}

fn read(response: &ApiResponse) -> Option<Answer> {
    let (_, said) = response.message.split_once("denied request: ")?;
    match said {
        "true" => Some(Answer::Is(true)),
        "false" => Some(Answer::Is(false)),
        said => {
            let (_, why) = said.rsplit_once(" resulted in error: ")?;
            Some(Answer::Error(why.to_owned()))
        }
    }
}
