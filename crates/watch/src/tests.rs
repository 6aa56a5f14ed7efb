//! An API server of a few answers, and what the caches know of its objects.

mod dynamic;
mod kinds;
mod news;

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::http::{Request, Response};
use futures::stream;
use instar_serve::{Metrics, Readiness};
use kube::{Client, CustomResource, client::Body, runtime::watcher::Event};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::*;

const GROUP: &str = "example.org";

/// A kind with a field that has to be a number.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default)]
#[kube(
    group = "example.org",
    version = "v1",
    kind = "Thing",
    plural = "things",
    namespaced,
    schema = "disabled"
)]
#[serde(default)]
struct ThingSpec {
    size: u32,
    /// Of any depth.
    any: Value,
}

/// Its size.
#[derive(Debug)]
struct Size(u32);

impl Entry for Size {
    type Group = String;

    fn groups(&self, _: &Key) -> Vec<String> {
        Vec::new()
    }

    fn groups_of_unreadable(_: &Key, unreadable: &Unreadable) -> Vec<String> {
        unreadable.cluster.iter().cloned().collect()
    }
}

impl Kept for Size {
    type Object = Guarded<Thing>;

    fn keep(object: Self::Object) -> Row<Self> {
        Row::of(object, |thing| Self(thing.spec.size))
    }
}

fn thing(name: &str, size: &Value) -> Value {
    json!({
        "apiVersion": "example.org/v1", "kind": "Thing",
        "metadata": {"name": name, "namespace": "ns", "resourceVersion": "8", "labels": {"cluster.x-k8s.io/cluster-name": "c"}},
        "spec": {"size": size},
    })
}

/// What the API server answers.
#[derive(Debug, Default)]
struct Answers {
    serves_the_kind: bool,
    /// The code of discovery, where it fails.
    discovery_fails: Option<u16>,
    /// The code of lists, where they fail.
    lists_fail: Option<u16>,
    /// The code of every page but the first.
    next_pages_fail: Option<u16>,
    /// The code of watches, where they fail.
    watches_fail: Option<u16>,
    /// Sent with every failure, in seconds.
    retry_after: u32,
    things: Vec<Value>,
    /// What the next watch says before it ends; without it a watch says nothing.
    events: VecDeque<Value>,
    lists: Vec<Instant>,
    watches: Vec<(Instant, String)>,
}

#[derive(Clone, Debug, Default)]
struct Server(Arc<Mutex<Answers>>);

impl Server {
    fn with(change: impl FnOnce(&mut Answers)) -> Self {
        let server = Self::default();
        server.now().serves_the_kind = true;
        change(&mut server.now());
        server
    }

    fn now(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().unwrap()
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let answer = move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (code, body) = match server.answer(&request) {
                    Some((code, body)) => (code, body.into()),
                    // A watch that has begun, and says nothing more.
                    None => (
                        200,
                        axum::body::Body::from_stream(stream::pending::<io::Result<Vec<u8>>>()),
                    ),
                };
                Ok::<_, kube::Error>(Response::builder().status(code).body(body).unwrap())
            }
        };
        Client::new(tower::service_fn(answer), "default")
    }

    /// The code and the body; nothing where it is silence.
    fn answer(&self, request: &Request<Body>) -> Option<(u16, String)> {
        let mut answers = self.now();
        let refusal = |code: u16, answers: &Answers| {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": "No", "code": code,
                "details": {"retryAfterSeconds": answers.retry_after},
            });
            Some((code, status.to_string()))
        };
        let version = json!({"groupVersion": format!("{GROUP}/v1"), "version": "v1"});
        let path = request.uri().path();
        let query = request.uri().query().unwrap_or_default();
        let body = match path {
            "/apis" | "/apis/example.org/v1" if answers.discovery_fails.is_some() => {
                return refusal(answers.discovery_fails.unwrap_or_default(), &answers);
            }
            "/apis" if answers.serves_the_kind => {
                json!({"groups": [{"name": GROUP, "versions": [version], "preferredVersion": version}]})
            }
            "/apis" => json!({"groups": []}),
            "/apis/example.org/v1" if answers.serves_the_kind => json!({
                "kind": "APIResourceList", "groupVersion": "example.org/v1",
                "resources": [{
                    "name": "things", "singularName": "", "kind": "Thing", "namespaced": true, "verbs": ["list", "watch"],
                }],
            }),
            "/apis/example.org/v1/things" if !answers.serves_the_kind => return refusal(404, &answers),
            "/apis/example.org/v1/things" if query.contains("watch=true") => {
                answers.watches.push((Instant::now(), query.to_owned()));
                if let Some(code) = answers.watches_fail {
                    return refusal(code, &answers);
                }
                let event = answers.events.pop_front();
                return event.map(|event| (200, as_sent(&event)));
            }
            "/apis/example.org/v1/things" => {
                answers.lists.push(Instant::now());
                assert!(query.contains("limit=100"), "{query}");
                let is_first = !query.contains("continue=");
                if let Some(code) = answers.lists_fail {
                    return refusal(code, &answers);
                }
                if let (Some(code), false) = (answers.next_pages_fail, is_first) {
                    return refusal(code, &answers);
                }
                let next = if answers.next_pages_fail.is_some() { "more" } else { "" };
                json!({
                    "apiVersion": "example.org/v1", "kind": "ThingList",
                    "metadata": {"resourceVersion": "7", "continue": next}, "items": answers.things,
                })
            }
            _ => return refusal(404, &answers),
        };
        Some((200, body.to_string()))
    }
}

