//! The admission server's routes, asked as they are behind the server.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::{Request, StatusCode},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use instar_domain::json::Object;
use instar_serve::Metrics;
use instar_webhooks::{AdmissionMetrics, AuditSink, OverriddenRule, Route, router};
use json_patch::Patch;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower::ServiceExt;

use crate::world::caches;

/// What kubectl shows of a warning on a line.
const LONGEST_WARNING: usize = 120;

static SERVER: LazyLock<Server> = LazyLock::new(|| Server {
    router: router(
        &caches(),
        &Arc::new(Deaf),
        &AdmissionMetrics::register(&Metrics::default()),
    ),
    runtime: tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime"),
});

struct Server {
    router: Router,
    runtime: Runtime,
}

/// All that an answer has to be about.
#[derive(Deserialize)]
struct Asked {
    request: Object<Uid>,
}

#[derive(Deserialize)]
struct Uid {
    uid: String,
}

struct Deaf;

impl AuditSink for Deaf {
    fn record(&self, _: OverriddenRule) {}
}

/// Every answer is a well-formed review with the uid of the request, or a 400; and of what the
/// mutating half has written it finds nothing left to write.
///
/// The input is a route's path on a line of its own, and a body.
pub fn admission_review(input: &[u8]) {
    let Some((route, body)) = split(input) else { return };
    let Some(answer) = asked(route, body) else { return };
    if !matches!(
        route,
        Route::MutateCluster | Route::MutateRestoredCluster | Route::MutateClusterUpgrade
    ) {
        assert!(answer.get("patch").is_none(), "{answer}");
        return;
    }
    let Some(patch) = patch_of(&answer) else { return };
    // What no rule reads is skipped, even where it is no JSON.
    let Ok(mut review) = serde_json::from_slice::<Value>(body) else {
        return;
    };
    let object = review.pointer_mut("/request/object").expect("what is changed is there");
    json_patch::patch(object, &patch).unwrap_or_else(|error| panic!("{answer} can't be applied to {object}: {error}"));
    let again = asked(route, review.to_string().as_bytes()).expect("what was read once is read again");
    assert_eq!(again["allowed"], json!(true), "what was written is refused: {again}");
    assert!(again.get("patch").is_none(), "{again} after {answer}");
}

/// The rules that an answer names, each by its id; nothing where there is no answer but a 400.
#[must_use]
pub fn rules_named(input: &[u8]) -> Option<BTreeSet<String>> {
    let (route, body) = split(input)?;
    let answer = asked(route, body)?;
    let lists = answer["auditAnnotations"].as_object().into_iter().flatten();
    let ids = lists.filter_map(|(_, ids)| ids.as_str());
    Some(ids.flat_map(|ids| ids.split(',')).map(str::to_owned).collect())
}

/// The route that the first line names, and the body.
fn split(input: &[u8]) -> Option<(Route, &[u8])> {
    let at = input.iter().position(|byte| *byte == b'\n')?;
    let (line, body) = input.split_at(at);
    let route = Route::all().find(|route| route.path().as_bytes() == line)?;
    Some((route, body.get(1..)?))
}

/// The response, or nothing for a 400.
fn asked(route: Route, body: &[u8]) -> Option<Value> {
    let (status, answer) = SERVER.runtime.block_on(send(route, Bytes::copy_from_slice(body)));
    let text = String::from_utf8_lossy(&answer);
    if status == StatusCode::BAD_REQUEST {
        assert!(!text.is_empty(), "a 400 says why");
        return None;
    }
    assert_eq!(status, StatusCode::OK, "{text}");
    let mut review: Value = serde_json::from_slice(&answer).unwrap_or_else(|error| panic!("{text}: {error}"));
    let head = (&review["apiVersion"], &review["kind"]);
    assert_eq!(head, (&json!("admission.k8s.io/v1"), &json!("AdmissionReview")));
    let Object(asked): Object<Asked> =
        serde_json::from_slice(body).unwrap_or_else(|error| panic!("{text} to no uid: {error}"));
    let response = review["response"].take();
    assert_eq!(response["uid"], asked.request.0.uid, "the uid of the request");
    well_formed(&response);
    Some(response)
}

async fn send(route: Route, body: Bytes) -> (StatusCode, Bytes) {
    let request = Request::post(route.path())
        .header("content-type", "application/json")
        .body(Body::from(body))
        .expect("a request");
    let response = match SERVER.router.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let status = response.status();
    (
        status,
        to_bytes(response.into_body(), usize::MAX)
            .await
            .expect("a body in memory"),
    )
}

fn well_formed(response: &Value) {
    let allowed = response["allowed"].as_bool().expect("allowed or not");
    let known = [
        "uid",
        "allowed",
        "status",
        "warnings",
        "auditAnnotations",
        "patch",
        "patchType",
    ];
    let members = response.as_object().expect("an object");
    assert!(members.keys().all(|key| known.contains(&key.as_str())), "{response}");
    assert_eq!(
        members.contains_key("patch"),
        members.contains_key("patchType"),
        "{response}"
    );
    if allowed {
        assert!(!members.contains_key("status"), "{response}");
    } else {
        assert!(!members.contains_key("patch"), "{response}");
        let status = &response["status"];
        let reason = match status["code"].as_u64() {
            Some(400) => "BadRequest",
            Some(403) => "Forbidden",
            Some(422) => "Invalid",
            _ => panic!("an unknown code: {response}"),
        };
        assert_eq!(status["reason"], reason, "{response}");
        let message = status["message"].as_str().expect("a message");
        assert!(reason == "BadRequest" || message.contains("[rule "), "{response}");
    }
    for warning in response["warnings"].as_array().into_iter().flatten() {
        let length = warning.as_str().expect("a text").chars().count();
        assert!((1..=LONGEST_WARNING).contains(&length), "{response}");
    }
    for (_, value) in response["auditAnnotations"].as_object().into_iter().flatten() {
        assert!(value.is_string(), "{response}");
    }
}

fn patch_of(response: &Value) -> Option<Patch> {
    let text = response.get("patch")?.as_str().expect("a text");
    assert_eq!(response["patchType"], "JSONPatch");
    let bytes = BASE64_STANDARD.decode(text).expect("base64");
    Some(serde_json::from_slice(&bytes).expect("a JSON Patch"))
}
