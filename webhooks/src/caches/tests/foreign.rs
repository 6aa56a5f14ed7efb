//! Control planes of other providers.

use instar_admission::{
    cluster_state::{Lookup, TemplateKey, TemplateUser, UnseenControlPlane, Versions, running},
    template::{Deleter, delete},
};
use instar_watch::Unavailable;

use super::*;

const GROUP: &str = "controlplane.cluster.x-k8s.io";
const INFRASTRUCTURE: &str = "infrastructure.cluster.x-k8s.io";
const K3S: &str = "KThreesControlPlane";

/// A Cluster that refers to a control plane of its own name.
fn cluster(name: &str, kind: &str) -> Value {
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "metadata": {"name": name, "namespace": "ns"},
        "spec": {"controlPlaneRef": {"apiGroup": GROUP, "kind": kind, "name": name}},
    })
}

fn control_plane(name: &str, kind: &str, spec: &Value, status: &Value) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1beta1"), "kind": kind, "metadata": owned(name, name),
        "spec": spec, "status": status,
    })
}

fn template(name: &str) -> TemplateKey<'_> {
    TemplateKey {
        group: INFRASTRUCTURE,
        kind: "DevMachineTemplate",
        namespace: "ns",
        name,
    }
}

impl Fixture {
    /// A Cluster with its control plane, of a kind that is listed.
    fn with_control_plane(&self, name: &str, kind: &str, spec: &Value, status: &Value) {
        self.apply::<Cluster>(cluster(name, kind));
        self.put(&control_plane(name, kind, spec, status));
    }

    fn put(&self, control_plane: &Value) {
        self.caches.foreign_control_planes.put(control_plane).unwrap();
    }

    fn is_in_state(&self, kind: &str, state: WatchState) {
        let cache = self
            .caches
            .foreign_control_planes
            .watches
            .cache(&format!("{GROUP} {kind}"));
        drop(cache.unwrap().set_state(state));
    }

    fn users(&self, name: &str) -> Vec<(String, String, Option<String>)> {
        let users = self.caches.users_of(&template(name)).into_iter();
        users
            .map(|TemplateUser { kind, name, cluster }| (kind, name, cluster))
            .collect()
    }

    /// What is said to the deletion of a machine template.
    fn deletion(&self, metadata: &Value) -> Vec<String> {
        let metadata = serde_json::from_value(metadata.clone()).unwrap();
        let findings = delete(
            INFRASTRUCTURE,
            "DevMachineTemplate",
            &metadata,
            Deleter::Other,
            &*self.caches,
        );
        findings.iter().map(ToString::to_string).collect()
    }
}

#[test]
fn a_template_is_in_use_wherever_a_control_plane_names_it() {
    let of_v1beta1 =
        json!({"apiVersion": format!("{INFRASTRUCTURE}/v1beta1"), "kind": "DevMachineTemplate", "name": "t"});
    let of_v1beta2 = reference("DevMachineTemplate", "t");
    let fixture = Fixture::new();
    for (kind, spec) in [
        (
            K3S,
            json!({"machineTemplate": {"spec": {"infrastructureRef": of_v1beta2}}}),
        ),
        (
            "K0sControlPlane",
            json!({"machineTemplate": {"infrastructureRef": of_v1beta1}}),
        ),
        ("TalosControlPlane", json!({"infrastructureTemplate": of_v1beta1})),
        (
            "RKE2ControlPlane",
            json!({"infrastructureRef": of_v1beta1, "machineTemplate": {"infrastructureRef": of_v1beta1}}),
        ),
        (
            "MicroK8sControlPlane",
            json!({"machineTemplate": {"infrastructureTemplate": of_v1beta1}}),
        ),
    ] {
        fixture.with_control_plane("c", kind, &spec, &json!({}));
        let user = (kind.to_owned(), "c".to_owned(), Some("c".to_owned()));
        assert_eq!(fixture.users("t"), [user], "{spec}");
        assert_eq!(
            fixture.deletion(&json!({"namespace": "ns", "name": "t"})),
            [format!(
                "DevMachineTemplate ns/t: metadata.name: {kind} c refers to it; point to another template first, and wait until no machine is made from this one [rule template-in-use]"
            )]
        );
        assert!(fixture.users("u").is_empty());
        // Its kind is watched for that reason alone.
        assert!(!matches!(fixture.caches.template(&template("t")), Lookup::Found(_)));
        assert_eq!(
            fixture.caches.templates.kinds_of_machines(),
            [format!("{INFRASTRUCTURE} DevMachineTemplate")]
        );

        let other = json!({"machineTemplate": {"spec": {"infrastructureRef": reference("DevMachineTemplate", "u")}}});
        fixture.put(&control_plane("c", kind, &other, &json!({})));
        assert!(fixture.users("t").is_empty(), "{spec}");
        let mut deleted = control_plane("c", kind, &other, &json!({}));
        deleted["metadata"]["deletionTimestamp"] = json!("2026-11-21T12:00:00Z");
        fixture.put(&deleted);
        assert!(fixture.users("u").is_empty(), "{spec}");
    }
}

