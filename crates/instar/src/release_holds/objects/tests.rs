use std::{
    cell::RefCell,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use instar_api::HOOK_ANSWER_ANNOTATION;
use kube::client::Body;
use serde_json::json;
use tower::service_fn;

use super::*;

const MARK: &str = r#"{"upgrade":"up","since":"2026-11-20T11:00:00Z","paused":"2026-11-20T12:00:00Z"}"#;

/// What an API server has, and what is written to it.
#[derive(Clone, Default)]
struct Server {
    writes: Arc<Mutex<Vec<String>>>,
    /// How it answers that the ExtensionConfig is deleted, where that isn't 200.
    extension: Option<u16>,
}

/// How the API server answers the write of each object.
fn code_of(path: &str) -> u16 {
    match path.rsplit('/').next() {
        Some("refused") => 403,
        Some("gone") => 404,
        _ => 200,
    }
}

impl Server {
    fn client(&self) -> Client {
        let (writes, extension) = (Arc::clone(&self.writes), self.extension.unwrap_or(200));
        let service = service_fn(move |request: http::Request<Body>| {
            let writes = Arc::clone(&writes);
            async move {
                let (asked, body) = request.into_parts();
                let path = asked.uri.path().to_owned();
                let (code, answer) = if asked.method == http::Method::DELETE {
                    let options: Value = serde_json::from_slice(&body.collect_bytes().await.unwrap()).unwrap();
                    if options["dryRun"] != json!(["All"]) {
                        writes.lock().unwrap().push(path.clone());
                    }
                    match extension {
                        200 => (200, json!({ "kind": "Status", "status": "Success", "code": 200 })),
                        code => (code, failure(code)),
                    }
                } else if asked.method == http::Method::PATCH {
                    writes.lock().unwrap().push(path.clone());
                    match code_of(&path) {
                        200 => (200, object("written", &json!({}))),
                        code => (code, failure(code)),
                    }
                } else {
                    listed(&path)
                };
                let response = http::Response::builder().status(code);
                let body = Body::from(serde_json::to_vec(&answer).unwrap());
                Ok::<_, Infallible>(response.body(body).unwrap())
            }
        });
        Client::new(service, "default")
    }
}

fn failure(code: u16) -> Value {
    json!({ "kind": "Status", "status": "Failure", "reason": "", "code": code, "message": "no" })
}

fn object(name: &str, annotations: &Value) -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": { "namespace": "fleet", "name": name, "resourceVersion": "7", "annotations": annotations },
    })
}

fn listed(path: &str) -> (u16, Value) {
    let held = json!({ "upgrade.cluster.x-k8s.io/held": MARK });
    let items = match path.rsplit('/').next() {
        Some("clusters") => vec![object(
            "c",
            &json!({
                "upgrade.cluster.x-k8s.io/upgrade-concurrency": r#"{"to":"3"}"#,
                (HOOK_ANSWER_ANNOTATION): "{}",
                "topology.cluster.x-k8s.io/upgrade-concurrency": "3",
            }),
        )],
        Some("machinedeployments") => vec![
            object("gone", &held),
            object("md-0", &held),
            object("refused", &held),
            object("users", &json!({ "cluster.x-k8s.io/paused": "true" })),
        ],
        Some("instar") => {
            let labels = json!({ "cluster.x-k8s.io/provider": "runtime-extension-instar" });
            let metadata = json!({ "name": "instar", "resourceVersion": "3", "uid": "u", "labels": labels });
            return (200, json!({ "metadata": metadata }));
        }
        // MachinePools aren't installed.
        _ => return (404, failure(404)),
    };
    (
        200,
        json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": {}, "items": items }),
    )
}

async fn released(server: &Server, namespace: Option<&str>, write: Write) -> (Result<Outcome, String>, Vec<String>) {
    let lines = RefCell::new(Vec::new());
    let print = |line: &str| {
        lines.borrow_mut().push(line.to_owned());
        Ok::<(), crate::release_holds::Error>(())
    };
    let released = crate::release_holds::release(&server.client(), namespace, write, &print).await;
    (released.map_err(|error| error.to_string()), lines.into_inner())
}

#[tokio::test]
async fn each_object_has_a_line_and_one_that_is_refused_stops_no_other() {
    let server = Server::default();
    let (outcome, lines) = released(&server, None, Write::Made).await;
    assert_eq!(outcome, Ok(Outcome::CheckFailed));
    assert_eq!(
        lines,
        [
            "ExtensionConfig instar: deleted\n",
            "Cluster fleet/c: took off the raised upgrade-concurrency, the answer to Runtime Hooks\n",
            "MachineDeployment fleet/gone: was deleted meanwhile\n",
            "MachineDeployment fleet/md-0: took off spec.paused and the mark of its hold\n",
        ]
    );
    let names: Vec<String> = server.writes.lock().unwrap().clone();
    let names: Vec<&str> = names.iter().filter_map(|path| path.rsplit('/').next()).collect();
    assert_eq!(
        names,
        ["instar", "c", "gone", "md-0", "refused"],
        "who asks goes before the answers, and the number comes before the pools"
    );
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let server = Server::default();
    let (outcome, lines) = released(&server, None, Write::Said).await;
    assert_eq!((outcome, lines.len()), (Ok(Outcome::Done), 5));
    assert_eq!(
        lines[..2],
        [
            "ExtensionConfig instar: would delete\n",
            "Cluster fleet/c: would take off the raised upgrade-concurrency, the answer to Runtime Hooks\n",
        ]
    );
    assert_eq!(server.writes.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn where_the_extension_config_stays_nothing_is_taken_off() {
    let server = Server {
        extension: Some(403),
        ..Server::default()
    };
    let (released, lines) = released(&server, None, Write::Made).await;
    assert!(released.unwrap_err().contains("cannot delete the ExtensionConfig"));
    assert_eq!((lines.len(), server.writes.lock().unwrap().len()), (0, 1));
}

#[tokio::test]
async fn of_one_namespace_the_answers_stay_while_cluster_api_asks() {
    let server = Server::default();
    let (_, lines) = released(&server, Some("fleet"), Write::Made).await;
    assert!(lines[0].contains("run this command without -n"), "{}", lines[0]);
    assert_eq!(lines[1], "Cluster fleet/c: took off the raised upgrade-concurrency\n");
    assert_eq!(server.writes.lock().unwrap().len(), 4);
}
