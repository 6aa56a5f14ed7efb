use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use kube::client::Body;
use serde_json::json;
use tower::service_fn;

use super::*;

/// An API server that has definitions and objects, and keeps what is applied.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    definitions: Vec<Value>,
    objects: Vec<Value>,
    applied: Vec<String>,
    pages: usize,
}

impl Server {
    fn with(definitions: Vec<Value>, objects: Vec<Value>) -> Self {
        Self(Arc::new(Mutex::new(State {
            definitions,
            objects,
            ..State::default()
        })))
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let service = service_fn(move |request: http::Request<Body>| {
            let (code, answer) = server.answer(&request);
            let response = http::Response::builder().status(code);
            let body = Body::from(serde_json::to_vec(&answer).unwrap());
            std::future::ready(Ok::<_, Infallible>(response.body(body).unwrap()))
        });
        Client::new(service, "default")
    }

    fn answer(&self, request: &http::Request<Body>) -> (u16, Value) {
        let mut state = self.0.lock().unwrap();
        let path = request.uri().path();
        if let Some((_, name)) = path.split_once("/customresourcedefinitions/") {
            if request.method() == http::Method::PATCH {
                let query = request.uri().query().unwrap();
                assert!(
                    query.contains("force=true") && query.contains("fieldManager=instar-crd"),
                    "{query}"
                );
                state.applied.push(name.to_owned());
                let ours = Definition::ALL.into_iter().find(|ours| ours.name() == name).unwrap();
                return (200, ours.object());
            }
            let found = state.definitions.iter().find(|found| found["metadata"]["name"] == name);
            let missing =
                json!({ "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404, "message": "" });
            return found.map_or((404, missing), |found| (200, found.clone()));
        }
        // One object for each page.
        let query = request.uri().query().unwrap_or_default();
        let at: usize = query.split("continue=").nth(1).map_or(0, |at| at.parse().unwrap());
        state.pages += 1;
        let more = (at + 1 < state.objects.len()).then(|| (at + 1).to_string());
        let items: Vec<&Value> = state.objects.iter().skip(at).take(1).collect();
        (
            200,
            json!({ "kind": "List", "apiVersion": "v1", "metadata": { "continue": more }, "items": items }),
        )
    }
}

/// Our definition as a later version may have it: with a field more.
fn with_field(definition: Definition, field: &str) -> Value {
    let mut object = definition.object();
    let schema = &mut object["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"]["spec"]["properties"][field] = json!({ "type": "string" });
    object
}

fn upgrade(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1", "kind": "ClusterUpgrade",
        "metadata": { "name": name, "namespace": "fleet" }, "spec": spec,
    })
}

#[tokio::test]
async fn objects_that_would_lose_fields_are_named_from_all_pages() {
    let objects = vec![
        upgrade("a", &json!({ "clusterName": "c", "target": "v1.35" })),
        upgrade("b", &json!({ "clusterName": "c", "target": "v1.35", "later": "x" })),
        upgrade("c", &json!({ "clusterName": "c", "later": "y", "target": "v1.35" })),
    ];
    let server = Server::with(vec![with_field(Definition::ClusterUpgrades, "later")], objects);
    let refused = refuse_losses(&server.client()).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "objects have fields that the definitions of {} don't have, and the API server would drop them, so nothing is \
             applied: ClusterUpgrade fleet/b (spec.later); ClusterUpgrade fleet/c (spec.later): use the version of Instar \
             that has these fields, or remove them from the objects first",
            instar_api::INSTAR_VERSION
        )
    );
    assert_eq!(server.0.lock().unwrap().pages, 3);
}

#[tokio::test]
async fn fields_that_no_object_has_may_go() {
    let objects = vec![upgrade("a", &json!({ "clusterName": "c", "target": "v1.35" }))];
    let server = Server::with(vec![with_field(Definition::ClusterUpgrades, "later")], objects);
    refuse_losses(&server.client()).await.unwrap();
}

#[tokio::test]
async fn objects_are_listed_only_where_the_schemas_differ() {
    let mut ours = Definition::ALL.map(Definition::object).to_vec();
    // What older definitions lack is no loss.
    let schema = &mut ours[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"].as_object_mut().unwrap().remove("status");
    let server = Server::with(ours, vec![upgrade("a", &json!({ "later": "x" }))]);
    refuse_losses(&server.client()).await.unwrap();
    assert_eq!(server.0.lock().unwrap().pages, 0);
}

#[tokio::test]
async fn a_stored_version_that_we_lack_is_named() {
    let mut stored = Definition::UpgradePolicies.object();
    stored["status"] = json!({
        "storedVersions": ["v1alpha1", "v1beta1"], "conditions": [],
        "acceptedNames": { "kind": "UpgradePolicy", "plural": "upgradepolicies" },
    });
    let server = Server::with(vec![stored], Vec::new());
    let refused = refuse_losses(&server.client()).await.unwrap_err().to_string();
    assert!(
        refused.starts_with(
            "CustomResourceDefinition upgradepolicies.upgrade.cluster.x-k8s.io has objects that are stored at v1beta1"
        ),
        "{refused}"
    );
}

#[tokio::test]
async fn what_became_of_each_is_said() {
    let mut older = Definition::KubernetesReleases.object();
    older["metadata"]["annotations"][INSTAR_VERSION_ANNOTATION] = json!("v0.0.9");
    let server = Server::with(vec![older, Definition::UpgradePolicies.object()], Vec::new());
    let client = server.client();
    let mut became = Vec::new();
    for definition in Definition::ALL {
        became.push(apply(&client, definition).await.unwrap());
    }
    assert_eq!(became, [Applied::Created, Applied::Configured, Applied::Unchanged]);
    assert_eq!(server.0.lock().unwrap().applied.len(), 3);
}
