//! What the objects of Cluster API have in common, whatever their kind.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::labels::{
    CONTROL_PLANE, DEPLOYMENT_NAME, POOL_NAME, SET_NAME, TOPOLOGY_DEPLOYMENT_NAME, TOPOLOGY_OWNED, TOPOLOGY_POOL_NAME,
};

/// The kinds of objects that stand for worker machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkerKind {
    /// Its MachineSets and Machines belong to it.
    MachineDeployment,
    /// A rule or a plan is about one only where no MachineDeployment owns it.
    MachineSet,
    /// A pool whose machines the infrastructure provider makes.
    MachinePool,
    /// A rule or a plan is about one only where no other object owns it.
    Machine,
}

impl WorkerKind {
    /// The kind as Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MachineDeployment => "MachineDeployment",
            Self::MachineSet => "MachineSet",
            Self::MachinePool => "MachinePool",
            Self::Machine => "Machine",
        }
    }

    /// The label that has its name in its Cluster's topology; of a kind that a topology can have.
    #[must_use]
    pub const fn topology_label(self) -> Option<&'static str> {
        match self {
            Self::MachineDeployment => Some(TOPOLOGY_DEPLOYMENT_NAME),
            Self::MachinePool => Some(TOPOLOGY_POOL_NAME),
            Self::MachineSet | Self::Machine => None,
        }
    }

    /// The labels by which Cluster API marks one that another object has made: one of them is there. None for a kind that
    /// nothing makes.
    #[must_use]
    pub const fn made_labels(self) -> &'static [&'static str] {
        match self {
            Self::MachineDeployment | Self::MachinePool => &[],
            Self::MachineSet => &[DEPLOYMENT_NAME],
            Self::Machine => &[SET_NAME, CONTROL_PLANE, POOL_NAME],
        }
    }

    /// What makes ones of this kind and is then their controller: kinds of these groups, and which of them where not all do.
    #[must_use]
    pub const fn makers(self) -> &'static [Maker] {
        match self {
            Self::MachineDeployment | Self::MachinePool => &[],
            Self::MachineSet => &[Maker {
                group: "cluster.x-k8s.io",
                kind: Some("MachineDeployment"),
            }],
            Self::Machine => &[
                Maker {
                    group: "cluster.x-k8s.io",
                    kind: Some("MachineSet"),
                },
                Maker {
                    group: "cluster.x-k8s.io",
                    kind: Some("MachinePool"),
                },
                // A control plane of any provider.
                Maker {
                    group: "controlplane.cluster.x-k8s.io",
                    kind: None,
                },
            ],
        }
    }

    /// Whether a controller of that kind makes ones of this kind.
    #[must_use]
    pub fn is_made_by(self, api_version: &str, kind: &str) -> bool {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let mut makers = self.makers().iter();
        makers.any(|maker| maker.group == group && maker.kind.is_none_or(|made_by| made_by == kind))
    }
}

/// What makes workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maker {
    /// The API group.
    pub group: &'static str,
    /// The kind; absent where all kinds of the group do.
    pub kind: Option<&'static str>,
}

impl fmt::Display for WorkerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether the controllers of an object act on it.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifecycle {
    /// They do.
    #[default]
    Active,
    /// `spec.paused` is set, or the annotation `cluster.x-k8s.io/paused` is there. `clusterctl move` pauses a
    /// Cluster before it copies it.
    Paused,
    /// It has a deletionTimestamp, whether it is paused or not.
    Deleting,
}

/// Who sets the version and the templates of an object.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ManagedBy {
    /// Cluster API's topology controller, which reverts what other clients write.
    Topology,
    /// A person, a tool that applies YAML from Git, or a ClusterUpgrade.
    User,
}

impl ManagedBy {
    /// By the label that the topology controller puts on what it owns.
    #[must_use]
    pub fn of(labels: &BTreeMap<String, String>) -> Self {
        if labels.contains_key(TOPOLOGY_OWNED) {
            Self::Topology
        } else {
            Self::User
        }
    }
}
