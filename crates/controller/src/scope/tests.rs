use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::http::{Request, Response};
use futures::{future::select_all, stream};
use instar_serve::{Metrics, Readiness};
use instar_watch::Key;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::{sync::mpsc::unbounded_channel, time::timeout};

use super::*;
use crate::{caches::Caches, metrics::register_watches};

fn scope(namespace: &str, filter: &str) -> Scope {
    Scope {
        namespaces: namespaces(namespace).unwrap(),
        filter: watch_filter(filter).unwrap(),
    }
}

#[test]
fn without_a_value_every_cluster_is_looked_after() {
    assert!(scope("", "").is_whole());
    for (filter, label, takes) in [
        ("", None, true),
        ("", Some("a"), true),
        ("a", None, false),
        ("a", Some("a"), true),
        ("a", Some("b"), false),
        ("a", Some(""), false),
    ] {
        assert_eq!(watch_filter(filter).unwrap().takes(label), takes, "{filter} {label:?}");
    }
}

#[test]
fn each_scope_has_a_lease_of_its_own() {
    let longest = "a".repeat(63);
    let mut names = BTreeSet::new();
    for namespace in ["", "a", "b", "a-b", &longest] {
        for filter in ["", "a", "b", "a-b", &longest] {
            let scope = scope(namespace, filter);
            let name = scope.lease_name();
            assert!(name.len() <= 253, "{name}");
            assert_eq!(namespaces_of_lease(&name), Some(scope.namespaces), "{name}");
            assert!(names.insert(name));
        }
    }
    assert_eq!(scope("", "").lease_name(), "instar-controller");
    assert_eq!(scope("", "a").lease_name(), "instar-controller-a");
    assert_eq!(scope("team", "a").lease_name(), "instar-controller-a.team");
    for other in ["kube-scheduler", "instar-controllers", "instar", "my-instar-controller"] {
        assert_eq!(namespaces_of_lease(other), None, "{other}");
    }
}

#[test]
fn what_no_lease_can_be_named_for_is_refused_in_words() {
    let long = "a".repeat(64);
    for wrong in ["A", "a_b", "a.b", "-a", "a-", " ", "ä", &long] {
        assert_eq!(namespaces(wrong), Err(ScopeError::Namespace), "{wrong}");
        assert_eq!(watch_filter(wrong), Err(ScopeError::Filter), "{wrong}");
    }
    assert_eq!(
        ScopeError::Filter.to_string(),
        "the controller's Lease is named instar-controller-VALUE: use lower-case letters, digits and hyphens, 63 \
         characters at most, and give the Clusters the label cluster.x-k8s.io/watch-filter with that value"
    );
}

/// An API server that has these Clusters and nothing else, and the paths of the lists that it was asked for.
fn server(clusters: Vec<Value>) -> (Client, Arc<Mutex<BTreeSet<String>>>) {
    let listed = Arc::<Mutex<BTreeSet<String>>>::default();
    let seen = Arc::clone(&listed);
    let answer = move |request: Request<Body>| {
        let uri = request.uri();
        let body = if uri.query().unwrap_or_default().contains("watch=true") {
            axum::body::Body::from_stream(stream::pending::<io::Result<Vec<u8>>>())
        } else {
            seen.lock().unwrap().insert(uri.path().to_owned());
            let items = if uri.path().ends_with("/clusters") {
                clusters.clone()
            } else {
                Vec::new()
            };
            let list =
                json!({ "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": "1" }, "items": items });
            list.to_string().into()
        };
        std::future::ready(Ok::<_, kube::Error>(Response::new(body)))
    };
    (Client::new(tower::service_fn(answer), "default"), listed)
}

async fn caches(namespaces: &Namespaces, clusters: Vec<Value>) -> (Arc<Caches>, Vec<String>) {
    let (client, listed) = server(clusters);
    let (wake, _woken) = unbounded_channel();
    let metrics = register_watches(&Metrics::default());
    let (caches, watches) = Caches::watched(&client, namespaces, &wake, &Readiness::default(), &metrics);
    tokio::select! {
        (ended, ..) = select_all(watches) => panic!("the watch of {ended} ended"),
        listed = timeout(Duration::from_mins(1), caches.listed()) => listed.unwrap(),
    }
    let listed = listed.lock().unwrap().iter().cloned().collect();
    (caches, listed)
}

#[tokio::test]
async fn one_namespace_is_watched_and_what_no_namespace_has() {
    let (_, all) = caches(&Namespaces::All, Vec::new()).await;
    assert!(all.iter().all(|path| !path.contains("/namespaces/")), "{all:?}");
    let (_, one) = caches(&Namespaces::One("team".into()), Vec::new()).await;
    assert_eq!(
        one,
        [
            // A Cluster may name a class of another namespace, and its catalog is that of the class.
            "/apis/cluster.x-k8s.io/v1beta2/clusterclasses",
            "/apis/cluster.x-k8s.io/v1beta2/namespaces/team/clusters",
            "/apis/cluster.x-k8s.io/v1beta2/namespaces/team/machinedeployments",
            "/apis/cluster.x-k8s.io/v1beta2/namespaces/team/machinepools",
            "/apis/cluster.x-k8s.io/v1beta2/namespaces/team/machines",
            "/apis/cluster.x-k8s.io/v1beta2/namespaces/team/machinesets",
            "/apis/controlplane.cluster.x-k8s.io/v1beta2/namespaces/team/kubeadmcontrolplanes",
            "/apis/upgrade.cluster.x-k8s.io/v1alpha1/kubernetesreleases",
            "/apis/upgrade.cluster.x-k8s.io/v1alpha1/namespaces/team/clusterupgrades",
            "/apis/upgrade.cluster.x-k8s.io/v1alpha1/namespaces/team/upgradepolicies",
        ]
    );
}

#[tokio::test]
async fn a_cluster_is_looked_after_by_the_controller_that_its_label_names() {
    let cluster = |name: &str, labels: Value, paused: Value| {
        json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
            "metadata": { "name": name, "namespace": "n", "uid": name, "resourceVersion": "1", "labels": labels },
            "spec": { "paused": paused },
        })
    };
    let of = |value: &str| json!({ "cluster.x-k8s.io/watch-filter": value });
    let (caches, _) = caches(
        &Namespaces::All,
        vec![
            cluster("in-a", of("a"), json!(false)),
            cluster("in-b", of("b"), json!(false)),
            cluster("in-none", json!({}), json!(false)),
            cluster("unreadable-in-a", of("a"), json!("no boolean")),
            cluster("unreadable-in-b", of("b"), json!("no boolean")),
        ],
    )
    .await;
    let taken = |filter: &str| {
        let filter = watch_filter(filter).unwrap();
        // Of one that isn't there, each record says by its own label whose it is.
        let names = [
            "in-a",
            "in-b",
            "in-none",
            "unreadable-in-a",
            "unreadable-in-b",
            "missing",
        ];
        let names = names
            .into_iter()
            .filter(|name| caches.is_taken(&filter, &Key::new("n", name)));
        names.collect::<Vec<_>>()
    };
    assert_eq!(taken("").len(), 6);
    assert_eq!(taken("a"), ["in-a", "unreadable-in-a", "missing"]);
    assert_eq!(taken("c"), ["missing"]);
}
