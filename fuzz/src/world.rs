//! A fixed world behind `ClusterState`: what the seeds of the reviews are about, and a little more.
//!
//! In the namespace `ns`: the topology Cluster `topo` at v1.33.5, of the wired class `class`; `going`,
//! in the middle of a rollout to v1.34.3; the classic `classic` with workers of every kind; `gone`,
//! which is being deleted; `lab`, for which a policy only warns. The class `bare` has no wiring, and no row has
//! an image for pools of the class `pool`.

use std::{collections::BTreeMap, sync::Arc};

use instar_admission::cluster_state::{
    CachedCluster, CachedTemplate, CachedUpgrade, CachedWorker, ClusterState, Kept, Lookup, TemplateKey, TemplateUser,
    Versions,
};
use instar_api::{KubernetesReleaseSpec, UpgradePolicySpec};
use instar_capi::{ClusterClass, KubeadmControlPlane, Lifecycle, ManagedBy, Reference, TemplateRef, WorkerKind};
use instar_catalog::Catalog;
use instar_domain::KubeVersion;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The pins of the Cluster `topo`.
const PINS: &str = r#"{"adopted":"","releases":{"v1.33.5":{"release":"r33","kubeadm":{"/spec/template/spec/kubeadmConfigSpec/clusterConfiguration/dns/imageTag":"v1.12.0","/spec/template/spec/kubeadmConfigSpec/clusterConfiguration/etcd/local/imageTag":"3.5.26-0"},"controlPlane":{"/spec/template/spec/image":"a-1.33.5"},"workers":{"/spec/template/spec/image":"a-1.33.5"},"machineDeployments":{},"machinePools":{}}}}"#;

pub(crate) struct World {
    catalog: Arc<Catalog>,
    wired: Arc<ClusterClass>,
    bare: Arc<ClusterClass>,
    policies: Vec<Arc<UpgradePolicySpec>>,
}

impl World {
    pub(crate) fn new() -> Self {
        let rows: Vec<(String, KubernetesReleaseSpec)> = [
            ("r33", "v1.33.5", "3.5.26-0", "v1.12.0"),
            ("r34", "v1.34.3", "3.6.5-0", "v1.12.1"),
            ("r35", "v1.35.4", "3.6.6-0", "v1.13.1"),
        ]
        .into_iter()
        .map(|(name, version, etcd, dns)| (name.to_owned(), read(row(version, etcd, dns))))
        .collect();
        let catalog = Catalog::new(rows.iter().map(|(name, row)| (name.as_str(), row)));
        let object = class();
        let wired = instar_wiring::wire(&object, &templates(), &catalog).expect("the class can be wired");
        Self {
            catalog: Arc::new(catalog),
            wired: Arc::new(read(wired.class)),
            bare: Arc::new(read(object)),
            policies: vec![Arc::new(read(json!({
                "clusterSelector": {"matchLabels": {"tier": "lab"}},
                "rules": [
                    {"rule": "worker-not-newer", "enforcement": "Warn"},
                    {"rule": "template-in-use", "enforcement": "Off"},
                    {"rule": "one-rollout", "enforcement": "Warn"},
                ],
            })))],
        }
    }

    fn seen(name: &str) -> Option<CachedCluster> {
        let topology = |version: &str| {
            Some(read(json!({
                "classRef": {"name": "class"}, "version": version,
                "workers": {"machineDeployments": [{"name": "md-0", "class": "worker"}]},
            })))
        };
        let (topology, pins, versions) = match name {
            "topo" => (topology("v1.33.5"), Some(PINS), Some(versions("v1.33.5", "v1.33.5"))),
            "going" => (topology("v1.34.3"), Some(PINS), Some(versions("v1.33.5", "v1.34.3"))),
            "classic" | "lab" | "gone" => (None, None, Some(versions("v1.33.5", "v1.33.5"))),
            _ => return None,
        };
        let labels = match name {
            "lab" => BTreeMap::from([("tier".to_owned(), "lab".to_owned())]),
            _ => BTreeMap::new(),
        };
        Some(CachedCluster {
            namespace: "ns".to_owned(),
            name: name.to_owned(),
            labels,
            lifecycle: if name == "gone" {
                Lifecycle::Deleting
            } else {
                Lifecycle::Active
            },
            topology,
            pins: pins.map(str::to_owned),
            control_plane: Some(reference("controlplane.cluster.x-k8s.io", "KubeadmControlPlane", name)),
            versions,
        })
    }
}

