//! Reading the definitions: the metadata each time, and the whole only of what has changed since.

use std::time::Duration;

use futures::future::try_join_all;
use instar_api::{Definition, FoundDefinition, INSTAR_VERSION_ANNOTATION, STORED_VERSION, missing_fields, schema_at};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, ResourceExt, api::DynamicObject, discovery::ApiResource};
use serde_json::Value;
use tokio::time::timeout;

use crate::ErrorText;

/// How long a call may take.
const DEADLINE: Duration = Duration::from_secs(15);

/// What was found of a definition; nothing where it is missing.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) definition: Definition,
    pub(super) uid: Option<String>,
    pub(super) found: Option<FoundDefinition>,
}

/// Reads the definitions, and keeps what it made of them.
pub(super) struct Reader {
    /// Not of the kind's type: the schema is read as the API server writes it.
    api: Api<DynamicObject>,
    read: Vec<Read>,
}

/// A definition, as it was at a resourceVersion; absent where it was missing.
struct Read {
    resource_version: Option<String>,
    answer: Answer,
}

impl Read {
    /// Whether it is still so. A definition that was deleted and created again has another resourceVersion too.
    fn is_at(&self, resource_version: &str) -> bool {
        self.resource_version.as_deref() == Some(resource_version)
    }
}

impl Reader {
    pub(super) fn new(client: &Client) -> Self {
        let resource = ApiResource::erase::<CustomResourceDefinition>(&());
        Self {
            api: Api::all_with(client.clone(), &resource),
            read: Vec::new(),
        }
    }

    /// What there is now. A failure forgets nothing.
    pub(super) async fn look(&mut self) -> Result<Vec<Answer>, String> {
        let reads = Definition::ALL.map(|definition| self.read(definition));
        self.read = try_join_all(reads).await?;
        Ok(self.read.iter().map(|read| read.answer.clone()).collect())
    }

    async fn read(&self, definition: Definition) -> Result<Read, String> {
        let name = definition.name();
        let before = self.read.iter().find(|read| read.answer.definition == definition);
        if let Some(before) = before {
            let metadata = in_time(name, self.api.get_metadata_opt(name)).await?;
            let version = metadata
                .as_ref()
                .map(|found| found.metadata.resource_version.as_deref());
            match version {
                None => return Ok(missing(definition)),
                Some(Some(version)) if before.is_at(version) => {
                    return Ok(Read {
                        resource_version: before.resource_version.clone(),
                        answer: before.answer.clone(),
                    });
                }
                Some(_) => {}
            }
        }
        let found = in_time(name, self.api.get_opt(name)).await?;
        Ok(found.map_or_else(|| missing(definition), |found| read(definition, &found)))
    }
}

