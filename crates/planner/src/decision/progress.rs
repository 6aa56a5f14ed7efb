//! How far an upgrade has come: its pools, their machines, and the templates that it leaves behind.

use instar_domain::KubeVersion;
use jiff::Timestamp;

use crate::{pool_id::PoolId, snapshot::TemplateRef};

/// Where an upgrade is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What it is at.
    pub stage: Stage,
    /// The releases that the control plane has still to go through.
    pub path: Vec<String>,
    /// Each pool, the control plane first, then by name. Empty where that can't be said.
    pub pools: Vec<PoolProgress>,
    /// Each template that was minted for the cluster, by group, kind and name.
    pub templates: Vec<TemplateProgress>,
}

/// What an upgrade is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It can't be said, or nothing may be done.
    Held,
    ControlPlane,
    Workers,
    /// Every machine that should move has got there, and the cluster isn't known to work yet.
    Verifying,
    /// The same, and it does.
    Complete,
}

/// Where a pool is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolProgress {
    pub pool: PoolId,
    /// What its spec says.
    pub version: KubeVersion,
    /// Its machines, by name.
    pub machines: Vec<MachineProgress>,
}

impl PoolProgress {
    /// How many of its machines are in a state.
    #[must_use]
    pub fn count(&self, state: MachineState) -> usize {
        self.machines.iter().filter(|machine| machine.state == state).count()
    }

    /// How many of its machines have got where the pool goes.
    #[must_use]
    pub fn converged(&self) -> usize {
        self.count(MachineState::Running)
    }
}

/// Where a machine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineProgress {
    pub name: String,
    /// Its node, where it has joined.
    pub node: Option<String>,
    /// How far it has come.
    pub state: MachineState,
    /// The version that its node's kubelet runs, where that is known.
    pub version: Option<KubeVersion>,
}

/// How far a machine has come, seen from where its pool ends. Where that can't be said, the pool's
/// spec is taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MachineState {
    /// Cluster API gave it up (`Failed`), whatever its version.
    Failed,
    /// It is on its way: made from what its pool's spec says and not there yet, or old and going.
    Upgrading,
    /// It is to be replaced, and nothing of that has begun: it isn't what its pool's spec says, or
    /// the spec has a step to go.
    Pending,
    /// It is where its pool ends: of its version and template, it runs, and so does the version of
    /// its node.
    Running,
}

/// What a minted template is there for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateProgress {
    /// Which.
    pub template: TemplateRef,
    /// The label of the release that it was minted for.
    pub release: String,
    /// What for.
    pub state: TemplateState,
}

/// What a minted template is there for. `until` is absent before the upgrade is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateState {
    /// The control plane or a pool refers to it.
    InUse,
    /// A MachineSet that isn't being deleted refers to it, and no pool.
    InMachineSet,
    /// What is in use was made from it: it is kept for a rollback.
    Previous {
        /// When it goes.
        until: Option<Timestamp>,
    },
    /// Nothing refers to it, and nothing in use was made from it.
    Unused {
        /// When it goes.
        until: Option<Timestamp>,
    },
}