impl ClusterState for World {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(500_000)
    }

    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog)
    }

    fn class(&self, namespace: &str, name: &str) -> Option<Arc<ClusterClass>> {
        match (namespace, name) {
            ("ns", "class") => Some(Arc::clone(&self.wired)),
            ("ns", "bare") => Some(Arc::clone(&self.bare)),
            _ => None,
        }
    }

    fn cluster(&self, namespace: &str, name: &str) -> Option<Arc<CachedCluster>> {
        (namespace == "ns").then(|| Self::seen(name).map(Arc::new)).flatten()
    }

    fn clusters_of(&self, class_namespace: &str, class: &str) -> Vec<Arc<CachedCluster>> {
        let clusters: &[&str] = if (class_namespace, class) == ("ns", "class") {
            &["topo", "going"]
        } else {
            &[]
        };
        clusters
            .iter()
            .filter_map(|name| Self::seen(name))
            .map(Arc::new)
            .collect()
    }

    fn pinned_to(&self, release: &str) -> Vec<String> {
        let clusters: &[&str] = if release == "r33" {
            &["ns/topo", "ns/going"]
        } else {
            &[]
        };
        clusters.iter().map(ToString::to_string).collect()
    }

    fn upgrading_to(&self, release: &str) -> Vec<String> {
        let upgrades: &[&str] = if release == "r34" { &["ns/up"] } else { &[] };
        upgrades.iter().map(ToString::to_string).collect()
    }

    fn control_plane(&self, namespace: &str, cluster: &str) -> Option<Arc<KubeadmControlPlane>> {
        let (asked, status) = match (namespace, cluster) {
            ("ns", "topo" | "classic" | "lab") => ("v1.33.5", json!([{"version": "v1.33.5", "replicas": 3}])),
            ("ns", "going") => (
                "v1.34.3",
                json!([{"version": "v1.33.5", "replicas": 2}, {"version": "v1.34.3", "replicas": 1}]),
            ),
            _ => return None,
        };
        Some(Arc::new(read(json!({
            "apiVersion": "controlplane.cluster.x-k8s.io/v1beta2", "kind": "KubeadmControlPlane",
            "metadata": {"namespace": "ns", "name": cluster},
            "spec": {
                "version": asked,
                "machineTemplate": {"spec": {"infrastructureRef": reference(INFRASTRUCTURE, "DevMachineTemplate", "t")}},
                "kubeadmConfigSpec": {"clusterConfiguration": {"etcd": {"local": {"imageTag": "3.5.26-0"}}}},
            },
            "status": {"versions": status},
        }))))
    }

    fn workers(&self, namespace: &str, cluster: &str) -> Vec<CachedWorker> {
        let worker = |kind, name: &str, managed_by, lowest: &str, highest: &str| CachedWorker {
            kind,
            name: name.to_owned(),
            managed_by,
            versions: versions(lowest, highest),
        };
        match (namespace, cluster) {
            ("ns", "topo" | "going") => vec![
                worker(
                    WorkerKind::MachineDeployment,
                    "md-0",
                    ManagedBy::Topology,
                    "v1.33.5",
                    "v1.33.5",
                ),
                worker(WorkerKind::MachineSet, "by-hand", ManagedBy::User, "v1.31.0", "v1.31.0"),
            ],
            ("ns", "classic" | "lab") => vec![
                worker(
                    WorkerKind::MachineDeployment,
                    "md",
                    ManagedBy::User,
                    "v1.32.9",
                    "v1.33.5",
                ),
                worker(WorkerKind::MachineSet, "ms", ManagedBy::User, "v1.30.0", "v1.30.0"),
                worker(WorkerKind::MachinePool, "mp", ManagedBy::User, "v1.33.5", "v1.33.5"),
                worker(WorkerKind::Machine, "m", ManagedBy::User, "v1.24.0", "v1.24.0"),
            ],
            _ => Vec::new(),
        }
    }

    fn template(&self, template: &TemplateKey<'_>) -> Lookup<Arc<CachedTemplate>> {
        if template.group != INFRASTRUCTURE && template.group != BOOTSTRAP {
            return Lookup::Unavailable(format!("nobody watches {}", template.group));
        }
        let (clusters, image): (&[&str], _) = match (template.namespace, template.name) {
            ("ns", "t") => (&["classic"], "a-1.33.5"),
            ("ns", "t34") => (&[], "a-1.34.3"),
            ("ns", "foreign") => (&["other"], "a-1.34.3"),
            _ => return Lookup::NotFound,
        };
        Lookup::Found(Arc::new(CachedTemplate {
            clusters: clusters.iter().map(ToString::to_string).collect(),
            release: None,
            spec: json!({"template": {"spec": {"image": image}}}).to_string(),
        }))
    }

    fn users_of(&self, template: &TemplateKey<'_>) -> Vec<TemplateUser> {
        match (template.namespace, template.name) {
            ("ns", "t") => vec![TemplateUser {
                kind: "MachineDeployment".to_owned(),
                name: "md".to_owned(),
                cluster: Some("classic".to_owned()),
            }],
            _ => Vec::new(),
        }
    }

    fn kept(&self, template: &TemplateKey<'_>) -> Option<Kept> {
        ((template.namespace, template.name) == ("ns", "kept")).then(|| Kept {
            upgrade: "up".to_owned(),
            cluster: "classic".to_owned(),
            until: Some(self.now() + jiff::SignedDuration::from_hours(1)),
        })
    }

    fn upgrades(&self, namespace: &str, cluster: &str) -> Vec<CachedUpgrade> {
        match (namespace, cluster) {
            ("ns", "going") => vec![CachedUpgrade {
                name: "up".to_owned(),
                target: "v1.34.3".to_owned(),
                path: vec!["r34".to_owned()],
            }],
            _ => Vec::new(),
        }
    }

    fn policies(&self, namespace: &str) -> Vec<Arc<UpgradePolicySpec>> {
        if namespace == "ns" {
            self.policies.clone()
        } else {
            Vec::new()
        }
    }
}

