//! The real router, asked with AdmissionReviews as an API server sends them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use instar_capi::{ClusterClass, KubeadmControlPlane};
use instar_catalog::Catalog;
use instar_serve::Metrics;
use instar_webhooks::{AdmissionMetrics, Observed, Route, router};
use jiff::civil::Date;
use serde_json::{Value, json};
use tower::ServiceExt;

/// A fixed world: one row, one class, wired for it.
struct Fixed {
    catalog: Arc<Catalog>,
    class: Arc<ClusterClass>,
}

impl Observed for Fixed {
    fn catalog(&self) -> Arc<Catalog> {
        self.catalog.clone()
    }

    fn class(&self, namespace: &str, name: &str) -> Option<Arc<ClusterClass>> {
        ((namespace, name) == ("ns", "class")).then(|| self.class.clone())
    }

    fn control_plane(&self, _: &str, _: &str) -> Option<Arc<KubeadmControlPlane>> {
        None
    }

    fn pinned_to(&self, release: &str) -> Vec<String> {
        if release == "used" {
            vec!["ns/c".to_owned()]
        } else {
            Vec::new()
        }
    }

    fn today(&self) -> Date {
        jiff::civil::date(2026, 11, 20)
    }
}

fn app() -> (Router, Metrics) {
    let row = json!({"version": "v1.34.3", "machineImages": [{"kind": "DevMachineTemplate", "values": [{"pointer": "/spec/template/spec/image", "value": "a"}]}]});
    let row = serde_json::from_value(row).unwrap();
    let catalog = Catalog::new([("r34", &row)]);
    let reference =
        json!({"apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2", "kind": "DevMachineTemplate", "name": "t"});
    let class = json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "ClusterClass", "metadata": {"namespace": "ns", "name": "class"},
        "spec": {"controlPlane": {"machineInfrastructure": {"templateRef": reference}}},
    });
    let template = json!({"spec": {"template": {"spec": {}}}});
    let templates = [(serde_json::from_value(reference).unwrap(), template)].into();
    let wired = instar_wiring::wire(&class, &templates, &catalog).unwrap();
    let fixed = Fixed {
        catalog: Arc::new(catalog),
        class: Arc::new(serde_json::from_value(wired.class).unwrap()),
    };
    let metrics = Metrics::default();
    (router(&Arc::new(fixed), &AdmissionMetrics::register(&metrics)), metrics)
}

async fn post(app: &Router, route: Route, body: String) -> (StatusCode, Value) {
    let request = Request::post(route.path())
        .header("content-type", "application/json")
        .body(Body::from(body))
        .unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let value =
        serde_json::from_slice(&body).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
    (status, value)
}

async fn review(app: &Router, route: Route, request: Value) -> Value {
    let mut request = request;
    request["uid"] = json!("the-uid");
    let body = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
    let (status, answer) = post(app, route, body.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["response"]["uid"], "the-uid");
    assert_eq!(
        (&answer["apiVersion"], &answer["kind"]),
        (&json!("admission.k8s.io/v1"), &json!("AdmissionReview"))
    );
    answer["response"].clone()
}

fn cluster(version: &str) -> Value {
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "metadata": {"namespace": "ns", "name": "c"},
        "spec": {"topology": {"classRef": {"name": "class"}, "version": version}},
    })
}

fn patched(object: &Value, response: &Value) -> Value {
    assert_eq!(response["patchType"], "JSONPatch");
    let text: k8s_openapi::ByteString = serde_json::from_value(response["patch"].clone()).unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&text.0).unwrap();
    let mut object = object.clone();
    json_patch::patch(&mut object, &patch).unwrap();
    object
}

