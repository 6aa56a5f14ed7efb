//! The router, asked as an API server asks.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use instar_serve::Metrics;
use instar_testkit::World;
use instar_webhooks::{AdmissionMetrics, AuditSink, OverriddenRule, Route, router};
use serde_json::{Value, json};
use tower::ServiceExt;

/// What was told of rules that were switched off.
#[derive(Default)]
pub(crate) struct Rung(Mutex<Vec<OverriddenRule>>);

impl AuditSink for Rung {
    fn record(&self, broken: OverriddenRule) {
        self.0.lock().unwrap().push(broken);
    }
}

impl Rung {
    pub(crate) fn take(&self) -> Vec<OverriddenRule> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// The router over what is known.
pub(crate) struct App {
    router: Router,
    pub(crate) metrics: Metrics,
    pub(crate) rung: Arc<Rung>,
}

impl App {
    pub(crate) fn new(world: &World) -> Self {
        let state = world.caches().unwrap();
        let (metrics, rung) = (Metrics::default(), Arc::<Rung>::default());
        Self {
            router: router(&state, &rung, &AdmissionMetrics::register(&metrics)),
            metrics,
            rung,
        }
    }

    pub(crate) async fn post(&self, route: Route, body: String) -> (StatusCode, Value) {
        self.post_to(route.path(), body).await
    }

    pub(crate) async fn post_to(&self, path: &str, body: String) -> (StatusCode, Value) {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .body(Body::from(body))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let value = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
        (status, value)
    }

    pub(crate) async fn review(&self, route: Route, request: Value) -> Value {
        let mut request = request;
        request["uid"] = json!("the-uid");
        let body = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
        let (status, answer) = self.post(route, body.to_string()).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(answer["response"]["uid"], "the-uid");
        assert_eq!(
            (&answer["apiVersion"], &answer["kind"]),
            (&json!("admission.k8s.io/v1"), &json!("AdmissionReview"))
        );
        answer["response"].clone()
    }
}

pub(crate) fn patched(object: &Value, response: &Value) -> Value {
    assert_eq!(response["patchType"], "JSONPatch");
    let text: k8s_openapi::ByteString = serde_json::from_value(response["patch"].clone()).unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&text.0).unwrap();
    let mut object = object.clone();
    json_patch::patch(&mut object, &patch).unwrap();
    object
}
