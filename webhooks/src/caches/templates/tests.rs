//! An API server of a few answers, and what is seen of its templates.

use std::{
    collections::VecDeque,
    io,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use axum::http::{Request, Response, header::ACCEPT};
use futures::stream;
use instar_serve::{Metrics, Readiness};
use kube::client::Body;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::*;

const GROUP: &str = "infrastructure.cluster.x-k8s.io";
const KIND: &str = "DevMachineTemplate";

/// What the API server answers.
#[derive(Debug, Default)]
struct Answers {
    knows_the_kind: bool,
    /// The code of lists, where they fail.
    lists_fail: Option<u16>,
    /// The code of watches, where they fail.
    watches_fail: Option<u16>,
    templates: Vec<Value>,
    /// What the next watch says before it ends; without it a watch says nothing.
    events: VecDeque<Value>,
    /// The lists, and what they accept.
    lists: Vec<String>,
    /// The watches, and what they ask for.
    watches: Vec<(Instant, String)>,
}

#[derive(Clone, Debug, Default)]
struct Server(Arc<Mutex<Answers>>);

impl Server {
    fn with(change: impl FnOnce(&mut Answers)) -> Self {
        let server = Self::default();
        server.now().knows_the_kind = true;
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
        let served = answers.knows_the_kind;
        let version = json!({"groupVersion": format!("{GROUP}/v1beta2"), "version": "v1beta2"});
        let body = match request.uri().path() {
            "/apis" if served => {
                json!({"groups": [{"name": GROUP, "versions": [version], "preferredVersion": version}]})
            }
            "/apis" => json!({"groups": []}),
            path if path == format!("/apis/{GROUP}/v1beta2") => json!({
                "kind": "APIResourceList", "groupVersion": format!("{GROUP}/v1beta2"),
                "resources": [{
                    "name": "devmachinetemplates", "singularName": "", "kind": KIND, "namespaced": true,
                    "verbs": ["list", "watch"],
                }],
            }),
            path => {
                assert_eq!(path, format!("/apis/{GROUP}/v1beta2/devmachinetemplates"));
                let query = request.uri().query().unwrap_or_default();
                if query.contains("watch=true") {
                    answers.watches.push((Instant::now(), query.to_owned()));
                    return match (answers.watches_fail, answers.events.pop_front()) {
                        (Some(code), _) => Some(refusal(code)),
                        (None, Some(event)) => Some((200, as_sent(&event))),
                        (None, None) => None,
                    };
                }
                let accept = request
                    .headers()
                    .get(ACCEPT)
                    .map(|value| value.to_str().unwrap().to_owned());
                answers.lists.push(accept.unwrap_or_default());
                if let Some(code) = answers.lists_fail {
                    return Some(refusal(code));
                }
                json!({
                    "apiVersion": format!("{GROUP}/v1beta2"), "kind": format!("{KIND}List"),
                    "metadata": {"resourceVersion": "7"}, "items": answers.templates,
                })
            }
        };
        Some((200, body.to_string()))
    }
}

/// As API servers write an event: its type first.
fn as_sent(event: &Value) -> String {
    format!(r#"{{"type":{},"object":{}}}"#, event["type"], event["object"])
}

fn refusal(code: u16) -> (u16, String) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": "No", "code": code});
    (code, status.to_string())
}

fn template(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1beta2"), "kind": KIND,
        "metadata": {"name": name, "namespace": "ns", "resourceVersion": "8", "labels": {}},
        "spec": {"template": {"spec": {"image": image}}},
    })
}

fn owned(mut template: Value, cluster: &str) -> Value {
    template["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": cluster, "uid": "u"}]);
    template
}

struct Fixture {
    templates: Templates,
    readiness: Readiness,
    answers: Arc<FirstAnswers>,
    /// What the objects hold that refer to templates.
    references: Mutex<Vec<Use>>,
}

impl Fixture {
    fn new() -> Self {
        let readiness = Readiness::default();
        let watched = Self {
            templates: Templates::default(),
            answers: FirstAnswers::new(&readiness, TEMPLATES, vec!["clusters"]),
            readiness,
            references: Mutex::default(),
        };
        watched.templates.await_in(&watched.answers);
        watched
    }

    fn learn(&self, mut used: Use) {
        self.templates.learn(std::slice::from_mut(&mut used));
        self.references.lock().unwrap().push(used);
    }

    /// One that something refers to a kind of, and that is watched at the server.
    fn of(sort: TemplateType, server: &Server) -> Self {
        let watched = Self::new();
        watched.learn(used(sort, GROUP, KIND));
        watched.start(server);
        watched
    }

    fn start(&self, server: &Server) {
        let metrics = super::super::register(&Metrics::default());
        tokio::spawn(self.templates.run(&server.client(), &metrics));
    }

