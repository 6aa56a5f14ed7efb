//! What the server knows while it is fuzzed: its own caches, of a few objects.
//!
//! The Clusters: `topo` stands at v1.33.5, `going` is on its way to v1.34.3, `classic` has no topology, `gone` is
//! being deleted; `lab` is one for which a policy only warns. The class `bare` has no wiring, and no row has
//! an image for pools of the class `pool`.

use std::{collections::BTreeMap, sync::Arc};

use instar_api::KubernetesReleaseSpec;
use instar_capi::TemplateRef;
use instar_catalog::Catalog;
use instar_webhooks::Caches;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const INFRASTRUCTURE: &str = "infrastructure.cluster.x-k8s.io";
const BOOTSTRAP: &str = "bootstrap.cluster.x-k8s.io";
const CONTROL_PLANE: &str = "controlplane.cluster.x-k8s.io";

/// The pins of the Clusters `topo` and `going`.
const PINS: &str = r#"{"adopted":"","releases":{"v1.33.5":{"release":"r33","kubeadm":{"/spec/template/spec/kubeadmConfigSpec/clusterConfiguration/dns/imageTag":"v1.12.0","/spec/template/spec/kubeadmConfigSpec/clusterConfiguration/etcd/local/imageTag":"3.5.26-0"},"controlPlane":{"/spec/template/spec/image":"a-1.33.5"},"workers":{"/spec/template/spec/image":"a-1.33.5"},"machineDeployments":{},"machinePools":{}}}}"#;

/// The caches.
pub(crate) fn caches() -> Arc<Caches> {
    let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(500_000);
    Caches::of(&objects(now), now).expect("the world is well-formed")
}

fn objects(now: Timestamp) -> Vec<Value> {
    let rows = [
        ("r33", row("v1.33.5", "3.5.26-0", "v1.12.0")),
        ("r34", row("v1.34.3", "3.6.5-0", "v1.12.1")),
        ("r35", row("v1.35.4", "3.6.6-0", "v1.13.1")),
    ];
    let specs: Vec<(&str, KubernetesReleaseSpec)> = rows.iter().map(|(name, row)| (*name, read(row.clone()))).collect();
    let catalog = Catalog::new(specs.iter().map(|(name, row)| (*name, row)));
    let wired = instar_wiring::wire(&class("class"), &templates_of_class(), &catalog).expect("the class can be wired");
    let mut objects = vec![wired.class, class("bare"), policy()];
    objects.extend(rows.map(|(name, spec)| {
        json!({
            "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1", "kind": "KubernetesRelease",
            "metadata": {"name": name}, "spec": spec,
        })
    }));
    for (name, topology, versions) in [
        ("topo", Some("v1.33.5"), &["v1.33.5"][..]),
        ("going", Some("v1.34.3"), &["v1.33.5", "v1.34.3"]),
        ("classic", None, &["v1.33.5"]),
        ("lab", None, &["v1.33.5"]),
        ("gone", None, &["v1.33.5"]),
    ] {
        objects.push(cluster(name, topology, versions));
        if name != "gone" {
            objects.push(control_plane(name, topology.unwrap_or("v1.33.5"), versions));
        }
    }
    for cluster in ["topo", "going"] {
        let owned = json!({"topology.cluster.x-k8s.io/owned": ""});
        objects.push(worker(
            "MachineDeployment",
            cluster,
            &format!("{cluster}-md-0"),
            "v1.33.5",
            &owned,
        ));
        objects.push(worker(
            "MachineSet",
            cluster,
            &format!("{cluster}-by-hand"),
            "v1.31.0",
            &json!({}),
        ));
    }
    for (cluster, prefix) in [("classic", ""), ("lab", "lab-")] {
        let name = |name: &str| format!("{prefix}{name}");
        let mut pool = worker("MachineDeployment", cluster, &name("md"), "v1.33.5", &json!({}));
        pool["status"] =
            json!({"versions": [{"version": "v1.32.9", "replicas": 1}, {"version": "v1.33.5", "replicas": 1}]});
        let mut machine = worker("Machine", cluster, &name("m"), "v1.24.0", &json!({}));
        machine["spec"] = machine["spec"]["template"]["spec"].take();
        objects.extend([
            pool,
            worker("MachineSet", cluster, &name("ms"), "v1.30.0", &json!({})),
            worker("MachinePool", cluster, &name("mp"), "v1.33.5", &json!({})),
            machine,
        ]);
    }
    objects.extend([
        template("t", Some("classic"), "a-1.33.5"),
        template("t34", None, "a-1.34.3"),
        template("foreign", Some("other"), "a-1.34.3"),
        template("kept", Some("classic"), "a-1.33.5"),
    ]);
    objects.push(upgrade(
        "up",
        "going",
        &json!({"phase": "ControlPlane", "observedGeneration": 1, "path": ["r34"]}),
    ));
    let kept = json!([{
        "kind": "DevMachineTemplate", "name": "kept", "release": "r33", "state": "Kept",
        "keptUntil": (now + SignedDuration::from_hours(1)).to_string(),
    }]);
    let completed = json!({"phase": "Completed", "observedGeneration": 1, "path": ["r33"], "templates": kept});
    objects.push(upgrade("done", "classic", &completed));
    objects
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the world is well-formed")
}