#[test]
fn one_that_cannot_be_decoded_keeps_its_template_in_use() {
    let fixture = Fixture::new();
    let spec = json!({"machineTemplate": {"infrastructureRef": reference("DevMachineTemplate", "t")}});
    let mut unreadable = control_plane("c", K3S, &spec, &json!({}));
    unreadable["metadata"]["generation"] = json!("one");
    fixture.apply::<Cluster>(cluster("c", K3S));
    fixture.put(&unreadable);
    assert_eq!(
        fixture.users("t"),
        [(K3S.to_owned(), "c".to_owned(), Some("c".to_owned()))]
    );
    assert!(fixture.caches.unseen_control_planes("ns").is_empty());
}

#[test]
fn only_kinds_that_a_cluster_refers_to_are_watched() {
    let fixture = Fixture::new();
    fixture.list::<Cluster>([cluster("kubeadm", "KubeadmControlPlane"), pinned("fresh", &[])]);
    let kinds = || fixture.caches.foreign_control_planes.watches.kinds();
    assert!(kinds().is_empty());
    fixture.apply::<Cluster>(cluster("k3s", K3S));
    let names: Vec<String> = kinds().iter().map(|kind| kind.as_str().to_owned()).collect();
    assert_eq!(names, [format!("{GROUP} {K3S}")]);
}

#[test]
fn what_it_runs_counts_where_the_cluster_does_not_say_it() {
    let versions = |lowest: &str, highest: &str| {
        Some(Versions {
            lowest: lowest.parse().unwrap(),
            highest: highest.parse().unwrap(),
        })
    };
    let asked = json!({"version": "v1.34.3+k3s1"});
    for (spec, status, expected) in [
        (
            &asked,
            json!({"version": "v1.33.5+k3s1", "versions": [
                {"version": "v1.33.5+k3s1", "replicas": 2}, {"version": "v1.34.3+k3s1", "replicas": 1},
                {"version": "v1.32.0+k3s1", "replicas": 0},
            ]}),
            versions("v1.33.5+k3s1", "v1.34.3+k3s1"),
        ),
        (
            &asked,
            json!({"version": "1.33.5+k3s1"}),
            versions("v1.33.5+k3s1", "v1.34.3+k3s1"),
        ),
        (&asked, json!({}), versions("v1.34.3+k3s1", "v1.34.3+k3s1")),
        (&asked, Value::Null, versions("v1.34.3+k3s1", "v1.34.3+k3s1")),
        // The mark of the distribution is written in one field and not in the other.
        (
            &asked,
            json!({"version": "v1.34.3"}),
            versions("v1.34.3+k3s1", "v1.34.3+k3s1"),
        ),
        (
            &json!({"version": "v1.34.3-k0s.0"}),
            json!({"version": "v1.34.3+k0s.0"}),
            versions("v1.34.3-k0s.0", "v1.34.3-k0s.0"),
        ),
        (&json!({"version": "v1.30"}), json!({}), None),
        (&json!({"version": 35}), json!({"version": 7}), None),
        (
            &json!({}),
            json!({"version": "v1.33.5"}),
            versions("v1.33.5", "v1.33.5"),
        ),
    ] {
        let fixture = Fixture::new();
        fixture.with_control_plane("c", K3S, spec, &status);
        assert_eq!(running(&*fixture.caches, "ns", "c"), expected, "{spec} {status}");
        assert_eq!(running(&*fixture.caches, "ns", "other"), None);
    }

    let fixture = Fixture::new();
    let mut says = cluster("c", K3S);
    says["status"]["controlPlane"]["versions"] = json!([{"version": "v1.33.5+k3s1", "replicas": 3}]);
    fixture.apply::<Cluster>(says);
    fixture.put(&control_plane("c", K3S, &asked, &json!({})));
    assert_eq!(
        running(&*fixture.caches, "ns", "c"),
        versions("v1.33.5+k3s1", "v1.33.5+k3s1"),
        "the Cluster says it"
    );
}

