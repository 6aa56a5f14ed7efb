//! Clusters, their classes, their control planes.

use std::collections::BTreeMap;

use instar_admission::{
    cluster_state::Versions,
    template::{self, Deleter},
};
use instar_capi::Lifecycle;
use instar_capi::Reference;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::*;

#[test]
fn pins_say_which_release_is_in_use() {
    let fixture = Fixture::new();
    let mut events = listed([pinned("b", &["r1", "r2"]), pinned("a", &["r2"])]);
    events.push(Event::Apply(object(json!({
        "metadata": {"name": "plain", "namespace": "ns"}, "spec": {},
    }))));
    events.push(Event::Apply(object(json!({
        "metadata": {"name": "garbled", "namespace": "ns", "annotations": {instar_api::RELEASES_ANNOTATION: "r2"}},
        "spec": {"paused": true},
    }))));
    fixture.feed::<Cluster>(events);
    assert_eq!(fixture.caches.pinned_to("r1"), ["ns/b"]);
    assert_eq!(fixture.caches.pinned_to("r2"), ["ns/a", "ns/b"]);
    assert!(fixture.caches.pinned_to("r3").is_empty());
    assert_eq!(fixture.caches.clusters.read().len(), 4);
    // Pins that can't be read hide nothing else.
    let garbled = fixture.caches.cluster("ns", "garbled").unwrap();
    assert_eq!(
        (garbled.lifecycle, garbled.pins.as_deref()),
        (Lifecycle::Paused, Some("r2"))
    );

    fixture.delete::<Cluster>(pinned("b", &[]));
    fixture.apply::<Cluster>(pinned("a", &["r3"]));
    assert!(fixture.caches.pinned_to("r1").is_empty());
    assert!(fixture.caches.pinned_to("r2").is_empty());
    assert_eq!(fixture.caches.pinned_to("r3"), ["ns/a"]);
    assert_eq!(fixture.caches.cluster("ns", "b"), None);
}

fn of_class(name: &str, class: &Value) -> Value {
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
        "metadata": {"name": name, "namespace": "ns", "labels": {"tier": "gold"}, "managedFields": []},
        "spec": {
            "controlPlaneRef": {
                "apiGroup": "controlplane.cluster.x-k8s.io", "kind": "KubeadmControlPlane", "name": "cp",
            },
            "topology": {
                "classRef": class, "version": "v1.35.1", "workers": {"machineDeployments": [{"name": "md", "class": "w"}]},
                "variables": [{"name": "much", "value": "text"}],
            },
        },
        "status": {"controlPlane": {"versions": [
            {"version": "v1.35.1", "replicas": 1}, {"version": "v1.34.3", "replicas": 2},
        ]}},
    })
}

#[test]
fn a_cluster_is_found_by_its_name_and_by_its_class() {
    let fixture = Fixture::new();
    fixture.list::<Cluster>([
        of_class("two", &json!({"name": "c"})),
        of_class("one", &json!({"name": "c", "namespace": "ns"})),
        of_class("elsewhere", &json!({"name": "c", "namespace": "classes"})),
        pinned("classic", &[]),
    ]);
    let names = |namespace: &str| -> Vec<String> {
        let clusters = fixture.caches.clusters_of(namespace, "c");
        clusters.iter().map(|cluster| cluster.name.clone()).collect()
    };
    assert_eq!(names("ns"), ["one", "two"]);
    assert_eq!(names("classes"), ["elsewhere"]);

    let cluster = fixture.caches.cluster("ns", "one").unwrap();
    assert_eq!((cluster.namespace.as_str(), cluster.name.as_str()), ("ns", "one"));
    assert_eq!(cluster.lifecycle, Lifecycle::Active);
    assert_eq!(cluster.labels, [("tier".to_owned(), "gold".to_owned())].into());
    let versions = Versions {
        lowest: "v1.34.3".parse().unwrap(),
        highest: "v1.35.1".parse().unwrap(),
    };
    assert_eq!(cluster.versions, Some(versions));
    assert_eq!(
        cluster.control_plane,
        Some(Reference {
            api_group: "controlplane.cluster.x-k8s.io".to_owned(),
            kind: "KubeadmControlPlane".to_owned(),
            name: "cp".to_owned(),
        })
    );
    let topology = cluster.topology.as_ref().unwrap();
    assert_eq!(topology.version, "v1.35.1");
    assert_eq!(topology.workers.machine_deployments[0].class, "w");

    fixture.apply::<Cluster>(of_class("one", &json!({"name": "d"})));
    let mut deleted = of_class("two", &json!({"name": "c"}));
    deleted["metadata"]["deletionTimestamp"] = json!("2026-11-21T12:00:00Z");
    fixture.apply::<Cluster>(deleted);
    assert_eq!(names("ns"), ["two"]);
    assert_eq!(
        fixture.caches.cluster("ns", "two").unwrap().lifecycle,
        Lifecycle::Deleting
    );
    // A list in which they are no more.
    fixture.list::<Cluster>([]);
    assert!(names("ns").is_empty());
}

