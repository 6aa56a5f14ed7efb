//! Events in, answers out: no API server.

mod clusters;
mod foreign;
mod memory;
mod upgrades;
mod workers;

use instar_admission::cluster_state::ClusterState;
use instar_api::CatalogName;
use instar_watch::{Guarded, Sink, WatchState};
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

#[derive(Default)]
struct Fixture {
    caches: Arc<Caches>,
}

impl Fixture {
    fn new() -> Self {
        Self::default()
    }

    /// Feeds the events of a watch, up to the last one.
    fn feed<K: Cached>(&self, events: impl IntoIterator<Item = Event<K::Object>>) {
        let mut sink = self.caches.sink::<K>();
        for event in events {
            sink.apply(event);
        }
    }

    /// Feeds a list of these objects.
    fn list<K: Cached>(&self, objects: impl IntoIterator<Item = Value>) {
        self.feed::<K>(listed(objects));
    }

    /// Feeds a change of an object, or a new one.
    fn apply<K: Cached>(&self, value: Value) {
        self.feed::<K>([Event::Apply(object(value))]);
    }

    /// Feeds the end of an object.
    fn delete<K: Cached>(&self, value: Value) {
        self.feed::<K>([Event::Delete(object(value))]);
    }
}

fn object<O: DeserializeOwned>(value: Value) -> O {
    serde_json::from_value(value).unwrap()
}

fn listed<O: DeserializeOwned>(objects: impl IntoIterator<Item = Value>) -> Vec<Event<O>> {
    let objects = objects.into_iter().map(|value| Event::InitApply(object(value)));
    [Event::Init]
        .into_iter()
        .chain(objects)
        .chain([Event::InitDone])
        .collect()
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

#[test]
fn the_catalog_follows_the_releases() {
    let fixture = Fixture::new();
    let names = || -> Vec<String> {
        let catalog = fixture.caches.catalog(&CatalogName::default());
        catalog.releases().map(|row| row.name().to_owned()).collect()
    };
    let of_test = || fixture.caches.catalog(&CatalogName::from("test")).releases().count();
    let mut events = listed::<Guarded<_>>([
        release("r2", &json!({"version": "v1.35.1"})),
        release("r1", &json!({"version": "v1.34.3"})),
        release("no-version", &json!({"version": "1.34"})),
        release("no-range", &json!({"version": "v1.34.4", "upgradesFrom": "newer"})),
    ]);
    events.truncate(3);
    fixture.feed::<Release>(events);
    assert!(names().is_empty(), "a list counts when it is complete");

    fixture.feed::<Release>(listed([
        release("r2", &json!({"version": "v1.35.1"})),
        release("r1", &json!({"version": "v1.34.3"})),
        release("no-version", &json!({"version": "1.34"})),
        release("no-range", &json!({"version": "v1.34.4", "upgradesFrom": "newer"})),
    ]));
    assert_eq!(names(), ["r1", "r2"]);
    assert_eq!(fixture.caches.catalog(&CatalogName::default()).unreadable().len(), 1);
    let newer = object(release("r3", &json!({"version": "v1.36.0"})));
    let gone = object(release("r1", &json!({"version": "v1.34.3"})));
    fixture.feed::<Release>([Event::Apply(newer), Event::Delete(gone)]);
    assert_eq!((names(), of_test()), (vec!["r2".to_owned(), "r3".to_owned()], 0));
    let elsewhere = object(release("r4", &json!({"version": "v1.36.0", "catalog": "test"})));
    fixture.feed::<Release>([Event::Apply(elsewhere)]);
    assert_eq!((names(), of_test()), (vec!["r2".to_owned(), "r3".to_owned()], 1));
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

#[test]
fn kinds_that_may_be_absent_are_those_of_other_providers() {
    fn optional<K: Cached>() -> bool {
        K::PRESENCE == instar_watch::Presence::Optional
    }
    assert!(optional::<ControlPlane>());
    assert!(!optional::<Cluster>() && !optional::<Class>() && !optional::<Release>() && !optional::<Policy>());
    assert!(!optional::<Upgrade>() && !optional::<Worker<MachineDeployment>>() && !optional::<Worker<MachineSet>>());
    assert!(!optional::<Worker<MachinePool>>() && !optional::<Worker<Machine>>());
}

#[test]
fn a_kind_that_is_not_served_is_forgotten() {
    let fixture = Fixture::new();
    fixture.list::<Release>([release("r1", &json!({"version": "v1.34.3"}))]);
    let mut sink = fixture.caches.sink::<Release>();
    sink.set_state(WatchState::Watching);
    assert_eq!(fixture.caches.catalog(&CatalogName::default()).releases().count(), 1);
    sink.set_state(WatchState::NotServed);
    assert_eq!(fixture.caches.catalog(&CatalogName::default()).releases().count(), 0);
}