const INFRASTRUCTURE: &str = "infrastructure.cluster.x-k8s.io";
const BOOTSTRAP: &str = "bootstrap.cluster.x-k8s.io";

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the world is well-formed")
}

fn version(text: &str) -> KubeVersion {
    text.parse().expect("a version")
}

fn versions(lowest: &str, highest: &str) -> Versions {
    Versions {
        lowest: version(lowest),
        highest: version(highest),
    }
}

fn reference(group: &str, kind: &str, name: &str) -> Reference {
    Reference {
        api_group: group.to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
    }
}

fn row(version: &str, etcd: &str, dns: &str) -> Value {
    let image = format!("a-{}", version.trim_start_matches('v'));
    json!({
        "version": version, "upgradesFrom": ">=1.33.5, <1.36.0",
        "machineImages": [{"kind": "DevMachineTemplate", "values": [{"pointer": "/spec/template/spec/image", "value": image}]}],
        "components": {"etcd": {"imageTag": etcd}, "coreDNS": {"imageTag": dns}},
    })
}

fn template_ref(group: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": format!("{group}/v1beta2"), "kind": kind, "name": name})
}

fn class() -> Value {
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "ClusterClass", "metadata": {"namespace": "ns", "name": "class"},
        "spec": {
            "controlPlane": {
                "templateRef": template_ref("controlplane.cluster.x-k8s.io", "KubeadmControlPlaneTemplate", "kcp"),
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

fn templates() -> BTreeMap<TemplateRef, Value> {
    let bare = json!({"spec": {"template": {"spec": {}}}});
    [
        template_ref("controlplane.cluster.x-k8s.io", "KubeadmControlPlaneTemplate", "kcp"),
        template_ref(INFRASTRUCTURE, "DevMachineTemplate", "cp"),
        template_ref(INFRASTRUCTURE, "DevMachineTemplate", "w"),
    ]
    .into_iter()
    .map(|reference| (read(reference), bare.clone()))
    .collect()
}