#[test]
fn a_cluster_that_cannot_be_read_hides_no_other() {
    let fixture = Fixture::new();
    let mut odd = of_class("odd", &json!({"name": "c"}));
    odd["spec"]["topology"] = json!("c");
    fixture.list::<Cluster>([odd.clone(), of_class("one", &json!({"name": "c"}))]);
    assert_eq!(fixture.caches.cluster("ns", "odd"), None);
    assert!(fixture.caches.cluster("ns", "one").is_some());
    odd["metadata"]["name"] = json!("one");
    fixture.apply::<Cluster>(odd);
    assert_eq!(fixture.caches.cluster("ns", "one"), None);
    assert!(fixture.caches.clusters_of("ns", "c").is_empty());
}

#[test]
fn a_class_keeps_its_spec_and_the_etcd_annotation_alone() {
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
    fixture.list::<Class>([class, unreadable]);
    let class = fixture.caches.class("ns", "c").unwrap();
    assert_eq!(class.spec.kubernetes_versions, ["v1.34.3"]);
    assert_eq!(
        serde_json::to_value(&class.metadata).unwrap(),
        json!({"name": "c", "namespace": "ns", "annotations": {instar_api::ETCD_ANNOTATION: "external"}})
    );
    assert!(fixture.caches.class("ns", "bad").is_none());
    assert!(fixture.caches.class("other", "c").is_none());
}

#[test]
fn a_control_plane_is_found_by_its_cluster() {
    let fixture = Fixture::new();
    let control_plane = |name: &str, cluster: &str, owner: &str, tag: &str| {
        let mut metadata = owned(name, owner);
        metadata["labels"]["cluster.x-k8s.io/cluster-name"] = json!(cluster);
        json!({
            "metadata": metadata,
            "spec": {"version": "v1.34.3", "kubeadmConfigSpec": {"clusterConfiguration": {"etcd": {"local": {"imageTag": tag}}}}},
            "status": {"version": "v1.33.7", "versions": [{"version": "v1.33.7", "replicas": 3}]},
        })
    };
    let tag = |cluster: &str| {
        let found = fixture.caches.control_plane("ns", cluster)?;
        let spec = &found.spec.kubeadm_config_spec;
        spec.cluster_configuration.etcd.local.image_tag.clone()
    };
    let mut unlabelled = control_plane("three", "three", "three", "unlabelled");
    unlabelled["metadata"]["labels"] = json!({});
    fixture.list::<ControlPlane>([
        control_plane("a-stray", "one", "other", "stray"),
        control_plane("one-x7", "one", "one", "3.6.5-0"),
        unlabelled,
        json!({"metadata": {"name": "nobodys", "namespace": "ns"}, "spec": {"version": "v1.34.3"}}),
    ]);
    assert_eq!(tag("one").as_deref(), Some("3.6.5-0"));
    assert_eq!(tag("two"), None);
    assert_eq!(tag("three").as_deref(), Some("unlabelled"));
    let status = fixture
        .caches
        .control_plane("ns", "one")
        .unwrap()
        .status
        .clone()
        .unwrap();
    assert_eq!(status.version.as_deref(), Some("v1.33.7"));
    assert_eq!(status.versions[0].version, "v1.33.7");

    fixture.apply::<ControlPlane>(control_plane("one-x7", "two", "two", "3.6.6-0"));
    assert_eq!(tag("one").as_deref(), Some("stray"));
    assert_eq!(tag("two").as_deref(), Some("3.6.6-0"));
}

#[test]
fn an_unreadable_cluster_keeps_its_releases_in_use() {
    let fixture = Fixture::new();
    let mut cluster = pinned("bad", &["r1"]);
    cluster["spec"]["paused"] = json!("yes");
    fixture.list::<Cluster>([pinned("good", &["r1"]), cluster]);
    assert_eq!(fixture.caches.pinned_to("r1"), ["ns/good", "ns/bad"]);
    assert_eq!(fixture.caches.cluster("ns", "bad"), None);
    assert!(fixture.caches.cluster("ns", "good").is_some());
}

#[test]
fn a_template_of_a_class_stays_while_clusters_of_other_namespaces_use_it() {
    let group = "infrastructure.cluster.x-k8s.io";
    let class = json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "ClusterClass",
        "metadata": {"name": "c", "namespace": "ns"},
        "spec": {"controlPlane": {"machineInfrastructure": {"templateRef": {
            "apiVersion": format!("{group}/v1beta2"), "kind": "DevMachineTemplate", "name": "t",
        }}}},
    });
    let cluster = |namespace: &str, paused: bool| {
        let mut cluster = of_class("one", &json!({"name": "c", "namespace": "ns"}));
        cluster["metadata"]["namespace"] = json!(namespace);
        cluster["spec"]["paused"] = json!(paused);
        cluster
    };
    let annotations = BTreeMap::from([(instar_capi::labels::DELETE_FOR_MOVE.to_owned(), String::new())]);
    let metadata = ObjectMeta {
        name: Some("t".to_owned()),
        namespace: Some("ns".to_owned()),
        annotations: Some(annotations),
        ..ObjectMeta::default()
    };
    for (others_are_paused, refused) in [(false, 1), (true, 0)] {
        let objects = [class.clone(), cluster("ns", true), cluster("team", others_are_paused)];
        let caches = Caches::of(&objects, Timestamp::UNIX_EPOCH).unwrap();
        let found = template::delete(group, "DevMachineTemplate", &metadata, Deleter::OfClusters, &*caches);
        assert_eq!(found.len(), refused, "{found:?}");
    }
}