#[test]
fn of_a_kind_that_cannot_be_listed_it_is_said_to_whom_it_concerns() {
    let fixture = Fixture::new();
    let mut going = cluster("going", "TalosControlPlane");
    going["metadata"]["deletionTimestamp"] = json!("2026-11-21T12:00:00Z");
    fixture.list::<Cluster>([
        cluster("a", K3S),
        cluster("b", K3S),
        cluster("rke2", "RKE2ControlPlane"),
        cluster("kubeadm", "KubeadmControlPlane"),
        going,
    ]);
    fixture.is_in_state("RKE2ControlPlane", WatchState::Watching);
    let unseen = |name: &str, kind: &str, why: &str| UnseenControlPlane {
        kind: kind.to_owned(),
        name: name.to_owned(),
        cluster: name.to_owned(),
        why: why.to_owned(),
    };
    let pending = "its kind is not listed yet";
    assert_eq!(
        fixture.caches.unseen_control_planes("ns"),
        [
            unseen("a", K3S, pending),
            unseen("b", K3S, pending),
            unseen("going", "TalosControlPlane", pending)
        ]
    );
    assert!(fixture.caches.unseen_control_planes("other").is_empty());

    fixture.is_in_state(
        K3S,
        WatchState::Unavailable(Unavailable::Forbidden {
            verb: "list",
            resource: "kthreescontrolplanes".to_owned(),
        }),
    );
    let said = |which: &str| {
        vec![format!(
            "DevMachineTemplate ns/t: metadata.name: KThreesControlPlane {which} may refer to it and can't be looked at: no right to list kthreescontrolplanes; apply the role of its provider (config/providers), or leave this rule off [rule template-unseen]"
        )]
    };
    for (metadata, expected) in [
        (json!({"namespace": "ns", "name": "t"}), said("a and 1 more")),
        (owned("t", "b"), said("b")),
        // One Cluster's trouble is never another's.
        (owned("t", "rke2"), Vec::new()),
        (owned("t", "kubeadm"), Vec::new()),
        (owned("t", "going"), Vec::new()),
        (json!({"namespace": "other", "name": "t"}), Vec::new()),
    ] {
        assert_eq!(fixture.deletion(&metadata), expected, "{metadata}");
    }

    // Where its kind isn't installed, nothing of it is.
    fixture.is_in_state(K3S, WatchState::Unavailable(Unavailable::NotServed));
    assert!(fixture.deletion(&owned("t", "b")).is_empty());
}

#[test]
fn a_cluster_that_cannot_be_decoded_keeps_its_templates() {
    let fixture = Fixture::new();
    let unreadable = |name: &str, kind: &str| {
        let mut cluster = cluster(name, kind);
        cluster["spec"]["paused"] = json!("until-monday");
        cluster
    };
    let mut k3s = unreadable("k3s", K3S);
    fixture.list::<Cluster>([k3s.clone(), unreadable("kubeadm", "KubeadmControlPlane")]);
    fixture.list::<ControlPlane>([json!({
        "metadata": owned("kubeadm", "kubeadm"),
        "spec": {"version": "v1.34.3", "machineTemplate": {"spec": {"infrastructureRef": reference("DevMachineTemplate", "t")}}},
    })]);
    let said = [
        "DevMachineTemplate ns/t: metadata.name: KubeadmControlPlane kubeadm refers to it; point to another template first, and wait until no machine is made from this one [rule template-in-use]",
    ];
    assert_eq!(fixture.deletion(&owned("t", "kubeadm")), said);
    let of_k3s = json!({"namespace": "ns", "name": "u", "labels": {"cluster.x-k8s.io/cluster-name": "k3s"}});
    assert_eq!(
        fixture.deletion(&of_k3s),
        [
            "DevMachineTemplate ns/u: metadata.name: KThreesControlPlane k3s may refer to it and can't be looked at: its kind is not watched; apply the role of its provider (config/providers), or leave this rule off [rule template-unseen]"
        ]
    );
    k3s["metadata"]["deletionTimestamp"] = json!("2026-11-21T12:00:00Z");
    fixture.apply::<Cluster>(k3s);
    assert!(fixture.deletion(&of_k3s).is_empty());
}