fn row(version: &str, etcd: &str, dns: &str) -> Value {
    let image = format!("a-{}", version.trim_start_matches('v'));
    json!({
        "version": version, "upgradesFrom": ">=1.33.5, <1.36.0",
        "machineImages": [{"kind": "DevMachineTemplate", "values": [{"pointer": "/spec/template/spec/image", "value": image}]}],
        "components": {"etcd": {"imageTag": etcd}, "coreDNS": {"imageTag": dns}},
    })
}

fn policy() -> Value {
    json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1", "kind": "UpgradePolicy",
        "metadata": {"namespace": "ns", "name": "lab"},
        "spec": {
            "clusterSelector": {"matchLabels": {"tier": "lab"}},
            "rules": [
                {"rule": "worker-not-newer", "enforcement": "Warn"},
                {"rule": "template-in-use", "enforcement": "Off"},
                {"rule": "one-rollout", "enforcement": "Warn"},
            ],
        },
    })
}

fn cluster(name: &str, topology: Option<&str>, versions: &[&str]) -> Value {
    let mut cluster = json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
        "metadata": {"namespace": "ns", "name": name},
        "spec": {"controlPlaneRef": {"apiGroup": CONTROL_PLANE, "kind": "KubeadmControlPlane", "name": name}},
        "status": {"controlPlane": {"versions": counted(versions)}},
    });
    if let Some(version) = topology {
        cluster["metadata"]["annotations"] = json!({"upgrade.cluster.x-k8s.io/releases": PINS});
        cluster["spec"]["topology"] = json!({
            "classRef": {"name": "class"}, "version": version,
            "workers": {"machineDeployments": [{"name": "md-0", "class": "worker"}]},
        });
    }
    match name {
        "lab" => cluster["metadata"]["labels"] = json!({"tier": "lab"}),
        "gone" => cluster["metadata"]["deletionTimestamp"] = json!("2026-11-01T00:00:00Z"),
        _ => {}
    }
    cluster
}

fn counted(versions: &[&str]) -> Value {
    versions
        .iter()
        .map(|version| json!({"version": version, "replicas": 1}))
        .collect()
}

fn control_plane(cluster: &str, version: &str, versions: &[&str]) -> Value {
    json!({
        "apiVersion": format!("{CONTROL_PLANE}/v1beta2"), "kind": "KubeadmControlPlane",
        "metadata": {"namespace": "ns", "name": cluster, "labels": {"cluster.x-k8s.io/cluster-name": cluster}},
        "spec": {
            "version": version,
            "machineTemplate": {"spec": {"infrastructureRef": reference(INFRASTRUCTURE, "DevMachineTemplate", "t")}},
            "kubeadmConfigSpec": {"clusterConfiguration": {"etcd": {"local": {"imageTag": "3.5.26-0"}}}},
        },
        "status": {"versions": counted(versions)},
    })
}

fn worker(kind: &str, cluster: &str, name: &str, version: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": kind,
        "metadata": {"namespace": "ns", "name": name, "labels": labels},
        "spec": {"clusterName": cluster, "template": {"spec": {
            "clusterName": cluster, "version": version,
            "infrastructureRef": reference(INFRASTRUCTURE, "DevMachineTemplate", "t"),
            "bootstrap": {"configRef": reference(BOOTSTRAP, "KubeadmConfigTemplate", "t")},
        }}},
    })
}

fn reference(group: &str, kind: &str, name: &str) -> Value {
    json!({"apiGroup": group, "kind": kind, "name": name})
}

fn template(name: &str, cluster: Option<&str>, image: &str) -> Value {
    let labels = cluster.map(|cluster| json!({"cluster.x-k8s.io/cluster-name": cluster}));
    json!({
        "apiVersion": format!("{INFRASTRUCTURE}/v1beta2"), "kind": "DevMachineTemplate",
        "metadata": {"namespace": "ns", "name": name, "labels": labels},
        "spec": {"template": {"spec": {"image": image}}},
    })
}

fn upgrade(name: &str, cluster: &str, status: &Value) -> Value {
    json!({
        "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1", "kind": "ClusterUpgrade",
        "metadata": {"namespace": "ns", "name": name, "generation": 1},
        "spec": {"clusterName": cluster, "target": "v1.34.3"}, "status": status,
    })
}

fn template_ref(group: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": format!("{group}/v1beta2"), "kind": kind, "name": name})
}

fn class(name: &str) -> Value {
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "ClusterClass", "metadata": {"namespace": "ns", "name": name},
        "spec": {
            "controlPlane": {
                "templateRef": template_ref(CONTROL_PLANE, "KubeadmControlPlaneTemplate", "kcp"),
                "machineInfrastructure": {"templateRef": template_ref(INFRASTRUCTURE, "DevMachineTemplate", "cp")},
            },
            "workers": {"machineDeployments": [{
                "class": "worker",
                "infrastructure": {"templateRef": template_ref(INFRASTRUCTURE, "DevMachineTemplate", "w")},
            }], "machinePools": [{
                "class": "pool",
                "infrastructure": {"templateRef": template_ref(INFRASTRUCTURE, "DevMachinePoolTemplate", "p")},
            }]},
        },
    })
}

fn templates_of_class() -> BTreeMap<TemplateRef, Value> {
    let bare = json!({"spec": {"template": {"spec": {}}}});
    [
        template_ref(CONTROL_PLANE, "KubeadmControlPlaneTemplate", "kcp"),
        template_ref(INFRASTRUCTURE, "DevMachineTemplate", "cp"),
        template_ref(INFRASTRUCTURE, "DevMachineTemplate", "w"),
    ]
    .into_iter()
    .map(|reference| (read(reference), bare.clone()))
    .collect()
}
