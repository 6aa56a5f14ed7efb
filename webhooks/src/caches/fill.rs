//! Caches that no API server fills, for tests and tools.

use std::sync::Arc;

use instar_capi::{Machine, MachineDeployment, MachinePool, MachineSet};
use instar_watch::{Sink, WatchState};
use jiff::Timestamp;
use kube::runtime::watcher::Event;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Caches,
    kept::{Cached, Class, Cluster, ControlPlane, Policy, Release, Upgrade, Worker},
};

/// A value that is no object of Kubernetes.
#[derive(Debug, thiserror::Error)]
#[error("{object} is no object of Kubernetes")]
pub struct NotAnObject {
    object: String,
    source: serde_json::Error,
}

impl Caches {
    /// Caches of these objects, at a time. They go the way of the events of a watch. Objects of other kinds are
    /// control planes and templates: those of which another object refers to their kind are kept.
    pub fn of(objects: &[Value], now: Timestamp) -> Result<Arc<Self>, NotAnObject> {
        let caches = Arc::new(Self {
            fixed_time: Some(now),
            ..Self::default()
        });
        let mut others = Vec::new();
        for object in objects {
            let taken = match object["kind"].as_str().unwrap_or_default() {
                "Cluster" => caches.take::<Cluster>(object),
                "ClusterClass" => caches.take::<Class>(object),
                "KubeadmControlPlane" => caches.take::<ControlPlane>(object),
                "MachineDeployment" => caches.take::<Worker<MachineDeployment>>(object),
                "MachineSet" => caches.take::<Worker<MachineSet>>(object),
                "MachinePool" => caches.take::<Worker<MachinePool>>(object),
                "Machine" => caches.take::<Worker<Machine>>(object),
                "KubernetesRelease" => caches.take::<Release>(object),
                "ClusterUpgrade" => caches.take::<Upgrade>(object),
                "UpgradePolicy" => caches.take::<Policy>(object),
                _ => {
                    others.push(object);
                    Ok(())
                }
            };
            taken.map_err(|source| not_an_object(object, source))?;
        }
        // These refer to templates too.
        for object in &others {
            let put = caches.foreign_control_planes.put(object);
            put.map_err(|source| not_an_object(object, source))?;
        }
        for object in others {
            let put = caches.templates.put(object);
            put.map_err(|source| not_an_object(object, source))?;
        }
        caches.foreign_control_planes.all_listed();
        caches.templates.all_listed();
        Ok(caches)
    }

    fn take<K: Cached>(self: &Arc<Self>, object: &Value) -> Result<(), serde_json::Error> {
        let mut sink = self.sink::<K>();
        sink.apply(Event::Apply(K::Object::deserialize(object)?));
        sink.set_state(WatchState::Watching);
        Ok(())
    }
}

fn not_an_object(object: &Value, source: serde_json::Error) -> NotAnObject {
    NotAnObject {
        object: object.to_string(),
        source,
    }
}
