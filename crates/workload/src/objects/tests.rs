use std::sync::{Arc, Mutex};

use super::*;
use crate::server::{Asked, Server};
use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use instar_api::Addon;
use instar_planner::ValueBefore;
use serde_json::json;

fn observed(observe: &Value) -> Observe {
    let mut all = json!({ "cluster": "Workload", "apiVersion": "example.org/v1", "kind": "Search" });
    for (member, value) in observe.as_object().unwrap() {
        all[member] = value.clone();
    }
    serde_json::from_value(all).unwrap()
}

fn search(name: &str, text: &str) -> Value {
    json!({
        "metadata": { "name": name, "namespace": "a", "managedFields": [{ "manager": "kubectl" }] },
        "status": { "text": text },
    })
}

/// It serves the kind Search with two objects.
fn server() -> Server {
    async fn list(uri: Uri) -> Json<Value> {
        let long = uri.query().unwrap_or_default().contains("long%3Dyes");
        let text = if long { "x".repeat(1024 * 1024) } else { String::new() };
        let count = if long { 5 } else { 2 };
        let items: Vec<Value> = (0..count).map(|number| search(&format!("s{number}"), &text)).collect();
        Json(json!({ "items": items }))
    }
    async fn one(Path(name): Path<String>) -> Response {
        match name.as_str() {
            "s0" => Json(search("s0", "")).into_response(),
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }
    Server::start(|routes| {
        let resources = json!({ "resources": [
            { "name": "searches/status", "kind": "Search", "namespaced": true },
            { "name": "searches", "kind": "Search", "namespaced": true },
            { "name": "zones", "kind": "Zone", "namespaced": false },
        ] });
        routes
            .route("/apis/example.org/v1", get(async move || Json(resources)))
            .route("/apis/example.org/v1/searches", get(list))
            .route("/apis/example.org/v1/zones", get(list))
            .route("/apis/example.org/v1/namespaces/a/searches", get(list))
            .route("/apis/example.org/v1/namespaces/a/searches/{name}", get(one))
    })
}

fn names(seen: Seen) -> Vec<String> {
    let Seen::Objects(objects) = seen else {
        panic!("{seen:?}");
    };
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(
        objects
            .iter()
            .all(|object| object["metadata"].get("managedFields").is_none())
    );
    objects.iter().map(name).collect()
}

#[tokio::test]
async fn objects_are_found_by_name_or_labels_in_one_namespace_or_all() {
    let server = server();
    let client = server.client();
    let see =
        async |wanted: Value, namespace: Option<&str>| observe(&client, &observed(&wanted), namespace).await.unwrap();
    assert_eq!(
        names(see(json!({ "name": "s0", "namespace": "a" }), None).await),
        ["s0"]
    );
    assert_eq!(names(see(json!({ "name": "s0" }), Some("a")).await), ["s0"]);
    assert!(names(see(json!({ "name": "s7", "namespace": "a" }), None).await).is_empty());
    let selector = json!({ "labelSelector": { "matchLabels": { "app": "s" } } });
    assert_eq!(names(see(selector.clone(), Some("a")).await), ["s0", "s1"]);
    assert_eq!(
        names(see(json!({ "name": "s0" }), None).await),
        ["s0", "s1"],
        "the server selects"
    );
    let zones = json!({ "kind": "Zone", "labelSelector": { "matchLabels": { "app": "s" } } });
    assert_eq!(names(see(zones, Some("a")).await), ["s0", "s1"], "it has no namespaces");
    let asked: Vec<String> = server.asked().into_iter().map(|(path, _)| path).collect();
    let discovered = asked.iter().filter(|path| path.ends_with("/v1")).count();
    assert_eq!(discovered, 1, "it is asked once which resources there are");
    assert_eq!(
        asked.iter().filter(|path| !path.ends_with("/v1")).collect::<Vec<_>>(),
        [
            "/apis/example.org/v1/namespaces/a/searches/s0",
            "/apis/example.org/v1/namespaces/a/searches/s0",
            "/apis/example.org/v1/namespaces/a/searches/s7",
            "/apis/example.org/v1/namespaces/a/searches?&labelSelector=app%3Ds&limit=50",
            "/apis/example.org/v1/searches?&fieldSelector=metadata.name%3Ds0&limit=50",
            "/apis/example.org/v1/zones?&labelSelector=app%3Ds&limit=50",
        ]
    );
}

#[tokio::test]
async fn what_is_not_served_or_too_long_or_no_name_is_told() {
    let server = server();
    let client = server.client();
    let see = async |wanted: Value| observe(&client, &observed(&wanted), None).await.unwrap();
    assert_eq!(see(json!({ "kind": "Other", "name": "s0" })).await, Seen::NotServed);
    assert_eq!(
        see(json!({ "apiVersion": "none.org/v1", "name": "s0" })).await,
        Seen::NotServed
    );
    let long = json!({ "labelSelector": { "matchLabels": { "long": "yes" } } });
    assert_eq!(see(long).await, Seen::TooLong);
    let before = server.asked().len();
    for (member, text) in [
        ("name", "../../../../../api/v1/namespaces/a/secrets/s"),
        ("name", ".."),
        ("name", "a%2fb"),
        ("namespace", "a/secrets"),
        ("apiVersion", "v1?x"),
        ("apiVersion", "example.org/v1/namespaces"),
    ] {
        let mut wanted = json!({ "name": "s0" });
        wanted[member] = json!(text);
        let seen = see(wanted).await;
        assert!(matches!(seen, Seen::NoName(_)), "{text}: {seen:?}");
    }
    assert_eq!(server.asked().len(), before, "nothing else was asked for");
}

/// A kind with one object, of which each patch is kept, and how the server answers one.
#[derive(Clone, Default)]
struct Objects {
    patches: Arc<Mutex<Vec<(String, Value)>>>,
}

async fn set_with(
    applies: StatusCode,
    message: &'static str,
    value: &'static str,
) -> (Result<SetOutcome, String>, Vec<(String, Value)>) {
    set_to(applies, message, value, Some).await
}

/// Where the object has `v1`, and a patch makes it the value.
async fn set_to(
    applies: StatusCode,
    message: &'static str,
    value: &'static str,
    goes: fn(Target) -> Option<Target>,
) -> (Result<SetOutcome, String>, Vec<(String, Value)>) {
    let objects = Objects::default();
    let kept = objects.clone();
    let patch = async move |State(_): State<Asked>, headers: HeaderMap, Json(body): Json<Value>| {
        let content_type = headers[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        let is_apply = content_type.starts_with("application/apply");
        kept.patches.lock().unwrap().push((content_type, body));
        let status = json!({ "kind": "Status", "message": message, "code": applies.as_u16() });
        if is_apply && applies != StatusCode::OK {
            (applies, Json(status)).into_response()
        } else {
            let version = if value == "dropped" { "v1" } else { value };
            Json(json!({ "spec": { "version": version } })).into_response()
        }
    };
    let object = json!({ "metadata": { "name": "s", "resourceVersion": "7" }, "spec": { "version": "v1" } });
    let server = Server::start(|routes| {
        let resources = json!({ "resources": [{ "name": "searches", "kind": "Search", "namespaced": true }] });
        routes
            .route("/apis/example.org/v1", get(async move || Json(resources)))
            .route(
                "/apis/example.org/v1/namespaces/a/searches/s",
                get(async move || Json(object)).patch(async move |state, headers, body: axum::body::Bytes| {
                    let body: Value = serde_json::from_slice(&body).unwrap();
                    patch(state, headers, Json(body)).await
                }),
            )
    });
    let addon: Addon = serde_json::from_value(json!({
        "name": "s",
        "when": "AfterControlPlane",
        "observe": { "cluster": "Workload", "apiVersion": "example.org/v1", "kind": "Search", "name": "s" },
        "readyWhen": "status.ready",
        "write": { "field": {
            "cluster": "Workload", "apiVersion": "example.org/v1", "kind": "Search", "namespace": "a", "name": "s",
            "pointer": "/spec/version", "value": value,
        } },
    }))
    .unwrap();
    let target = Target::of(&addon, ("prod", "blue")).and_then(goes).unwrap();
    let outcome = set(&server.client(), &target).await.map_err(|error| error.to_string());
    let patches = objects.patches.lock().unwrap().clone();
    (outcome, patches)
}

#[tokio::test]
async fn a_field_is_set_once_and_never_taken_from_another_manager() {
    let (outcome, patches) = set_with(StatusCode::OK, "", "v1").await;
    assert_eq!((outcome, patches.len()), (Ok(SetOutcome::There), 0));
    let (outcome, patches) = set_with(StatusCode::OK, "", "v2").await;
    assert_eq!(outcome, Ok(SetOutcome::Written));
    let applied = json!({
        "apiVersion": "example.org/v1",
        "kind": "Search",
        "metadata": { "name": "s", "namespace": "a", "resourceVersion": "7" },
        "spec": { "version": "v2" },
    });
    assert_eq!(patches, [("application/apply-patch+yaml".to_owned(), applied)]);

    let conflict = "Apply failed with 1 conflict: conflict with \"flux\": .spec.version";
    let (outcome, patches) = set_with(StatusCode::CONFLICT, conflict, "v2").await;
    assert_eq!((outcome, patches.len()), (Err(conflict.to_owned()), 1));
    let modified = "Operation cannot be fulfilled: the object has been modified";
    let (outcome, _) = set_with(StatusCode::CONFLICT, modified, "v2").await;
    assert_eq!(outcome, Err("it has changed meanwhile".to_owned()));
    let (outcome, patches) = set_with(StatusCode::OK, "", "dropped").await;
    assert_eq!((outcome, patches.len()), (Err("it reads back as \"v1\"".to_owned()), 1));
    let (outcome, _) = set_with(StatusCode::FORBIDDEN, "no", "v2").await;
    assert!(outcome.unwrap_err().contains("with HTTP 403: no"));
}

#[tokio::test]
async fn a_server_that_cannot_apply_gets_a_merge_patch() {
    let (outcome, patches) = set_with(StatusCode::UNSUPPORTED_MEDIA_TYPE, "", "v2").await;
    assert_eq!(outcome, Ok(SetOutcome::Written));
    let merged = json!({ "metadata": { "resourceVersion": "7" }, "spec": { "version": "v2" } });
    assert_eq!(patches[1], ("application/merge-patch+json".to_owned(), merged));
}

/// The object has what another client has set, since the add-on had set something else.
#[tokio::test]
async fn on_the_way_back_another_clients_value_stays() {
    let back = |target: Target| target.back_to(&ValueBefore::Value("v0".into()), Vec::new());
    let (outcome, patches) = set_to(StatusCode::UNSUPPORTED_MEDIA_TYPE, "", "v2", back).await;
    assert_eq!(outcome, Err("another client has set it to \"v1\"".to_owned()));
    assert_eq!(patches.len(), 1, "nothing says whose it is, so nothing is merged");
    let conflict = "Apply failed with 1 conflict: conflict with \"flux\": .spec.version";
    let (outcome, _) = set_to(StatusCode::CONFLICT, conflict, "v2", back).await;
    assert_eq!(outcome, Err(conflict.to_owned()));
    // What the add-on set, and an API server that can't apply.
    let (outcome, patches) = set_to(StatusCode::UNSUPPORTED_MEDIA_TYPE, "", "v1", back).await;
    assert_eq!(outcome, Err("it reads back as \"v1\"".to_owned()));
    assert_eq!(patches[1].1["spec"], json!({ "version": "v0" }));

    let gone = |target: Target| target.back_to(&ValueBefore::Absent, Vec::new());
    let (outcome, patches) = set_to(StatusCode::OK, "", "v1", gone).await;
    assert_eq!(outcome, Err("it stays where it is left out".to_owned()));
    assert!(patches[0].1.get("spec").is_none(), "{patches:?}");
    let (outcome, patches) = set_to(StatusCode::UNSUPPORTED_MEDIA_TYPE, "", "v1", gone).await;
    assert_eq!(outcome, Err("it stays where it is left out".to_owned()));
    assert_eq!(patches[1].1["spec"], json!({ "version": null }));
}