    fn get(&self, name: &str) -> Lookup<Arc<CachedTemplate>> {
        self.templates.get(&key(GROUP, KIND, name))
    }

    async fn until(&self, name: &str, wanted: &Lookup<Arc<CachedTemplate>>) {
        let deadline = Instant::now() + Duration::from_mins(2);
        while self.get(name) != *wanted {
            assert!(Instant::now() < deadline, "{:?}, not {wanted:?}", self.get(name));
            sleep(Duration::from_millis(10)).await;
        }
    }
}

fn key<'a>(group: &'a str, kind: &'a str, name: &'a str) -> TemplateKey<'a> {
    TemplateKey {
        group,
        kind,
        namespace: "ns",
        name,
    }
}

fn used(sort: TemplateType, group: &str, kind: &str) -> Use {
    Use {
        sort: Some(sort),
        template: super::super::group::TemplateId::of(&key(group, kind, "t")),
        lease: None,
    }
}

fn unwatched(why: &str) -> Lookup<Arc<CachedTemplate>> {
    Lookup::Unavailable(why.to_owned())
}

fn not_yet(why: &str) -> Lookup<Arc<CachedTemplate>> {
    Lookup::NotYet(why.to_owned())
}

fn seen(clusters: &[&str], spec: &str) -> Lookup<Arc<CachedTemplate>> {
    Lookup::Found(Arc::new(CachedTemplate {
        clusters: clusters.iter().map(ToString::to_string).collect(),
        release: None,
        spec: spec.into(),
    }))
}

