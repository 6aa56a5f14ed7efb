//! Events in, answers out: no API server.

use futures::{StreamExt, stream};
use instar_serve::Metrics;
use kube::{
    core::{DeserializeGuard, PartialObjectMeta, Status},
    runtime::watcher::{Error, Event},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{follow::follow, *};

struct Fixture {
    caches: Caches,
    readiness: Readiness,
    metrics: Metrics,
    watch_metrics: WatchMetrics,
}

impl Fixture {
    fn new() -> Self {
        let metrics = Metrics::default();
        Self {
            caches: Caches::default(),
            readiness: Readiness::default(),
            watch_metrics: WatchMetrics::register(&metrics),
            metrics,
        }
    }

    /// Feeds the events of a watch, up to the end of the list.
    async fn feed<K: Kept>(&self, events: Vec<Result<Event<K::Object>, Error>>) {
        let synced = self.readiness.part(K::KIND.rule().resource);
        follow::<K>(stream::iter(events), &self.caches, &synced, &self.watch_metrics).await;
    }

    fn metric(&self, series: &str) -> String {
        let page = self.metrics.encode().unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix(series));
        line.unwrap_or_else(|| panic!("no {series} in {page}"))
            .trim()
            .to_owned()
    }
}

fn object<O: DeserializeOwned>(value: Value) -> O {
    serde_json::from_value(value).unwrap()
}

fn listed<O: DeserializeOwned>(objects: impl IntoIterator<Item = Value>) -> Vec<Result<Event<O>, Error>> {
    let objects = objects.into_iter().map(|value| Event::InitApply(object(value)));
    [Event::Init]
        .into_iter()
        .chain(objects)
        .chain([Event::InitDone])
        .map(Ok)
        .collect()
}

fn refused(code: u16) -> Error {
    // As kube reports the plain text that a missing resource is answered with.
    let status = Status::failure("404 page not found", "Failed to parse error data").with_code(code);
    Error::InitialListFailed(kube::Error::Api(status.boxed()))
}

fn cluster(name: &str, releases: &[&str]) -> Value {
    let pins: serde_json::Map<String, Value> = releases
        .iter()
        .enumerate()
        .map(|(at, release)| (format!("v1.3{at}.0"), json!({"release": release})))
        .collect();
    let pins = json!({"adopted": "", "releases": pins}).to_string();
    json!({"metadata": {"name": name, "namespace": "ns", "annotations": {instar_api::RELEASES_ANNOTATION: pins}}})
}

