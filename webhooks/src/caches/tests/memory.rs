//! What a fleet costs, for a look by hand:
//! `cargo test -p instar-webhooks --lib -- --ignored --nocapture what_a_fleet_costs`.

use std::fmt::Write;

use instar_admission::cluster_state::{Lookup, TemplateKey};

use super::*;

const CLUSTERS: usize = 1000;

/// What a process holds, in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}

/// What others write about themselves into every object.
fn metadata(name: &str, cluster: &str) -> Value {
    let mut metadata = owned(name, cluster);
    let fields: serde_json::Map<String, Value> = (0..30).map(|nth| (format!("f:field-{nth}"), json!({}))).collect();
    let entry = json!({"manager": "manager", "operation": "Update", "apiVersion": "cluster.x-k8s.io/v1beta2", "fieldsType": "FieldsV1", "fieldsV1": fields});
    metadata["managedFields"] = json!([entry, entry, entry]);
    metadata
}

fn conditions() -> Value {
    let condition = |nth: usize| json!({"type": format!("Condition{nth}"), "status": "True", "reason": "AllIsWell", "message": "", "lastTransitionTime": "2026-11-21T12:00:00Z", "observedGeneration": 3});
    (0..12).map(condition).collect()
}

fn cluster(name: &str) -> Value {
    let mut values = String::new();
    for nth in 0..6 {
        let _ = write!(
            values,
            r#""/spec/template/spec/field{nth}": "registry.example.org/image:{nth}","#
        );
    }
    let values: Value = serde_json::from_str(&format!("{{{}}}", values.trim_end_matches(','))).unwrap();
    let pin = json!({"release": "v1.35.1-1", "kubeadm": {}, "controlPlane": values, "workers": values, "machineDeployments": {}, "machinePools": {}});
    let pins = json!({"adopted": "", "releases": {"v1.34.3": pin, "v1.35.1": pin}}).to_string();
    let mut metadata = metadata(name, name);
    metadata["annotations"] = json!({instar_api::RELEASES_ANNOTATION: pins});
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "metadata": metadata,
        "spec": {
            "controlPlaneRef": {"apiGroup": "controlplane.cluster.x-k8s.io", "kind": "KubeadmControlPlane", "name": format!("{name}-cp")},
            "topology": {
                "classRef": {"name": "class"}, "version": "v1.35.1",
                "workers": {"machineDeployments": [{"name": "md-0", "class": "worker"}]},
                "variables": (0..10).map(|nth| json!({"name": format!("variable-{nth}"), "value": "some text"})).collect::<Value>(),
            },
        },
        "status": {"conditions": conditions(), "controlPlane": {"versions": [{"version": "v1.35.1", "replicas": 3}]}},
    })
}

fn control_plane(name: &str) -> Value {
    let file =
        |nth: usize| json!({"path": format!("/etc/kubernetes/{nth}"), "content": "a line of some text\n".repeat(45)});
    json!({
        "apiVersion": "controlplane.cluster.x-k8s.io/v1beta2", "kind": "KubeadmControlPlane",
        "metadata": metadata(&format!("{name}-cp"), name),
        "spec": {
            "version": "v1.35.1", "replicas": 3,
            "machineTemplate": {"spec": {"infrastructureRef": reference("DevMachineTemplate", &format!("{name}-cp-x7b2k"))}},
            "kubeadmConfigSpec": {
                "clusterConfiguration": {"etcd": {"local": {"imageTag": "3.6.5-0"}}, "dns": {"imageTag": "v1.12.1"}},
                "files": (0..8).map(file).collect::<Value>(),
            },
        },
        "status": {"conditions": conditions(), "version": "v1.35.1", "versions": [{"version": "v1.35.1", "replicas": 3}]},
    })
}

fn pool(name: &str, cluster: &str) -> Value {
    json!({
        "metadata": metadata(name, cluster),
        "spec": {
            "clusterName": cluster, "replicas": 3,
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {
                    "clusterName": cluster, "version": "v1.35.1",
                    "infrastructureRef": reference("DevMachineTemplate", &format!("{cluster}-md-0-p9c4z")),
                    "bootstrap": {"configRef": reference("KubeadmConfigTemplate", &format!("{cluster}-md-0-d8v2q"))},
                },
            },
        },
        "status": {"conditions": conditions(), "versions": [{"version": "v1.35.1", "replicas": 3}]},
    })
}

/// As it comes: text, that is read and dropped.
fn put<K: Cached>(fixture: &Fixture, value: Value) {
    let text = value.to_string();
    drop(value);
    let object = serde_json::from_str(&text).unwrap();
    fixture.feed::<K>([Event::Apply(object)]);
}

fn put_template(fixture: &Fixture, name: &str, spec: &Value) {
    let template = json!({
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2", "kind": "DevMachineTemplate",
        "metadata": owned(name, "one"), "spec": spec,
    });
    fixture.caches.templates.put(&template).unwrap();
}

#[test]
#[ignore = "a figure to look at, of a process that does nothing else"]
fn what_a_fleet_costs() {
    let fixture = Fixture::new();
    let mut before = resident();
    let mut since = |what: &str| {
        let now = resident();
        println!(
            "{what}: {} KiB, {} B for each Cluster",
            now.saturating_sub(before),
            now.saturating_sub(before) * 1024 / CLUSTERS
        );
        before = now;
    };
    let names: Vec<String> = (0..CLUSTERS).map(|nth| format!("cluster-{nth:05}")).collect();
    println!(
        "a KubeadmControlPlane has {} B",
        control_plane("cluster-00000").to_string().len()
    );
    since("names");
    for name in &names {
        put::<Cluster>(&fixture, cluster(name));
    }
    since("Clusters");
    for name in &names {
        put::<ControlPlane>(&fixture, control_plane(name));
    }
    since("KubeadmControlPlanes");
    for name in &names {
        put::<Worker<MachineDeployment>>(&fixture, pool(&format!("{name}-md-0-7hq2x"), name));
    }
    since("MachineDeployments");
    for name in &names {
        put::<Worker<MachineSet>>(&fixture, pool(&format!("{name}-md-0-7hq2x-p4xw8"), name));
    }
    since("MachineSets");
    let fields = (0..12).map(|nth| (format!("field{nth}"), json!("some text")));
    let spec = json!({"template": {"spec": {"backend": fields.collect::<serde_json::Map<_, _>>()}}});
    for name in &names {
        put_template(&fixture, &format!("{name}-md-0-p9c4z"), &spec);
    }
    since("templates");
    let key = TemplateKey {
        group: "infrastructure.cluster.x-k8s.io",
        kind: "DevMachineTemplate",
        namespace: "ns",
        name: "cluster-00999-md-0-p9c4z",
    };
    assert!(matches!(fixture.caches.template(&key), Lookup::Found(_)));
    assert_eq!(fixture.caches.users_of(&key).len(), 2);
}
