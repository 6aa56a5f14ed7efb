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
        let of = |object: &&Value| {
            let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
            text("/spec/clusterName").is_none_or(|cluster| cluster == name)
        };
        let own: Vec<&Value> = objects.iter().filter(of).collect();
        let cluster = all::<Cluster>(&own, &mut unread);
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
        Some(Self {
            control_plane,
            machine_deployments: all(&own, &mut unread),
            machine_pools: all(&own, &mut unread),
            machines: all(&own, &mut unread),
            upgrades: all(&own, &mut unread),
            cluster,
            unread,
        })
    }
}

/// All of a kind, at any version: the views have what the versions have in common. What isn't as the kind should be, such as
/// a phase that only a newer Instar knows, is named.
pub fn all<K>(objects: &[&Value], unread: &mut Vec<String>) -> Vec<K>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let (group, kind) = (K::group(&()), K::kind(&()));
    let is = |object: &&&Value| {
        let api_version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        let its_group = api_version.split_once('/').map_or("", |(group, _)| group);
        its_group == group && object.get("kind").and_then(Value::as_str) == Some(&*kind)
    };
    let mut read = Vec::new();
    for object in objects.iter().filter(is) {
        match K::deserialize(*object) {
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