fn release(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1", "kind": "KubernetesRelease", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test(start_paused = true)]
async fn pins_say_which_release_is_in_use() {
    let fixture = Fixture::new();
    let mut events = listed::<PartialObjectMeta<_>>([cluster("b", &["r1", "r2"]), cluster("a", &["r2"])]);
    events.push(Ok(Event::Apply(object(
        json!({"metadata": {"name": "plain", "namespace": "ns"}}),
    ))));
    events.push(Ok(Event::Apply(object(json!({
        "metadata": {"name": "garbled", "namespace": "ns", "annotations": {instar_api::RELEASES_ANNOTATION: "r2"}},
    })))));
    fixture.feed::<Pinned>(events).await;
    assert_eq!(fixture.caches.pinned_to("r1"), ["ns/b"]);
    assert_eq!(fixture.caches.pinned_to("r2"), ["ns/a", "ns/b"]);
    assert!(fixture.caches.pinned_to("r3").is_empty());
    assert!(fixture.readiness.awaited().is_empty());
    assert_eq!(fixture.metric("instar_cached_objects{kind=\"clusters\"}"), "4");

    let gone = object(cluster("b", &[]));
    let changed = object(cluster("a", &["r3"]));
    fixture
        .feed::<Pinned>(vec![Ok(Event::Delete(gone)), Ok(Event::Apply(changed))])
        .await;
    assert!(fixture.caches.pinned_to("r1").is_empty());
    assert!(fixture.caches.pinned_to("r2").is_empty());
    assert_eq!(fixture.caches.pinned_to("r3"), ["ns/a"]);
}

#[tokio::test(start_paused = true)]
async fn a_class_keeps_its_spec_and_the_etcd_annotation_alone() {
    let fixture = Fixture::new();
    let class = json!({
        "metadata": {
            "name": "c", "namespace": "ns", "uid": "u", "labels": {"a": "b"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "much", instar_api::ETCD_ANNOTATION: "external"},
            "managedFields": [{"manager": "kubectl"}],
        },
        "spec": {"kubernetesVersions": ["v1.34.3"]},
    });
    let unreadable = json!({"metadata": {"name": "bad", "namespace": "ns"}, "spec": {"kubernetesVersions": 1}});
    fixture
        .feed::<Class>(listed::<DeserializeGuard<_>>([class, unreadable]))
        .await;
    let class = fixture.caches.class("ns", "c").unwrap();
    assert_eq!(class.spec.kubernetes_versions, ["v1.34.3"]);
    assert_eq!(
        serde_json::to_value(&class.metadata).unwrap(),
        json!({"name": "c", "namespace": "ns", "annotations": {instar_api::ETCD_ANNOTATION: "external"}})
    );
    assert!(fixture.caches.class("ns", "bad").is_none());
    assert!(fixture.caches.class("other", "c").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_is_found_by_its_cluster() {
    let fixture = Fixture::new();
    let control_plane = |name: &str, cluster: &str, owner: &str, tag: &str| {
        json!({
            "metadata": {
                "name": name, "namespace": "ns", "labels": {"cluster.x-k8s.io/cluster-name": cluster},
                "ownerReferences": [{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": owner, "uid": "u"}],
            },
            "spec": {"version": "v1.34.3", "kubeadmConfigSpec": {"clusterConfiguration": {"etcd": {"local": {"imageTag": tag}}}}},
        })
    };
    let tag = |cluster: &str| {
        let found = fixture.caches.control_plane("ns", cluster)?;
        found
            .spec
            .kubeadm_config_spec
            .cluster_configuration
            .etcd
            .local
            .image_tag
            .clone()
    };
    fixture
        .feed::<ControlPlane>(listed::<DeserializeGuard<_>>([
            control_plane("a-stray", "one", "other", "stray"),
            control_plane("one-x7", "one", "one", "3.6.5-0"),
            json!({"metadata": {"name": "unlabelled", "namespace": "ns"}, "spec": {"version": "v1.34.3"}}),
        ]))
        .await;
    assert_eq!(tag("one").as_deref(), Some("3.6.5-0"));
    assert_eq!(tag("two"), None);
    let moved = object(control_plane("one-x7", "two", "two", "3.6.6-0"));
    fixture.feed::<ControlPlane>(vec![Ok(Event::Apply(moved))]).await;
    assert_eq!(tag("one").as_deref(), Some("stray"));
    assert_eq!(tag("two").as_deref(), Some("3.6.6-0"));
}

#[tokio::test(start_paused = true)]
async fn the_catalog_follows_the_releases() {
    let fixture = Fixture::new();
    let names = || -> Vec<String> {
        let catalog = fixture.caches.catalog();
        catalog.releases().map(|row| row.name().to_owned()).collect()
    };
    let mut events = listed::<DeserializeGuard<_>>([
        release("r2", &json!({"version": "v1.35.1"})),
        release("r1", &json!({"version": "v1.34.3"})),
        release("no-version", &json!({"version": "1.34"})),
        release("no-range", &json!({"version": "v1.34.4", "upgradesFrom": "newer"})),
    ]);
    events.truncate(3);
    fixture.feed::<Row>(events).await;
    assert!(names().is_empty(), "a list counts when it is complete");
    assert_eq!(fixture.readiness.awaited(), ["kubernetesreleases"]);

    fixture
        .feed::<Row>(listed([
            release("r2", &json!({"version": "v1.35.1"})),
            release("r1", &json!({"version": "v1.34.3"})),
            release("no-version", &json!({"version": "1.34"})),
            release("no-range", &json!({"version": "v1.34.4", "upgradesFrom": "newer"})),
        ]))
        .await;
    assert_eq!(names(), ["r1", "r2"]);
    assert_eq!(fixture.caches.catalog().unreadable().len(), 1);
    let newer = object(release("r3", &json!({"version": "v1.36.0"})));
    let gone = object(release("r1", &json!({"version": "v1.34.3"})));
    fixture
        .feed::<Row>(vec![Ok(Event::Apply(newer)), Ok(Event::Delete(gone))])
        .await;
    assert_eq!(names(), ["r2", "r3"]);
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_may_be_absent_counts_as_empty() {
    let fixture = Fixture::new();
    let absent = || Err(refused(404));
    fixture
        .feed::<ControlPlane>(vec![Ok(Event::Init), absent(), Ok(Event::Init), absent()])
        .await;
    assert!(fixture.readiness.awaited().is_empty());
    let series = |kind: &str| format!("instar_watch_errors_total{{kind=\"{kind}\"}}");
    assert_eq!(fixture.metric(&series("kubeadmcontrolplanes")), "0");

    fixture.feed::<Row>(vec![Ok(Event::Init), Err(refused(404))]).await;
    assert_eq!(fixture.readiness.awaited(), ["kubernetesreleases"]);
    assert_eq!(fixture.metric(&series("kubernetesreleases")), "1");
}

#[tokio::test(start_paused = true)]
async fn an_error_keeps_what_is_known_and_waits_longer_each_time() {
    let fixture = Fixture::new();
    fixture
        .feed::<Pinned>(listed::<PartialObjectMeta<_>>([cluster("a", &["r1"])]))
        .await;
    let began = tokio::time::Instant::now();
    let errors = (0..5).flat_map(|_| [Ok(Event::Init), Err(refused(403))]).collect();
    fixture.feed::<Pinned>(errors).await;
    // 0.8, 1.6, 3.2, 6.4 and 12.8 s at the least: `Init` alone is no success.
    assert!(began.elapsed().as_secs() >= 24, "{:?}", began.elapsed());
    assert_eq!(fixture.caches.pinned_to("r1"), ["ns/a"]);
    assert_eq!(fixture.metric("instar_watch_errors_total{kind=\"clusters\"}"), "5");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_asks_for_time_gets_it() {
    let fixture = Fixture::new();
    let mut status = Status::failure("too many requests", "TooManyRequests").with_code(429);
    status.details = serde_json::from_value(json!({"retryAfterSeconds": 20})).unwrap();
    let error = Error::InitialListFailed(kube::Error::Api(status.boxed()));
    let began = tokio::time::Instant::now();
    fixture.feed::<Pinned>(vec![Err(error)]).await;
    assert!(began.elapsed().as_secs() >= 20, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_too_old_lists_anew_without_a_long_wait() {
    let fixture = Fixture::new();
    let expired = Status::failure("too old resource version", "Expired").with_code(410);
    let mut events: Vec<Result<Event<PartialObjectMeta<_>>, Error>> = (0..5).map(|_| Err(refused(503))).collect();
    events.push(Err(Error::WatchError(expired.boxed())));
    events.push(Ok(Event::Init));
    let mut polled = Vec::new();
    let events = stream::iter(events).inspect(|_| polled.push(tokio::time::Instant::now()));
    let synced = fixture.readiness.part("clusters");
    follow::<Pinned>(events, &fixture.caches, &synced, &fixture.watch_metrics).await;
    let waits: Vec<u64> = polled.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert!(waits[4] >= 12 && waits[5] < 2, "{waits:?}");
    assert_eq!(fixture.metric("instar_watch_errors_total{kind=\"clusters\"}"), "5");
}

#[test]
fn rules_name_what_is_watched() {
    fn same<K: Kept>() {
        let rule = K::KIND.rule();
        assert_eq!(rule.api_group, <K::Object as kube::Resource>::group(&()));
        assert_eq!(rule.resource, <K::Object as kube::Resource>::plural(&()));
    }
    same::<Pinned>();
    same::<Class>();
    same::<ControlPlane>();
    same::<Row>();
}
