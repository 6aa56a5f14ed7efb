//! What is kept of a Machine. A fleet has more of them than of all other objects, so it is the few fields that a
//! decision reads, and nothing of the object itself.

use std::sync::Arc;

use instar_capi::Machine;
use instar_planner::{Lifecycle, MachinePhase, PoolId};
use instar_watch::{Cache, Entry, Guarded, Kept, Key, Row, Unreadable};

use super::{
    Caches,
    kept::{Cached, Group, lifecycle, of_cluster},
};
use crate::rbac::Watched;

const CONTROL_PLANE_LABEL: &str = "cluster.x-k8s.io/control-plane";
pub(crate) const DEPLOYMENT_LABEL: &str = "cluster.x-k8s.io/deployment-name";
const SET_LABEL: &str = "cluster.x-k8s.io/set-name";

/// A Machine; its key has its name.
#[derive(Debug)]
pub(crate) struct KeptMachine {
    cluster: Box<str>,
    /// None of a pool is one that its user made alone, or in a MachinePool or MachineSet.
    pub(crate) pool: Option<PoolId>,
    /// Its MachineSet.
    pub(crate) set: Option<Box<str>>,
    /// As it is written.
    pub(crate) version: Box<str>,
    pub(crate) phase: MachinePhase,
    pub(crate) node: Option<KeptNode>,
    pub(crate) lifecycle: Lifecycle,
}

/// The node of a Machine.
#[derive(Debug)]
pub(crate) struct KeptNode {
    pub(crate) name: Box<str>,
    /// As the kubelet says it.
    pub(crate) kubelet: Box<str>,
}

impl From<Machine> for KeptMachine {
    fn from(machine: Machine) -> Self {
        let lifecycle = lifecycle(&machine, false);
        let mut labels = machine.metadata.labels.unwrap_or_default();
        let status = machine.status.unwrap_or_default();
        let deployment = labels.remove(DEPLOYMENT_LABEL);
        Self {
            cluster: machine.spec.cluster_name.into(),
            pool: if labels.contains_key(CONTROL_PLANE_LABEL) {
                Some(PoolId::ControlPlane)
            } else {
                deployment.map(PoolId::Workers)
            },
            set: labels.remove(SET_LABEL).map(Into::into),
            version: machine.spec.version.into(),
            phase: phase(&status.phase),
            node: status.node_ref.map(|node| KeptNode {
                name: node.name.into(),
                kubelet: status.node_info.kubelet_version.into(),
            }),
            lifecycle,
        }
    }
}

impl Cached for Machine {
    const WATCHED: Watched = Watched::Machines;

    type Kept = KeptMachine;

    fn cache(caches: &Caches) -> &Arc<Cache<KeptMachine>> {
        &caches.machines
    }
}

impl Entry for KeptMachine {
    type Group = Group;

    fn groups(&self, key: &Key) -> Vec<Group> {
        vec![of_cluster(key, &self.cluster)]
    }

    fn groups_of_unreadable(key: &Key, unreadable: &Unreadable) -> Vec<Group> {
        <Machine as Cached>::groups_of_unreadable(key, unreadable)
    }
}

impl Kept for KeptMachine {
    type Object = Guarded<Machine>;

    fn keep(object: Self::Object) -> Row<Self> {
        Row::of(object, Self::from)
    }
}

fn phase(text: &str) -> MachinePhase {
    match text {
        "Pending" => MachinePhase::Pending,
        "Provisioning" => MachinePhase::Provisioning,
        "Provisioned" => MachinePhase::Provisioned,
        "Running" => MachinePhase::Running,
        "Updating" => MachinePhase::Updating,
        "Deleting" | "Deleted" => MachinePhase::Deleting,
        "Failed" => MachinePhase::Failed,
        _ => MachinePhase::Unknown,
    }
}
