//! A Cluster and what belongs to it, from objects as they are read or stand in files.

use instar_api::ClusterUpgrade;
use instar_capi::{Cluster, Machine, MachineDeployment, MachinePool};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A Cluster and what belongs to it.
#[derive(Clone, Debug)]
pub struct ClusterObjects {
    /// The Cluster.
    pub cluster: Cluster,
    /// The object that `spec.controlPlaneRef` names, whole, of any provider; absent where there is none, or where it can't
    /// be read.
    pub control_plane: Option<Value>,
    /// Its MachineDeployments.
    pub machine_deployments: Vec<MachineDeployment>,
    /// Its MachinePools.
    pub machine_pools: Vec<MachinePool>,
    /// Its Machines.
    pub machines: Vec<Machine>,
    /// Its ClusterUpgrades, finished ones too.
    pub upgrades: Vec<ClusterUpgrade>,
    /// What couldn't be read, each with the reason.
    pub unread: Vec<String>,
}

impl ClusterObjects {
    /// What of these objects belongs to the Cluster; other objects are left out, also those of other Clusters. Absent where
    /// the Cluster isn't among them. What isn't as its kind should be is left out too, and named.
    #[must_use]
    pub fn of(name: &str, objects: &[Value]) -> Option<Self> {
        let mut unread = Vec::new();
        let cluster = all::<Cluster>(objects, &mut unread);
        let cluster = cluster.into_iter().find(|cluster| cluster.name_any() == name)?;
        let control_plane = cluster.spec.control_plane_ref.as_ref().and_then(|reference| {
            let is = |object: &&Value| {
                let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
                let group = text("/apiVersion").split_once('/').map_or("", |(group, _)| group);
                (group, text("/kind"), text("/metadata/name"))
                    == (&reference.api_group, &reference.kind, &reference.name)
            };
            objects.iter().find(is).cloned()
        });
        let machine_deployments = all::<MachineDeployment>(objects, &mut unread);
        let machine_pools = all::<MachinePool>(objects, &mut unread);
        let machines = all::<Machine>(objects, &mut unread);
        let upgrades = all::<ClusterUpgrade>(objects, &mut unread);
        let of = |spec: &str| spec == name;
        Some(Self {
            control_plane,
            machine_deployments: kept(machine_deployments, |object| of(&object.spec.cluster_name)),
            machine_pools: kept(machine_pools, |object| of(&object.spec.cluster_name)),
            machines: kept(machines, |object| of(&object.spec.cluster_name)),
            upgrades: kept(upgrades, |object| of(&object.spec.cluster_name)),
            cluster,
            unread,
        })
    }
}

fn kept<K>(mut objects: Vec<K>, is: impl Fn(&K) -> bool) -> Vec<K> {
    objects.retain(is);
    objects
}

/// All of a kind, at any version: the views have what the versions have in common.
fn all<K>(objects: &[Value], unread: &mut Vec<String>) -> Vec<K>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let (group, kind) = (K::group(&()), K::kind(&()));
    let is = |object: &&Value| {
        let api_version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        let its_group = api_version.split_once('/').map_or("", |(group, _)| group);
        its_group == group && object.get("kind").and_then(Value::as_str) == Some(&*kind)
    };
    let mut read = Vec::new();
    for object in objects.iter().filter(is) {
        match K::deserialize(object) {
            Ok(typed) => read.push(typed),
            Err(error) => {
                let name = object
                    .pointer("/metadata/name")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                unread.push(format!("{kind} {name}: {error}"));
            }
        }
    }
    read
}
