//! Cluster API's Runtime Hooks, asked as they are behind the server.

use std::sync::LazyLock;

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::{Request, StatusCode},
};
use instar_webhooks::{HookRoute, hook_router};
use serde_json::Value;
use tokio::runtime::Runtime;
use tower::ServiceExt;

/// What stands in a condition.
const LONGEST_MESSAGE: usize = 1024;

static SERVER: LazyLock<(Router, Runtime)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    (hook_router(), runtime.expect("a runtime"))
});

/// Every answer has a status that Cluster API knows, and a message that fits into a condition; what can't be read is a
/// failure that says why.
///
/// The input is a hook's path on a line of its own, and a body.
pub fn runtime_hook(input: &[u8]) {
    let Some(at) = input.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let (line, body) = input.split_at(at);
    let Some(route) = HookRoute::all().find(|route| route.path().as_bytes() == line) else {
        return;
    };
    let body = Bytes::copy_from_slice(body.get(1..).unwrap_or_default());
    let (router, runtime) = &*SERVER;
    let (status, answer) = runtime.block_on(send(router.clone(), &route.path(), body));
    assert_eq!(status, StatusCode::OK, "{answer}");
    let message = answer["message"].as_str().expect("a message");
    assert!(message.chars().count() <= LONGEST_MESSAGE, "{}", message.len());
    let held = answer["retryAfterSeconds"].as_u64().unwrap_or_default() > 0;
    match answer["status"].as_str() {
        Some("Success") => assert!(held || message.is_empty(), "{answer}"),
        Some("Failure") => assert!(!held && !message.is_empty(), "{answer}"),
        _ => panic!("{answer}"),
    }
}

async fn send(router: Router, path: &str, body: Bytes) -> (StatusCode, Value) {
    let request = Request::post(path).body(Body::from(body)).expect("a request");
    let response = match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX)
        .await
        .expect("a body in memory");
    (status, serde_json::from_slice(&body).expect("an answer"))
}