async fn in_time<T>(name: &str, call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, String> {
    let why = match timeout(DEADLINE, call).await {
        Ok(Ok(found)) => return Ok(found),
        Ok(Err(error)) => ErrorText(&error).to_string(),
        Err(_) => format!("no answer in {} s", DEADLINE.as_secs()),
    };
    Err(format!("cannot get CustomResourceDefinition {name}: {why}"))
}

const fn missing(definition: Definition) -> Read {
    Read {
        resource_version: None,
        answer: Answer {
            definition,
            uid: None,
            found: None,
        },
    }
}

fn read(definition: Definition, found: &DynamicObject) -> Read {
    let stored = found.data["status"]["storedVersions"].as_array().into_iter().flatten();
    let theirs = schema_at(&found.data, STORED_VERSION).unwrap_or_default();
    let answer = Answer {
        definition,
        uid: found.uid(),
        found: Some(FoundDefinition {
            version: found.annotations().get(INSTAR_VERSION_ANNOTATION).cloned(),
            stored: stored.filter_map(Value::as_str).map(str::to_owned).collect(),
            missing_fields: missing_fields(&theirs, definition.schema()),
        }),
    };
    Read {
        resource_version: found.resource_version(),
        answer,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        sync::{Arc, Mutex},
    };

    use axum::http::{Request, Response, header::ACCEPT};
    use instar_api::{CrdSkew, instar_version};
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    /// An API server with definitions.
    #[derive(Clone, Default)]
    struct Server(Arc<Mutex<State>>);

    #[derive(Default)]
    struct State {
        objects: BTreeMap<String, Value>,
        /// What was read: a kind, and whether the whole of its definition.
        reads: Vec<String>,
    }

    impl Server {
        fn with_ours() -> Self {
            let server = Self::default();
            for definition in Definition::ALL {
                server.apply(definition, "1", definition.object());
            }
            server
        }

        fn apply(&self, definition: Definition, resource_version: &str, mut object: Value) {
            object["metadata"]["resourceVersion"] = json!(resource_version);
            object["metadata"]["uid"] = json!("uid");
            object["status"] = json!({"storedVersions": [STORED_VERSION]});
            self.0
                .lock()
                .unwrap()
                .objects
                .insert(definition.name().to_owned(), object);
        }

        fn delete(&self, definition: Definition) {
            self.0.lock().unwrap().objects.remove(definition.name());
        }

        fn client(&self) -> Client {
            let server = self.clone();
            let answer = move |request: Request<Body>| {
                let (code, body) = server.answer(&request);
                let response = Response::builder().status(code);
                let response = response.body(axum::body::Body::from(body.to_string())).unwrap();
                async move { Ok::<_, kube::Error>(response) }
            };
            Client::new(tower::service_fn(answer), "default")
        }

        fn answer(&self, request: &Request<Body>) -> (u16, Value) {
            let mut state = self.0.lock().unwrap();
            let name = request.uri().path().rsplit('/').next().unwrap();
            let accept = request.headers().get(ACCEPT).map(|accept| accept.to_str().unwrap());
            let is_metadata = accept.unwrap_or_default().contains("as=PartialObjectMetadata;");
            let kind = name.split('.').next().unwrap();
            let what = if is_metadata { "metadata" } else { "all" };
            state.reads.push(format!("{what} of {kind}"));
            match state.objects.get(name) {
                None => (
                    404,
                    json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}),
                ),
                Some(object) if is_metadata => (
                    200,
                    json!({
                        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"],
                    }),
                ),
                Some(object) => (200, object.clone()),
            }
        }

        /// What was read since the last call.
        fn reads(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap().reads)
        }
    }

    fn skews(answers: &[Answer]) -> Vec<CrdSkew> {
        let skew = |answer: &Answer| CrdSkew::of(answer.found.as_ref(), &instar_version());
        answers.iter().map(skew).collect()
    }

    const METADATA: [&str; Definition::ALL.len()] = [
        "metadata of clusterupgrades",
        "metadata of kubernetesreleases",
        "metadata of upgradepolicies",
    ];

    #[tokio::test]
    async fn what_is_applied_reads_as_what_it_was_made_from() {
        let server = Server::with_ours();
        let answers = Reader::new(&server.client()).look().await.unwrap();
        for answer in &answers {
            let found = answer.found.as_ref().unwrap();
            assert_eq!(found.missing_fields, BTreeSet::new(), "{:?}", answer.definition);
            assert_eq!(found.stored, [STORED_VERSION]);
            assert_eq!(answer.uid.as_deref(), Some("uid"));
        }
        assert_eq!(skews(&answers), [CrdSkew::Same; Definition::ALL.len()]);
    }

    #[tokio::test]
    async fn the_whole_is_read_again_only_of_what_has_changed() {
        let server = Server::with_ours();
        let mut reader = Reader::new(&server.client());
        reader.look().await.unwrap();
        let all = [
            "all of clusterupgrades",
            "all of kubernetesreleases",
            "all of upgradepolicies",
        ];
        assert_eq!(server.reads(), all);
        assert_eq!(
            skews(&reader.look().await.unwrap()),
            [CrdSkew::Same; Definition::ALL.len()]
        );
        assert_eq!(server.reads(), METADATA);

        let mut lacking = Definition::KubernetesReleases.object();
        lacking["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = json!({"type": "object"});
        server.apply(Definition::KubernetesReleases, "2", lacking);
        let answers = reader.look().await.unwrap();
        assert!(!answers[1].found.as_ref().unwrap().missing_fields.is_empty());
        assert_eq!(server.reads().last().unwrap(), "all of kubernetesreleases");
        // And is kept at what it became.
        let again = reader.look().await.unwrap();
        assert_eq!(skews(&again), skews(&answers));
        assert_eq!(server.reads(), METADATA);
    }

    #[tokio::test]
    async fn one_that_goes_is_missing_and_one_that_comes_back_is_read() {
        let server = Server::with_ours();
        let mut reader = Reader::new(&server.client());
        reader.look().await.unwrap();
        server.delete(Definition::UpgradePolicies);
        for _ in 0..2 {
            let answers = reader.look().await.unwrap();
            assert!(answers[2].found.is_none() && answers[2].uid.is_none());
        }
        server.apply(Definition::UpgradePolicies, "9", Definition::UpgradePolicies.object());
        assert!(reader.look().await.unwrap()[2].found.is_some());
    }

    #[tokio::test]
    async fn a_failure_names_the_definition_and_is_no_answer() {
        let server = Server::with_ours();
        let mut reader = Reader::new(&server.client());
        reader.look().await.unwrap();
        let down = tower::service_fn(|_: Request<Body>| async {
            let body = r#"{"kind":"Status","status":"Failure","message":"down","reason":"InternalError","code":500}"#;
            let response = Response::builder().status(500);
            Ok::<_, kube::Error>(response.body(axum::body::Body::from(body)).unwrap())
        });
        let up = std::mem::replace(&mut reader.api, Reader::new(&Client::new(down, "default")).api);
        let why = reader.look().await.unwrap_err();
        assert!(why.starts_with("cannot get CustomResourceDefinition "), "{why}");
        // What was known before is still known.
        server.reads();
        reader.api = up;
        reader.look().await.unwrap();
        assert_eq!(server.reads(), METADATA);
    }
}