/// As API servers write an event: its type first, by which the object behind it is read without a copy.
fn as_sent(event: &Value) -> String {
    format!(r#"{{"type":{},"object":{}}}"#, event["type"], event["object"])
}

/// A cache of things, watched at the server.
struct Fixture {
    cache: Arc<Cache<Size>>,
    readiness: Readiness,
    metrics: Metrics,
}

impl Fixture {
    fn of(presence: Presence, server: &Server) -> Self {
        let (readiness, metrics) = (Readiness::default(), Metrics::default());
        let cache = Arc::<Cache<Size>>::default();
        let watch_metrics = WatchMetrics::register(&metrics, ["things"]);
        let watch = Watch {
            client: server.client(),
            target: Target::of::<Thing>(),
            config: config(),
            presence,
            health: WatchHealth::new("things", &watch_metrics, Some(readiness.part("things"))),
        };
        let mut sink = KeptSink {
            cache: Arc::clone(&cache),
            kind: "things".to_owned(),
            hooks: (),
        };
        tokio::spawn(async move {
            watch_kind(watch, &Namespaces::All, &mut sink).await;
        });
        Self {
            cache,
            readiness,
            metrics,
        }
    }

    fn get(&self, name: &str) -> Lookup<u32> {
        self.cache.look_up(&Key::new("ns", name), |size| size.0)
    }

    fn metric(&self, name: &str) -> String {
        let page = self.metrics.encode().unwrap();
        let series = format!("instar_{name}{{kind=\"things\"}} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&series));
        line.unwrap_or_else(|| panic!("no {series} in {page}")).to_owned()
    }
}

/// Waits until something holds, for at most two hours of the test's own time.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_hours(2);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(200)).await;
    }
}

/// A text that others have too.
#[derive(Debug)]
struct Common(Arc<str>);

impl Entry for Common {
    type Group = String;

    fn groups(&self, _: &Key) -> Vec<String> {
        Vec::new()
    }

    fn groups_of_unreadable(_: &Key, _: &Unreadable) -> Vec<String> {
        Vec::new()
    }

    fn share(&mut self, texts: &SharedTexts) {
        texts.share(&mut self.0);
    }
}

impl Kept for Common {
    type Object = Guarded<Thing>;

    fn keep(object: Self::Object) -> Row<Self> {
        Row::of(object, |thing| Self(thing.spec.any.as_str().unwrap_or_default().into()))
    }
}

#[test]
fn what_objects_have_in_common_is_kept_once() {
    let cache = Arc::<Cache<Common>>::default();
    let mut sink = KeptSink {
        cache: Arc::clone(&cache),
        kind: "things".to_owned(),
        hooks: (),
    };
    for (name, text) in [("a", "long"), ("b", "long"), ("c", "other")] {
        let mut thing = thing(name, &json!(1));
        thing["spec"]["any"] = json!(text);
        sink.apply(Event::Apply(Guarded::deserialize(thing).unwrap()));
    }
    let text = |name| match cache.look_up(&Key::new("ns", name), |entry| Arc::clone(&entry.0)) {
        Lookup::Present(text) => text,
        other => panic!("{name}: {other:?}"),
    };
    assert!(Arc::ptr_eq(&text("a"), &text("b")));
    assert_eq!(&*text("c"), "other");
}
