//! The planner: from a [`Snapshot`] to a [`Decision`], which is at most one write, carried whole,
//! and always what is waited for and why.
//!
//! [`plan`] is for classic clusters and finds where an upgrade is from the objects alone, never from a record of its own;
//! [`mint`] makes the new template, [`classic_path`] finds the releases on the way, and [`check`]
//! holds a decision against the invariants by its own reading of the snapshot.
//!
//! Invariants: no client, no IO, no clock (now is an input); every function is total. The order of
//! the snapshot's lists never matters, the same input gives the same bytes, and a snapshot may be
//! old: each write carries the compare that then refuses it.

mod check;
mod decision;
mod mint;
mod path;
mod plan;
mod pointers;
mod settled;
mod snapshot;
mod swap;
mod topology;
mod wish;

pub use instar_capi::Contract;

pub use check::{Violation, check};
pub use decision::{
    About, Action, CompletePins, Decision, DeleteTemplate, EditVersion, Field, MachineProgress, MachineState,
    MintTemplate, PoolProgress, Progress, Stage, Swap, TemplateProgress, TemplateState, Waiting, WorkersKind,
};
pub use mint::{MintOrder, Minted, RELEASE_LABEL, ROLE_LABEL, SOURCE_LABEL, label_value, mint};
pub use path::{EtcdStep, NoPath, Start, StartEtcd, classic_path};
pub use plan::{plan, sweep};
pub use pointers::Misfit;
pub use snapshot::{
    Asked, Cluster, ClusterKind, Condition, ConditionStatus, ControlPlane, Flavor, Ledger, Machine, MachineDeployment,
    MachinePhase, MachinePool, MachineSet, Node, Object, Observed, Owner, PoolId, Replicas, ResourceVersion, Rollout,
    Snapshot, Standing, Template, TemplateRef, Topology, Unreadable,
};
pub use topology::{follow, is_aimed_at_present, passed, under_way};
pub use wish::{Gate, GateState, Origin, PoolWish, Progressing, Retention, Strategy, Target, Wish};

/// The annotation that every swap writes into the object that it swaps: the [`Ledger`].
pub const LEDGER_ANNOTATION: &str = "upgrade.cluster.x-k8s.io/swapped";
