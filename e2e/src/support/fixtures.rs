//! Clusters for journeys: a ClusterClass on the in-memory infrastructure, and what runs on it.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use kube::{Api, ResourceExt, api::ListParams, core::DynamicObject, discovery::ApiResource};
use serde_json::{Value, json};

use crate::{
    mgmt::Mgmt,
    support::ledger::Pool,
    wait::{Seen, wait_for},
};

/// The ClusterClass `fixture` and its templates: a control plane, and the worker class
/// `default-worker`. No images, no variables, no delays.
pub const CLUSTER_CLASS: &str = include_str!("../../fixtures/clusterclass.yaml");

/// How long a cluster has to come up; CAPI's cluster cache alone takes 30 s.
pub const COMES_UP: Duration = Duration::from_mins(4);

/// How many machines a cluster has when nothing rolls.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    /// How many its control plane has.
    pub control_plane: usize,
    /// Its pools, and how many each has.
    pub pools: &'a [(&'a str, usize)],
}

impl Shape<'_> {
    /// How many there are in all.
    #[must_use]
    pub fn machines(&self) -> usize {
        self.control_plane + self.pools.iter().map(|(_, machines)| machines).sum::<usize>()
    }

    fn by_pool(&self) -> BTreeMap<Pool, usize> {
        let pools = self
            .pools
            .iter()
            .map(|(name, machines)| (Pool::Workers((*name).to_owned()), *machines));
        [(Pool::ControlPlane, self.control_plane)]
            .into_iter()
            .chain(pools)
            .collect()
    }
}

/// A Cluster of the class `fixture`.
#[derive(Debug, Clone)]
pub struct TopologyCluster<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// How many control plane machines it has.
    pub control_planes: usize,
    /// Its pools of workers: their names and sizes; at least one, says Cluster API.
    pub workers: &'a [(&'a str, usize)],
}

impl<'a> TopologyCluster<'a> {
    /// As an object to apply.
    #[must_use]
    pub fn object(&self) -> Value {
        let deployments: Vec<_> = self
            .workers
            .iter()
            .map(|(name, replicas)| json!({ "class": "default-worker", "name": name, "replicas": replicas }))
            .collect();
        json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2",
            "kind": "Cluster",
            "metadata": { "name": self.name },
            "spec": {
                "clusterNetwork": {
                    "services": { "cidrBlocks": ["10.128.0.0/12"] },
                    "pods": { "cidrBlocks": ["192.168.0.0/16"] },
                    "serviceDomain": "cluster.local",
                },
                "topology": {
                    "classRef": { "name": "fixture" },
                    "version": self.version,
                    "controlPlane": { "replicas": self.control_planes },
                    "workers": { "machineDeployments": deployments },
                },
            },
        })
    }

    /// How many machines it has when nothing rolls.
    #[must_use]
    pub const fn shape(&self) -> Shape<'a> {
        Shape {
            control_plane: self.control_planes,
            pools: self.workers,
        }
    }
}

/// What belongs to a Cluster, by the label that all of it has.
#[must_use]
pub fn of_cluster(cluster: &str) -> ListParams {
    ListParams::default().labels(&format!("cluster.x-k8s.io/cluster-name={cluster}"))
}

/// A kind of Cluster API's core, at the version that is stored.
#[must_use]
pub fn core_kind(kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: "cluster.x-k8s.io".to_owned(),
        version: "v1beta2".to_owned(),
        api_version: "cluster.x-k8s.io/v1beta2".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

/// Waits until each pool of a cluster has exactly these machines, all running at a version, with a node.
/// Their sum alone says too little: of a cluster that comes up, one pool may have one too many, which goes
/// again, while another's last is not there yet.
pub async fn wait_running(
    mgmt: &Mgmt,
    namespace: &str,
    cluster: &str,
    version: &str,
    shape: &Shape<'_>,
    deadline: Duration,
) -> Result<()> {
    let api: Api<DynamicObject> = Api::namespaced_with(mgmt.client(), namespace, &core_kind("Machine", "machines"));
    let selector = of_cluster(cluster);
    let (machines, expected) = (shape.machines(), shape.by_pool());
    let what = format!("{machines} machines of {namespace}/{cluster} to run at {version}");
    wait_for(&what, deadline, || async {
        let found = api.list(&selector).await?;
        let mut pools: BTreeMap<Pool, usize> = BTreeMap::new();
        for machine in &found {
            *pools.entry(Pool::of(machine)?).or_default() += 1;
        }
        if pools == expected && found.iter().all(|machine| state(machine, version).is_none()) {
            return Ok(());
        }
        let described: Vec<_> = found.iter().map(describe).collect();
        Err(Seen::from(format!(
            "{} machines: {}",
            found.items.len(),
            described.join(", ")
        )))
    })
    .await
}

/// Waits until Cluster API's controllers count as many machines in each pool of a cluster as it asks for.
/// One whose cache is behind would still make another, long after all that it asks for run. No generation is
/// compared: a KubeadmControlPlane writes its own only after a reconcile without an error, and the simulated API
/// server refuses its update of CoreDNS for ever.
pub async fn wait_counted(mgmt: &Mgmt, namespace: &str, cluster: &str, deadline: Duration) -> Result<()> {
    let control_planes = ApiResource {
        group: "controlplane.cluster.x-k8s.io".to_owned(),
        api_version: "controlplane.cluster.x-k8s.io/v1beta2".to_owned(),
        ..core_kind("KubeadmControlPlane", "kubeadmcontrolplanes")
    };
    let kinds = [control_planes, core_kind("MachineDeployment", "machinedeployments")];
    let selector = of_cluster(cluster);
    let what = format!("all machines of {namespace}/{cluster} to be counted");
    wait_for(&what, deadline, || async {
        for kind in &kinds {
            let api: Api<DynamicObject> = Api::namespaced_with(mgmt.client(), namespace, kind);
            for owner in api.list(&selector).await? {
                let at = |pointer: &str| owner.data.pointer(pointer).and_then(Value::as_i64);
                let wanted = at("/spec/replicas");
                let counts = ["/status/replicas", "/status/readyReplicas", "/status/upToDateReplicas"].map(at);
                if counts != [wanted; 3] {
                    return Err(Seen::from(format!(
                        "{} {}: {counts:?} of {wanted:?}",
                        kind.kind,
                        owner.name_any(),
                    )));
                }
            }
        }
        Ok(())
    })
    .await
}

/// What is missing for a machine to count.
fn state(machine: &DynamicObject, version: &str) -> Option<&'static str> {
    let text = |pointer: &str| machine.data.pointer(pointer).and_then(Value::as_str);
    if text("/spec/version") != Some(version) {
        Some("version")
    } else if text("/status/phase") != Some("Running") {
        Some("phase")
    } else if text("/status/nodeRef/name").is_none() {
        Some("node")
    } else if machine.metadata.deletion_timestamp.is_some() {
        // Its phase follows later.
        Some("deletion")
    } else {
        None
    }
}

fn describe(machine: &DynamicObject) -> String {
    let text = |pointer: &str| machine.data.pointer(pointer).and_then(Value::as_str).unwrap_or("none");
    format!(
        "{} ({}, {})",
        machine.name_any(),
        text("/spec/version"),
        text("/status/phase")
    )
}