#[tokio::test(start_paused = true)]
async fn a_kind_is_watched_from_the_first_reference_to_it() {
    let mut minted = owned(template("minted", "b"), "one");
    minted["metadata"]["labels"] = json!({
        "cluster.x-k8s.io/cluster-name": "other", instar_api::RELEASE_LABEL: "r1",
    });
    let mut labelled = template("labelled", "c");
    labelled["metadata"]["labels"]["cluster.x-k8s.io/cluster-name"] = json!("two");
    let server = Server::with(|answers| {
        answers.templates = vec![minted, labelled, template("nobodys", "a")];
    });
    let watched = Fixture::new();
    assert_eq!(watched.get("t"), not_yet("nothing has referred to its kind before"));
    watched.learn(used(TemplateType::Machine, GROUP, KIND));
    assert_eq!(watched.get("t"), not_yet("its kind is not listed yet"));
    watched.answers.settle();
    assert_eq!(watched.readiness.awaited(), ["templates"]);

    watched.start(&server);
    let spec = |image: &str| format!(r#"{{"template":{{"spec":{{"image":"{image}"}}}}}}"#);
    watched.until("nobodys", &seen(&[], &spec("a"))).await;
    let Lookup::Found(minted) = watched.get("minted") else {
        panic!("it is there")
    };
    assert_eq!(
        (minted.clusters.as_slice(), minted.release.as_deref()),
        (&["one".to_owned()][..], Some("r1"))
    );
    assert_eq!(watched.get("labelled"), seen(&["two"], &spec("c")));
    assert_eq!(watched.get("t"), Lookup::NotFound);
    assert!(watched.readiness.awaited().is_empty());
}

#[tokio::test(start_paused = true)]
async fn events_change_what_is_seen() {
    let server = Server::with(|answers| {
        answers.templates = vec![template("adopted", "a"), template("gone", "a")];
        answers.events = [
            json!({"type": "MODIFIED", "object": owned(template("adopted", "a"), "one")}),
            json!({"type": "DELETED", "object": template("gone", "a")}),
        ]
        .into();
    });
    let watched = Fixture::of(TemplateType::Machine, &server);
    let spec = r#"{"template":{"spec":{"image":"a"}}}"#;
    watched.until("adopted", &seen(&["one"], spec)).await;
    watched.until("gone", &Lookup::NotFound).await;
    assert_eq!(server.now().lists.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_template_that_cannot_be_decoded_hides_no_other() {
    for sort in [TemplateType::Machine, TemplateType::Bootstrap] {
        let mut bad = template("bad", "a");
        bad["metadata"]["creationTimestamp"] = json!("9999-12-31T23:59:59Z");
        let server = Server::with(|answers| answers.templates = vec![bad, owned(template("good", "a"), "one")]);
        let watched = Fixture::of(sort, &server);
        let spec = match sort {
            TemplateType::Machine => r#"{"template":{"spec":{"image":"a"}}}"#,
            TemplateType::Bootstrap => "",
        };
        watched.until("good", &seen(&["one"], spec)).await;
        let Lookup::Unavailable(why) = watched.get("bad") else {
            panic!("{sort:?}")
        };
        assert!(
            why.starts_with("it can't be decoded: metadata.creationTimestamp: "),
            "{why}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_listed_is_said_and_tried_again() {
    let server = Server::with(|answers| answers.lists_fail = Some(403));
    let watched = Fixture::of(TemplateType::Machine, &server);
    watched
        .until("t", &unwatched("no right to list devmachinetemplates"))
        .await;
    watched.answers.settle();
    assert!(watched.readiness.awaited().is_empty(), "it hangs on a right");
    sleep(Duration::from_mins(10)).await;
    let tries = server.now().lists.len();
    assert!((15..80).contains(&tries), "{tries} lists in ten minutes");
    server.now().lists_fail = None;
    watched.until("t", &Lookup::NotFound).await;
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_taken_away_is_noticed() {
    let server = Server::with(|answers| {
        answers.templates = vec![template("t", "a")];
        answers.watches_fail = Some(403);
    });
    let watched = Fixture::of(TemplateType::Machine, &server);
    watched
        .until("t", &unwatched("no right to watch devmachinetemplates"))
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_nobody_knows_may_come() {
    let server = Server::with(|answers| answers.knows_the_kind = false);
    let watched = Fixture::of(TemplateType::Machine, &server);
    watched
        .until("t", &unwatched("the API server doesn't know its kind"))
        .await;
    assert!(watched.readiness.awaited().is_empty());
    server.now().knows_the_kind = true;
    watched.until("t", &Lookup::NotFound).await;
}

#[tokio::test(start_paused = true)]
async fn errors_that_pass_are_waited_out() {
    let server = Server::with(|answers| {
        answers.lists_fail = Some(500);
        answers.templates = vec![template("t", "a")];
    });
    let watched = Fixture::of(TemplateType::Machine, &server);
    watched
        .until("t", &unwatched("its kind can't be listed at the moment"))
        .await;
    server.now().watches_fail = Some(500);
    server.now().lists_fail = None;
    // What was listed stays, whatever becomes of the watch.
    let there = seen(&[], r#"{"template":{"spec":{"image":"a"}}}"#);
    watched.until("t", &there).await;
    sleep(Duration::from_mins(5)).await;
    assert_eq!(watched.get("t"), there);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_falls_silent_is_taken_up_again_within_a_minute() {
    let server = Server::with(|_| ());
    let watched = Fixture::of(TemplateType::Machine, &server);
    watched.until("t", &Lookup::NotFound).await;
    sleep(Duration::from_mins(5)).await;
    let asked = server.now().watches.clone();
    assert!(asked.len() >= 5, "{asked:?}");
    for pair in asked.windows(2) {
        let silence = pair[1].0 - pair[0].0;
        assert!(silence <= Duration::from_mins(1), "{silence:?}");
        // The API server is asked to end it sooner, and it goes on from where it was.
        assert!(pair[1].1.contains("timeoutSeconds=50"), "{}", pair[1].1);
        assert!(pair[1].1.contains("resourceVersion=7"), "{}", pair[1].1);
    }
    assert_eq!(server.now().lists.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn of_bootstrap_templates_the_metadata_is_enough() {
    let server = Server::with(|answers| answers.templates = vec![owned(template("t", "a"), "one")]);
    let watched = Fixture::of(TemplateType::Bootstrap, &server);
    watched.until("t", &seen(&["one"], "")).await;
    assert!(
        server.now().lists[0].contains("PartialObjectMetadataList"),
        "{:?}",
        server.now().lists
    );
    // Whoever calls a machine template a bootstrap template takes nothing away from those who use it.
    watched.learn(used(TemplateType::Machine, GROUP, KIND));
    watched
        .until("t", &seen(&["one"], r#"{"template":{"spec":{"image":"a"}}}"#))
        .await;
}

#[test]
fn made_up_kinds_come_to_an_end() {
    const MOST: usize = 64;
    let templates = Templates::default();
    let mut references = Vec::new();
    for nth in 0..2 * MOST {
        for kind in [format!("X{nth}Template"), format!("X{nth}Machine")] {
            let mut used = used(TemplateType::Machine, "example.org", &kind);
            templates.learn(std::slice::from_mut(&mut used));
            references.push(used);
        }
    }
    let learned = templates.machine.kinds().len();
    assert_eq!(learned, MOST);
    assert_eq!(
        templates.get(&key("example.org", "X0Machine", "t")),
        not_yet("nothing has referred to its kind before")
    );
    assert_eq!(
        templates.get(&key("example.org", "X0Template", "t")),
        not_yet("its kind is not listed yet")
    );
}

#[test]
fn readiness_waits_for_what_may_refer_to_templates() {
    let watched = Fixture::new();
    let clusters = watched.readiness.part("clusters");
    let _server = watched.readiness.part("tls");
    watched.answers.settle();
    assert_eq!(watched.readiness.awaited(), ["clusters", "templates", "tls"]);
    clusters.ready();
    watched.answers.settle();
    assert_eq!(watched.readiness.awaited(), ["tls"]);
}