#[tokio::test]
async fn a_cluster_gets_its_version_and_pins() {
    let (app, metrics) = app();
    let response = review(
        &app,
        Route::MutateCluster,
        json!({"operation": "CREATE", "object": cluster("v1.34")}),
    )
    .await;
    assert_eq!(response["allowed"], true);
    assert_eq!(response["warnings"], json!(["v1.34 means v1.34.3, release r34"]));
    let written = patched(&cluster("v1.34"), &response);
    assert_eq!(written["spec"]["topology"]["version"], "v1.34.3");
    let pins = written["metadata"]["annotations"]["upgrade.cluster.x-k8s.io/releases"]
        .as_str()
        .unwrap();
    assert!(
        pins.contains(r#""controlPlane":{"/spec/template/spec/image":"a"}"#),
        "{pins}"
    );
    // What was written passes the validating half, and what was not doesn't.
    let response = review(
        &app,
        Route::ValidateCluster,
        json!({"operation": "CREATE", "object": written}),
    )
    .await;
    assert_eq!(response["allowed"], true, "{response}");
    let response = review(
        &app,
        Route::ValidateCluster,
        json!({"operation": "CREATE", "object": cluster("v1.34.3")}),
    )
    .await;
    assert_eq!(
        (&response["allowed"], &response["status"]["code"]),
        (&json!(false), &json!(422))
    );
    assert_eq!(
        response["status"]["message"],
        "Cluster ns/c: spec.topology: another mutating webhook has changed the version or the pins after Instar wrote them; let that webhook run before instar-mutating-webhook-configuration, or leave these fields alone [rule pins-by-hand]"
    );
    let text = metrics.encode().unwrap();
    assert!(
        text.contains(r#"instar_admission_requests_total{route="/mutate/cluster",verdict="Changed"} 1"#),
        "{text}"
    );
    assert!(
        text.contains(r#"instar_admission_denials_total{rule="pins-by-hand"} 1"#),
        "{text}"
    );
}

#[tokio::test]
async fn annotations_that_are_there_stay() {
    let (app, _) = app();
    let mut object = cluster("v1.34.3");
    object["metadata"]["annotations"] = json!({"a": "b"});
    let response = review(
        &app,
        Route::MutateCluster,
        json!({"operation": "CREATE", "object": object}),
    )
    .await;
    assert_eq!(patched(&object, &response)["metadata"]["annotations"]["a"], "b");
}

#[tokio::test]
async fn a_refusal_has_code_reason_and_message() {
    let (app, _) = app();
    let response = review(
        &app,
        Route::MutateCluster,
        json!({"operation": "CREATE", "object": cluster("v1.40.0")}),
    )
    .await;
    assert_eq!(response["allowed"], false);
    assert_eq!(
        (&response["status"]["code"], &response["status"]["reason"]),
        (&json!(422), &json!("Invalid"))
    );
    assert!(
        response["status"]["message"]
            .as_str()
            .unwrap()
            .starts_with("Cluster ns/c: spec.topology.version: \"v1.40.0\" is not in the catalog; it has v1.34.3;")
    );
    assert!(response.get("patch").is_none());
}

#[tokio::test]
async fn a_template_is_immutable_but_for_the_topology_controller() {
    let (app, _) = app();
    let template = |image: &str| json!({"kind": "T", "metadata": {"namespace": "ns", "name": "t", "annotations": {"topology.cluster.x-k8s.io/dry-run": ""}}, "spec": {"template": {"spec": {"image": image}}}});
    for (dry_run, allowed) in [(json!(true), true), (json!(false), false), (Value::Null, false)] {
        let request =
            json!({"operation": "UPDATE", "dryRun": dry_run, "object": template("b"), "oldObject": template("a")});
        let response = review(&app, Route::ValidateMachineTemplate, request).await;
        assert_eq!(response["allowed"], allowed, "{dry_run}");
    }
}

#[tokio::test]
async fn a_release_in_use_is_not_deleted() {
    let (app, _) = app();
    for (name, allowed) in [("used", false), ("unused", true)] {
        let request = json!({"operation": "DELETE", "name": name, "oldObject": {}});
        let response = review(&app, Route::ValidateKubernetesRelease, request).await;
        assert_eq!(response["allowed"], allowed, "{name}");
        if !allowed {
            assert_eq!(
                (&response["status"]["code"], &response["status"]["reason"]),
                (&json!(403), &json!("Forbidden"))
            );
        }
    }
    let bad = json!({"spec": {"version": "v1.34.3", "upgradesFrom": "=>1"}});
    let response = review(
        &app,
        Route::ValidateKubernetesRelease,
        json!({"operation": "CREATE", "name": "bad", "object": bad}),
    )
    .await;
    assert!(
        response["status"]["message"]
            .as_str()
            .unwrap()
            .starts_with("KubernetesRelease bad: spec: upgradesFrom: \"=>1\": ")
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_what_is_wrong() {
    let (app, _) = app();
    for body in [
        "",
        "{",
        "[]",
        r#"{"request":{}}"#,
        r#"{"request":{"uid":"u","operation":"UPGRADE"}}"#,
    ] {
        let (status, answer) = post(&app, Route::MutateCluster, body.to_owned()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(
            answer
                .as_str()
                .unwrap()
                .starts_with("the body is no AdmissionReview with a request: "),
            "{answer}"
        );
    }
    for route in Route::ALL {
        let response = review(
            &app,
            route,
            json!({"operation": "CREATE", "object": "text", "oldObject": "text"}),
        )
        .await;
        if route != Route::ValidateMachineTemplate {
            assert_eq!(
                (&response["allowed"], &response["status"]["code"]),
                (&json!(false), &json!(400)),
                "{route:?}"
            );
        }
    }
}
