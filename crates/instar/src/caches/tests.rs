//! Events in, answers out: no API server.

mod clusters;
mod memory;
mod upgrades;
mod workers;

use futures::{StreamExt, stream};
use instar_admission::cluster_state::ClusterState;
use instar_serve::Metrics;
use kube::{
    core::{DeserializeGuard, Status},
    runtime::watcher::{Error, Event},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

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

    /// Feeds the events of a watch, up to the last one.
    async fn feed<K: Cached>(&self, events: Vec<Result<Event<K::Object>, Error>>) {
        let synced = self.readiness.part(K::KIND.rule().resource);
        let mut watching = Watching::<K>::new(&self.caches, synced, &self.watch_metrics);
        follow(stream::iter(events), &mut watching, &mut DefaultBackoff::default()).await;
    }

    /// Feeds a list of these objects.
    async fn list<K: Cached>(&self, objects: impl IntoIterator<Item = Value>) {
        self.feed::<K>(listed(objects)).await;
    }

    /// Feeds a change of an object, or a new one.
    async fn apply<K: Cached>(&self, value: Value) {
        self.feed::<K>(vec![Ok(Event::Apply(object(value)))]).await;
    }

    /// Feeds the end of an object.
    async fn delete<K: Cached>(&self, value: Value) {
        self.feed::<K>(vec![Ok(Event::Delete(object(value)))]).await;
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

fn pinned(name: &str, releases: &[&str]) -> Value {
    let pins: serde_json::Map<String, Value> = releases
        .iter()
        .enumerate()
        .map(|(at, release)| (format!("v1.3{at}.0"), json!({"release": release})))
        .collect();
    let pins = json!({"adopted": "", "releases": pins}).to_string();
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
        "metadata": {"name": name, "namespace": "ns", "annotations": {instar_api::RELEASES_ANNOTATION: pins}},
        "spec": {},
    })
}

fn release(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1", "kind": "KubernetesRelease", "metadata": {"name": name}, "spec": spec})
}

/// The metadata of an object that a Cluster owns.
fn owned(name: &str, cluster: &str) -> Value {
    json!({
        "name": name, "namespace": "ns", "uid": "u", "resourceVersion": "7",
        "labels": {"cluster.x-k8s.io/cluster-name": cluster},
        "ownerReferences": [{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": cluster, "uid": "u"}],
        "managedFields": [{"manager": "manager", "operation": "Update"}],
    })
}

fn reference(kind: &str, name: &str) -> Value {
    let group = if kind.starts_with("Kubeadm") {
        "bootstrap.cluster.x-k8s.io"
    } else {
        "infrastructure.cluster.x-k8s.io"
    };
    json!({"apiGroup": group, "kind": kind, "name": name})
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
    fixture.feed::<Release>(events).await;
    assert!(names().is_empty(), "a list counts when it is complete");
    assert_eq!(fixture.readiness.awaited(), ["kubernetesreleases"]);

    fixture
        .feed::<Release>(listed([
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
        .feed::<Release>(vec![Ok(Event::Apply(newer)), Ok(Event::Delete(gone))])
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

    fixture.feed::<Release>(vec![Ok(Event::Init), Err(refused(404))]).await;
    assert_eq!(fixture.readiness.awaited(), ["kubernetesreleases"]);
    assert_eq!(fixture.metric(&series("kubernetesreleases")), "1");
}

#[tokio::test(start_paused = true)]
async fn an_error_keeps_what_is_known_and_waits_longer_each_time() {
    let fixture = Fixture::new();
    fixture.feed::<Cluster>(listed([pinned("a", &["r1"])])).await;
    let began = tokio::time::Instant::now();
    let errors = (0..5).flat_map(|_| [Ok(Event::Init), Err(refused(403))]).collect();
    fixture.feed::<Cluster>(errors).await;
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
    fixture.feed::<Cluster>(vec![Err(error)]).await;
    assert!(began.elapsed().as_secs() >= 20, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_too_old_lists_anew_without_a_long_wait() {
    let fixture = Fixture::new();
    let expired = Status::failure("too old resource version", "Expired").with_code(410);
    let mut events: Vec<Result<Event<DeserializeGuard<_>>, Error>> = (0..5).map(|_| Err(refused(503))).collect();
    events.push(Err(Error::WatchError(expired.boxed())));
    events.push(Ok(Event::Init));
    let mut polled = Vec::new();
    let events = stream::iter(events).inspect(|_| polled.push(tokio::time::Instant::now()));
    let synced = fixture.readiness.part("clusters");
    let mut watching = Watching::<Cluster>::new(&fixture.caches, synced, &fixture.watch_metrics);
    follow(events, &mut watching, &mut DefaultBackoff::default()).await;
    let waits: Vec<u64> = polled.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert!(waits[4] >= 12 && waits[5] < 2, "{waits:?}");
    assert_eq!(fixture.metric("instar_watch_errors_total{kind=\"clusters\"}"), "5");
}

#[test]
fn rules_name_what_is_watched() {
    fn same<K: Cached>() {
        let rule = K::KIND.rule();
        assert_eq!(rule.api_group, <K::Object as kube::Resource>::group(&()));
        assert_eq!(rule.resource, <K::Object as kube::Resource>::plural(&()));
    }
    for kind in Watched::ALL {
        match kind {
            Watched::Clusters => same::<Cluster>(),
            Watched::ClusterClasses => same::<Class>(),
            Watched::KubeadmControlPlanes => same::<ControlPlane>(),
            Watched::MachineDeployments => same::<Worker<MachineDeployment>>(),
            Watched::MachineSets => same::<Worker<MachineSet>>(),
            Watched::MachinePools => same::<Worker<MachinePool>>(),
            Watched::Machines => same::<Worker<Machine>>(),
            Watched::KubernetesReleases => same::<Release>(),
            Watched::ClusterUpgrades => same::<Upgrade>(),
            Watched::UpgradePolicies => same::<Policy>(),
        }
    }
}
