//! Which requests are made for one Cluster, however many others there are.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use axum::{
    body::Body,
    http::{Request, Response},
};
use instar_report::Invocation;
use kube::Client;
use serde_json::json;
use tower::service_fn;

use super::*;

/// An API server with so many other Clusters, each with an upgrade, a MachineDeployment, a Machine and a release of the
/// catalog's ten. A list is answered in pages, and a selector selects.
struct Fleet {
    others: usize,
    asked: Mutex<Vec<String>>,
}

const RELEASES: usize = 10;

impl Fleet {
    fn items(&self, resource: &str, query: &str) -> Vec<Value> {
        let is_selected = query.contains("Selector=");
        let others = if is_selected { 0 } else { self.others };
        let names = (0..=others).map(|at| {
            if at == 0 {
                "prod".to_owned()
            } else {
                format!("other-{at}")
            }
        });
        match resource {
            "kubernetesreleases" => (0..RELEASES)
                .map(|at| {
                    json!({ "metadata": { "name": format!("r{at}") }, "spec": { "version": format!("v1.35.{at}") } })
                })
                .collect(),
            "upgradepolicies" => vec![json!({ "metadata": { "name": "p", "namespace": "team" }, "spec": {} })],
            "clusterupgrades" => names
                .map(|name| {
                    json!({ "metadata": { "name": name, "namespace": "team" },
                        "spec": { "clusterName": name, "target": "v1.35.4" } })
                })
                .collect(),
            "machinedeployments" | "machines" | "machinesets" | "machinepools" => Vec::new(),
            other => panic!("a list of {other}"),
        }
    }

    fn answer(&self, path: &str, query: &str) -> (u16, Value) {
        self.asked.lock().unwrap().push(format!("{path}?{query}"));
        let resource = path.rsplit('/').next().unwrap();
        match resource {
            "prod" => (
                200,
                json!({ "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
                    "metadata": { "name": "prod", "namespace": "team" }, "spec": {} }),
            ),
            _ if path.contains("/apis/") => {
                let items = self.items(resource, query);
                let value = |name: &str| {
                    let found = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name);
                    found.and_then(|(_, value)| value.parse::<usize>().ok())
                };
                let (from, limit) = (
                    value("continue").unwrap_or_default(),
                    value("limit").unwrap_or(usize::MAX),
                );
                let next = (items.len() - from > limit).then(|| (from + limit).to_string());
                let page: Vec<&Value> = items.iter().skip(from).take(limit).collect();
                let list =
                    json!({ "kind": "List", "apiVersion": "v1", "metadata": { "continue": next }, "items": page });
                (200, list)
            }
            _ => (
                404,
                json!({ "kind": "Status", "code": 404, "reason": "NotFound", "message": "no" }),
            ),
        }
    }
}

fn connection(others: usize) -> (Connection, Arc<Fleet>) {
    let fleet = Arc::new(Fleet {
        others,
        asked: Mutex::default(),
    });
    let asked = Arc::clone(&fleet);
    let server = service_fn(move |request: Request<kube::client::Body>| {
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        let (code, body) = asked.answer(path, query);
        let response = Response::builder()
            .status(code)
            .body(Body::from(body.to_string()))
            .unwrap();
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = Connection {
        client: Client::new(server, "team"),
        namespace: "team".to_owned(),
        invocation: Invocation::default(),
    };
    (connection, fleet)
}

/// What `status`, `plan` and the verbs that write ask for about one Cluster.
async fn asked(others: usize) -> Vec<String> {
    let (connection, fleet) = connection(others);
    report(&connection, "prod").await.unwrap();
    Box::pin(snapshot(&connection, "prod")).await.unwrap();
    current(&connection, "prod").await.unwrap();
    let mut asked = fleet.asked.lock().unwrap().clone();
    asked.sort();
    asked
}

#[tokio::test]
async fn the_requests_for_one_cluster_do_not_grow_with_the_fleet() {
    let (alone, among_many) = (asked(0).await, asked(10_000).await);
    assert_eq!(alone, among_many);
    assert!(alone.len() <= 20, "{}: {alone:#?}", alone.len());
    // What a list is of: the Cluster's own, or of what doesn't come with a Cluster.
    for request in alone.iter().filter(|request| request.contains("limit=")) {
        let is_own = request.contains("labelSelector=cluster.x-k8s.io%2Fcluster-name%3Dprod")
            || request.contains("fieldSelector=spec.clusterName%3Dprod");
        let is_shared = request.contains("/kubernetesreleases?") || request.contains("/upgradepolicies?");
        assert!(is_own || is_shared, "{request}");
    }
}

/// Who lists the fleet reads it page by page.
#[tokio::test]
async fn a_list_of_the_fleet_is_read_in_pages() {
    let (connection, fleet) = connection(2_000);
    let rows = super::fleet(&dynamic::<ClusterUpgrade>(&connection)).await.unwrap();
    assert_eq!(rows.len(), 2_001);
    assert_eq!(fleet.asked.lock().unwrap().len(), 5);
}
