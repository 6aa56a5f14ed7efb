use std::{
    cell::RefCell,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use kube::client::Body;
use serde_json::json;
use tower::service_fn;

use super::*;

const MARK: &str = r#"{"upgrade":"up","since":"2026-11-20T11:00:00Z","paused":"2026-11-20T12:00:00Z"}"#;

/// What an API server has, and what is written to it.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Vec<String>>>);

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
        let writes = Arc::clone(&self.0);
        let service = service_fn(move |request: http::Request<Body>| {
            let path = request.uri().path().to_owned();
            let (code, answer) = if request.method() == http::Method::PATCH {
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
            std::future::ready(Ok::<_, Infallible>(response.body(body).unwrap()))
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
                "topology.cluster.x-k8s.io/upgrade-concurrency": "3",
            }),
        )],
        Some("machinedeployments") => vec![
            object("gone", &held),
            object("md-0", &held),
            object("refused", &held),
            object("users", &json!({ "cluster.x-k8s.io/paused": "true" })),
        ],
        // MachinePools aren't installed.
        _ => return (404, failure(404)),
    };
    (
        200,
        json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": {}, "items": items }),
    )
}

async fn released(server: &Server, write: Write) -> (Outcome, Vec<String>) {
    let lines = RefCell::new(Vec::new());
    let print = |line: &str| {
        lines.borrow_mut().push(line.to_owned());
        Ok::<(), crate::release_holds::Error>(())
    };
    let outcome = release(&server.client(), Some("fleet"), write, &print).await.unwrap();
    (outcome, lines.into_inner())
}

#[tokio::test]
async fn each_object_has_a_line_and_one_that_is_refused_stops_no_other() {
    let server = Server::default();
    let (outcome, lines) = released(&server, Write::Made).await;
    assert_eq!(outcome, Outcome::CheckFailed);
    assert_eq!(
        lines,
        [
            "Cluster fleet/c: took off the raised upgrade-concurrency\n",
            "MachineDeployment fleet/gone: was deleted meanwhile\n",
            "MachineDeployment fleet/md-0: took off spec.paused and the mark of its hold\n",
        ]
    );
    let names: Vec<String> = server.0.lock().unwrap().clone();
    let names: Vec<&str> = names.iter().filter_map(|path| path.rsplit('/').next()).collect();
    assert_eq!(
        names,
        ["c", "gone", "md-0", "refused"],
        "the number comes before the pools"
    );
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let server = Server::default();
    let (outcome, lines) = released(&server, Write::Said).await;
    assert_eq!((outcome, lines.len()), (Outcome::Done, 4));
    assert_eq!(
        lines[0],
        "Cluster fleet/c: would take off the raised upgrade-concurrency\n"
    );
    assert_eq!(server.0.lock().unwrap().len(), 0);
}
