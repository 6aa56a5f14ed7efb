//! What the caches would know: three Clusters, one wired class, two releases.

use std::{collections::BTreeMap, sync::Arc};

use instar_admission::cluster_state::{
    CachedCluster, CachedTemplate, CachedUpgrade, CachedWorker, ClusterState, Kept, Lookup, TemplateKey, TemplateUser,
    Versions,
};
use instar_api::{KubernetesReleaseSpec, UpgradePolicySpec};
use instar_capi::{ClusterClass, KubeadmControlPlane, ManagedBy, Reference, WorkerKind};
use instar_catalog::Catalog;
use instar_domain::KubeVersion;
use instar_webhooks::{AuditSink, OverriddenRule};
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

pub(crate) struct World {
    catalog: Arc<Catalog>,
    class: Arc<ClusterClass>,
    clusters: BTreeMap<&'static str, Arc<CachedCluster>>,
    control_planes: BTreeMap<&'static str, Arc<KubeadmControlPlane>>,
    workers: BTreeMap<&'static str, Vec<CachedWorker>>,
    templates: BTreeMap<&'static str, Arc<CachedTemplate>>,
    policies: Vec<Arc<UpgradePolicySpec>>,
}

fn release(version: &str, etcd: &str, dns: &str) -> Value {
    json!({
        "version": version,
        "machineImages": [{"kind": "DockerMachineTemplate", "values": [{"pointer": "/spec/template/spec/customImage", "value": format!("kindest/node:{version}")}]}],
        "components": {"etcd": {"imageTag": etcd}, "coreDNS": {"imageTag": dns}},
    })
}

fn versions(version: &str) -> anyhow::Result<Versions> {
    let version: KubeVersion = version.parse()?;
    Ok(Versions {
        lowest: version.clone(),
        highest: version,
    })
}

impl World {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let rows: Vec<(&str, KubernetesReleaseSpec)> = vec![
            ("r33", serde_json::from_value(release(OLD, "3.5.26-0", "v1.12.1"))?),
            ("r34", serde_json::from_value(release(NEW, "3.6.5-0", "v1.12.4"))?),
        ];
        let catalog = Catalog::new(rows.iter().map(|(name, row)| (*name, row)));

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
        let wired = instar_wiring::wire(&class, &templates.into(), &catalog)?;

        let mut world = Self {
            catalog: Arc::new(catalog),
            class: Arc::new(serde_json::from_value(wired.class)?),
            clusters: BTreeMap::new(),
            control_planes: BTreeMap::new(),
            workers: BTreeMap::new(),
            templates: BTreeMap::new(),
            policies: Vec::new(),
        };
        for (name, version, pools) in [(PROD, OLD, 6), (STAGE, NEW, 6), (BIG, OLD, 100)] {
            world.add(name, version, pools)?;
        }
        for (name, cluster, version) in [
            ("prod-control-plane-v1-33", PROD, OLD),
            ("prod-control-plane-v1-34", PROD, NEW),
            ("stage-md-0-v1-33", STAGE, OLD),
            ("stage-md-0-v1-34", STAGE, NEW),
            ("stage-md-0", STAGE, OLD),
        ] {
            let seen = CachedTemplate {
                clusters: vec![cluster.to_owned()],
                release: None,
                spec: json!({"template": {"spec": {"customImage": format!("kindest/node:{version}")}}}).to_string(),
            };
            world.templates.insert(name, Arc::new(seen));
        }
        Ok(world)
    }

    fn add(&mut self, name: &'static str, version: &str, pools: usize) -> anyhow::Result<()> {
        let control_plane = json!({
            "metadata": {"namespace": NAMESPACE, "name": format!("{name}-control-plane")},
            "spec": {"version": version, "kubeadmConfigSpec": {"clusterConfiguration": {"etcd": {"local": {"imageTag": "3.5.26-0"}}}}},
            "status": {"version": version, "versions": [{"version": version, "replicas": 3}]},
        });
        self.control_planes
            .insert(name, Arc::new(serde_json::from_value(control_plane)?));
        let seen = CachedCluster {
            namespace: NAMESPACE.to_owned(),
            name: name.to_owned(),
            control_plane: Some(Reference {
                api_group: "controlplane.cluster.x-k8s.io".to_owned(),
                kind: "KubeadmControlPlane".to_owned(),
                name: format!("{name}-control-plane"),
            }),
            versions: Some(versions(version)?),
            ..CachedCluster::default()
        };
        self.clusters.insert(name, Arc::new(seen));
        let workers = (0..pools)
            .map(|n| {
                Ok(CachedWorker {
                    kind: WorkerKind::MachineDeployment,
                    name: format!("{name}-md-{n:03}"),
                    managed_by: if name == BIG {
                        ManagedBy::Topology
                    } else {
                        ManagedBy::User
                    },
                    versions: versions(OLD)?,
                })
            })
            .collect::<anyhow::Result<_>>()?;
        self.workers.insert(name, workers);
        Ok(())
    }
}

impl ClusterState for World {
    fn now(&self) -> Timestamp {
        // A day on which both releases are supported.
        Timestamp::from_second(1_795_000_000).unwrap_or_default()
    }

    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog)
    }

    fn class(&self, _namespace: &str, _name: &str) -> Option<Arc<ClusterClass>> {
        Some(Arc::clone(&self.class))
    }

    fn cluster(&self, _namespace: &str, name: &str) -> Option<Arc<CachedCluster>> {
        self.clusters.get(name).cloned()
    }

    fn clusters_of(&self, _class_namespace: &str, _class: &str) -> Vec<Arc<CachedCluster>> {
        self.clusters.get(BIG).cloned().into_iter().collect()
    }

    fn pinned_to(&self, _release: &str) -> Vec<String> {
        Vec::new()
    }

    fn upgrading_to(&self, _release: &str) -> Vec<String> {
        Vec::new()
    }

    fn control_plane(&self, _namespace: &str, cluster: &str) -> Option<Arc<KubeadmControlPlane>> {
        self.control_planes.get(cluster).cloned()
    }

    fn workers(&self, _namespace: &str, cluster: &str) -> Vec<CachedWorker> {
        self.workers.get(cluster).cloned().unwrap_or_default()
    }

    fn template(&self, template: &TemplateKey<'_>) -> Lookup<Arc<CachedTemplate>> {
        self.templates
            .get(template.name)
            .cloned()
            .map_or(Lookup::NotFound, Lookup::Found)
    }

    fn users_of(&self, _template: &TemplateKey<'_>) -> Vec<TemplateUser> {
        Vec::new()
    }

    fn kept(&self, _template: &TemplateKey<'_>) -> Option<Kept> {
        None
    }

    fn upgrades(&self, _namespace: &str, _cluster: &str) -> Vec<CachedUpgrade> {
        Vec::new()
    }

    fn policies(&self, _namespace: &str) -> Vec<Arc<UpgradePolicySpec>> {
        self.policies.clone()
    }
}

/// Nobody breaks a rule here.
pub(crate) struct Silent;

impl AuditSink for Silent {
    fn record(&self, _broken: OverriddenRule) {}
}
