//! What the server knows while it is measured: its own caches, of three Clusters, one wired class, two releases.

use std::{iter, sync::Arc};

use instar_api::KubernetesReleaseSpec;
use instar_catalog::Catalog;
use instar_webhooks::{AuditSink, Caches, OverriddenRule};
use jiff::Timestamp;
use serde_json::{Value, json};

pub(crate) const NAMESPACE: &str = "team-a";
/// A classic Cluster whose control plane is to be upgraded.
pub(crate) const PROD: &str = "prod";
/// A classic Cluster whose pools are to follow.
pub(crate) const STAGE: &str = "stage";
/// A topology Cluster with many pools.
pub(crate) const BIG: &str = "big";

const OLD: &str = "v1.33.5";
const NEW: &str = "v1.34.3";

/// The caches.
pub(crate) fn caches() -> anyhow::Result<Arc<Caches>> {
    // A day on which both releases are supported.
    let now = Timestamp::from_second(1_795_000_000)?;
    let rows = [
        ("r33", release(OLD, "3.5.26-0", "v1.12.1")),
        ("r34", release(NEW, "3.6.5-0", "v1.12.4")),
    ];
    let mut objects = vec![wired_class(&rows)?];
    objects.extend(rows.map(|(name, spec)| {
        json!({
            "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1", "kind": "KubernetesRelease",
            "metadata": {"name": name}, "spec": spec,
        })
    }));
    for (name, version, pools) in [(PROD, OLD, 6), (STAGE, NEW, 6), (BIG, OLD, 100)] {
        objects.extend([cluster(name, version), control_plane(name, version)]);
        objects.extend((0..pools).map(|pool| self::pool(name, pool)));
    }
    for (name, cluster, version) in [
        ("prod-control-plane-v1-33", PROD, OLD),
        ("prod-control-plane-v1-34", PROD, NEW),
        ("stage-md-0-v1-33", STAGE, OLD),
        ("stage-md-0-v1-34", STAGE, NEW),
    ] {
        let spec = json!({"template": {"spec": {"customImage": format!("kindest/node:{version}")}}});
        objects.push(template(
            "infrastructure",
            "DockerMachineTemplate",
            name,
            cluster,
            &spec,
        ));
    }
    let kubeadm = json!({"template": {"spec": {"joinConfiguration": {}}}});
    objects.push(template(
        "bootstrap",
        "KubeadmConfigTemplate",
        "stage-md-0",
        STAGE,
        &kubeadm,
    ));
    Ok(Caches::of(&objects, now)?)
}

fn release(version: &str, etcd: &str, dns: &str) -> Value {
    json!({
        "version": version,
        "machineImages": [{"kind": "DockerMachineTemplate", "values": [{"pointer": "/spec/template/spec/customImage", "value": format!("kindest/node:{version}")}]}],
        "components": {"etcd": {"imageTag": etcd}, "coreDNS": {"imageTag": dns}},
    })
}

fn wired_class(rows: &[(&str, Value)]) -> anyhow::Result<Value> {
    let specs: Vec<(&str, KubernetesReleaseSpec)> = rows
        .iter()
        .map(|(name, spec)| Ok((*name, serde_json::from_value(spec.clone())?)))
        .collect::<anyhow::Result<_>>()?;
    let catalog = Catalog::new(specs.iter().map(|(name, row)| (*name, row)));
    let reference = |group: &str, kind: &str| json!({"apiVersion": format!("{group}.cluster.x-k8s.io/v1beta2"), "kind": kind, "name": "t"});
    let machines = reference("infrastructure", "DockerMachineTemplate");
    let kubeadm = reference("controlplane", "KubeadmControlPlaneTemplate");
    let class = json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "ClusterClass", "metadata": {"namespace": NAMESPACE, "name": "class"},
        "spec": {
            "controlPlane": {"templateRef": kubeadm, "machineInfrastructure": {"templateRef": machines}},
            "workers": {"machineDeployments": [{"class": "default-worker", "infrastructure": {"templateRef": machines}}]},
        },
    });
    let template = json!({"spec": {"template": {"spec": {}}}});
    let templates = [
        (serde_json::from_value(machines)?, template.clone()),
        (serde_json::from_value(kubeadm)?, template),
    ];
    Ok(instar_wiring::wire(&class, &templates.into(), &catalog)?.class)
}

fn cluster(name: &str, version: &str) -> Value {
    let topology = (name == BIG).then(|| json!({"classRef": {"name": "class"}, "version": version}));
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
        "metadata": {"namespace": NAMESPACE, "name": name},
        "spec": {
            "controlPlaneRef": {
                "apiGroup": "controlplane.cluster.x-k8s.io", "kind": "KubeadmControlPlane",
                "name": format!("{name}-control-plane"),
            },
            "topology": topology,
        },
        "status": {"controlPlane": {"versions": [{"version": version, "replicas": 3}]}},
    })
}

fn control_plane(cluster: &str, version: &str) -> Value {
    json!({
        "apiVersion": "controlplane.cluster.x-k8s.io/v1beta2", "kind": "KubeadmControlPlane",
        "metadata": {
            "namespace": NAMESPACE, "name": format!("{cluster}-control-plane"), "generation": 1,
            "labels": {"cluster.x-k8s.io/cluster-name": cluster},
        },
        "spec": {"version": version, "kubeadmConfigSpec": {"clusterConfiguration": {"etcd": {"local": {"imageTag": "3.5.26-0"}}}}},
        "status": {
            "version": version, "versions": [{"version": version, "replicas": 3}],
            "conditions": [{"type": "RollingOut", "status": "False", "observedGeneration": 1}],
        },
    })
}

fn pool(cluster: &str, number: usize) -> Value {
    let owned = (cluster == BIG).then_some(("topology.cluster.x-k8s.io/owned", ""));
    let labels: Value = iter::once(("cluster.x-k8s.io/cluster-name", cluster))
        .chain(owned)
        .collect();
    let reference = |group: &str, kind: &str| {
        let group = format!("{group}.cluster.x-k8s.io");
        json!({"apiGroup": group, "kind": kind, "name": format!("{cluster}-md")})
    };
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "MachineDeployment",
        "metadata": {"namespace": NAMESPACE, "name": format!("{cluster}-md-{number:03}"), "labels": labels},
        "spec": {"clusterName": cluster, "template": {"spec": {
            "clusterName": cluster, "version": OLD,
            "infrastructureRef": reference("infrastructure", "DockerMachineTemplate"),
            "bootstrap": {"configRef": reference("bootstrap", "KubeadmConfigTemplate")},
        }}},
        "status": {"versions": [{"version": OLD, "replicas": 3}]},
    })
}

fn template(group: &str, kind: &str, name: &str, cluster: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": format!("{group}.cluster.x-k8s.io/v1beta2"), "kind": kind,
        "metadata": {"namespace": NAMESPACE, "name": name, "labels": {"cluster.x-k8s.io/cluster-name": cluster}},
        "spec": spec,
    })
}

/// No rule is overridden here.
pub(crate) struct Silent;

impl AuditSink for Silent {
    fn record(&self, _: OverriddenRule) {}
}
