//! A Cluster and what belongs to it, from objects as they are read or stand in files.

use std::fmt;

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

/// An object that isn't as its kind should be, such as one with a phase that only a newer Instar knows.
#[derive(Clone, Debug)]
pub struct Unreadable<'v> {
    /// The object.
    pub object: &'v Value,
    /// Its kind.
    pub kind: String,
    /// The field that can't be read, such as `status.phase`; `.` where it is the object itself.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
}

impl Unreadable<'_> {
    /// A text of the object; empty where it has none there.
    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

impl fmt::Display for Unreadable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, field, why, .. } = self;
        write!(f, "{kind} {}: {field}: {why}", self.text("/metadata/name"))
    }
}

/// All of a kind, at any version: the views have what the versions have in common. What isn't as the kind should be is named.
pub fn all<K>(objects: &[&Value], unread: &mut Vec<String>) -> Vec<K>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let (read, unreadable) = read_all(objects);
    unread.extend(unreadable.iter().map(ToString::to_string));
    read
}

/// The same, with what can't be read as it stands.
#[must_use]
pub fn read_all<'v, K>(objects: &[&'v Value]) -> (Vec<K>, Vec<Unreadable<'v>>)
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let (group, kind) = (K::group(&()), K::kind(&()));
    let is = |object: &&&Value| {
        let api_version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        let its_group = api_version.split_once('/').map_or("", |(group, _)| group);
        its_group == group && object.get("kind").and_then(Value::as_str) == Some(&*kind)
    };
    let (mut read, mut unreadable) = (Vec::new(), Vec::new());
    for object in objects.iter().filter(is) {
        match serde_path_to_error::deserialize(*object) {
            Ok(typed) => read.push(typed),
            Err(error) => unreadable.push(Unreadable {
                object,
                kind: kind.to_string(),
                field: error.path().to_string(),
                why: error.inner().to_string(),
            }),
        }
    }
    (read, unreadable)
}
