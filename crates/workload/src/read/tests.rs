mod api_requests;

use axum::{
    Json,
    body::Bytes,
    extract::Path,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use instar_preflight::workload::Backend;
use serde_json::{Value, json};

use super::*;
use crate::server::Server;

fn now() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

fn list(items: &Value) -> Json<Value> {
    Json(json!({ "metadata": {}, "items": items }))
}

async fn slices(uri: Uri) -> Json<Value> {
    let ready = |ready: Value| json!({ "endpoints": [{ "conditions": { "ready": ready } }] });
    match uri.query().unwrap_or_default() {
        query if query.contains("labelSelector=kubernetes.io%2Fservice-name%3Dalive") => {
            list(&json!([ready(json!(false)), ready(Value::Null)]))
        }
        query if query.contains("labelSelector=kubernetes.io%2Fservice-name%3Ddead") => {
            list(&json!([ready(json!(false)), { "endpoints": null }]))
        }
        query => panic!("{query}"),
    }
}

#[tokio::test]
async fn endpoints_are_read_of_the_services_that_an_upgrade_meets() {
    let webhook = |name: &str, service: &str| {
        json!({
            "name": name,
            "clientConfig": { "service": { "namespace": "n", "name": service } },
            "rules": [{ "apiGroups": [""], "resources": ["pods"], "operations": ["CREATE"] }],
        })
    };
    let webhooks = json!([{ "metadata": { "name": "w" }, "webhooks": [
        webhook("alive", "alive"), webhook("dead", "dead"), webhook("again", "dead"), webhook("odd", "../../secrets"),
    ] }]);
    let server = Server::start(|routes| {
        routes
            .route(
                "/api/v1/namespaces/kube-system",
                get(|| async { Json(json!({ "metadata": {} })) }),
            )
            .route(
                "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
                get(async move || list(&webhooks)),
            )
            .route(
                "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
                get(|| async { list(&json!([])) }),
            )
            .route("/apis/discovery.k8s.io/v1/namespaces/n/endpointslices", get(slices))
    });
    let Facts::Webhooks(found) = read(&server.client(), WorkloadProbe::Webhooks, now()).await.unwrap() else {
        panic!("of another probe");
    };
    let backends: Vec<String> = found
        .found
        .iter()
        .map(|effect| match &effect.backend {
            Backend::Ready(service) => format!("{} ready", service.name),
            Backend::Dead(service) => format!("{} dead", service.name),
            Backend::Unread(service) => format!("{} unread", service.name),
            Backend::Url => "url".to_owned(),
        })
        .collect();
    assert_eq!(
        backends,
        ["alive ready", "dead dead", "dead dead", "../../secrets unread"]
    );
    assert_eq!(server.asked().len(), 5);
}

/// No Pod is evicted, whatever the server says.
#[tokio::test]
async fn evictions_are_tried_of_the_pods_that_budgets_may_hold() {
    async fn evict(Path(pod): Path<String>, uri: Uri, body: Bytes) -> Response {
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(uri.query(), Some("dryRun=All"));
        assert_eq!(body["deleteOptions"]["dryRun"], json!(["All"]), "{body}");
        assert_eq!(body["metadata"], json!({ "namespace": "n", "name": pod }));
        let (code, message) = match pod.as_str() {
            "held" => (429, "Cannot evict pod as it would violate the pod's disruption budget."),
            "twice" => (
                500,
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ),
            "gone" => (404, "pods \"gone\" not found"),
            _ => (201, ""),
        };
        let status = json!({ "kind": "Status", "code": code, "message": message });
        (StatusCode::from_u16(code).unwrap(), Json(status)).into_response()
    }
    let budgets = json!([
        { "metadata": { "namespace": "n", "name": "b" }, "spec": { "selector": {} }, "status": { "expectedPods": 4 } },
        { "metadata": { "namespace": "open", "name": "o" }, "spec": { "selector": {} }, "status": { "disruptionsAllowed": 1, "expectedPods": 4 } },
    ]);
    let pods = ["held", "twice", "gone", "unready"];
    let pods = pods.map(|name| json!({ "metadata": { "name": name }, "spec": { "nodeName": "node" } }));
    let server = Server::start(|routes| {
        routes
            .route(
                "/apis/policy/v1/poddisruptionbudgets",
                get(async move || list(&budgets)),
            )
            .route("/api/v1/namespaces/n/pods", get(async move || list(&json!(pods))))
            .route("/api/v1/namespaces/n/pods/{pod}/eviction", post(evict))
    });
    let Facts::Budgets(found) = read(&server.client(), WorkloadProbe::Budgets, now()).await.unwrap() else {
        panic!("of another probe");
    };
    let held: Vec<&str> = found.held.iter().map(|candidate| candidate.pod.as_str()).collect();
    assert_eq!(held, ["held", "twice"]);
    let asked = server.asked();
    let pods = asked.iter().find(|(uri, _)| uri.contains("/pods?")).unwrap();
    assert!(
        pods.0
            .contains("fieldSelector=status.phase%3DRunning%2Cspec.nodeName%21%3D"),
        "{}",
        pods.0
    );
    assert!(
        asked.iter().all(|(uri, _)| !uri.contains("/namespaces/open/")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_server_that_evicts_nothing_says_so() {
    let budgets = json!([
        { "metadata": { "namespace": "n", "name": "b" }, "spec": { "selector": {} }, "status": { "expectedPods": 4 } },
    ]);
    let pods = json!([{ "metadata": { "name": "p" }, "spec": { "nodeName": "node" } }]);
    let server = Server::start(|routes| {
        routes
            .route(
                "/apis/policy/v1/poddisruptionbudgets",
                get(async move || list(&budgets)),
            )
            .route("/api/v1/namespaces/n/pods", get(async move || list(&pods)))
    });
    let error = read(&server.client(), WorkloadProbe::Budgets, now())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("POST /api/v1/namespaces/n/pods/p/eviction with HTTP 404"),
        "{error}"
    );
}

#[test]
fn a_name_is_a_part_of_a_path_and_no_path() {
    for name in ["a", "kube-dns", "db-0.x"] {
        assert!(name::is_name(name), "{name}");
    }
    for name in ["", ".", "..", "a/b", "a?b", "A", "a b", &"a".repeat(254)] {
        assert!(!name::is_name(name), "{name}");
    }
}

#[tokio::test]
async fn the_last_certificate_of_each_authority_counts() {
    let ending = |year: i32| {
        let mut parameters = rcgen::CertificateParams::new(vec!["ca".to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
        parameters
            .self_signed(&rcgen::KeyPair::generate().unwrap())
            .unwrap()
            .pem()
    };
    let data = json!({ "client-ca-file": format!("{}{}", ending(2030), ending(2028)), "other": "x" });
    let server =
        Server::start(|routes| routes.route(authorities::PUBLISHED, get(async move || Json(json!({ "data": data })))));
    let Facts::Authorities(found) = read(&server.client(), WorkloadProbe::Authorities, now()).await.unwrap() else {
        panic!("of another probe");
    };
    let ends: Vec<String> = found
        .ends
        .iter()
        .map(|(source, end)| format!("{source:?} {end}"))
        .collect();
    assert_eq!(
        ends,
        ["Kubeconfig 4096-01-01T00:00:00Z", "Clients 2030-01-01T00:00:00Z"]
    );
}
