//! Read-only views of the Cluster API objects that Instar looks at: contract v1beta2, and of each
//! object only the fields that are read.
//!
//! A view loses what it doesn't name, so it is never written back: writes are patches. Kinds that
//! Cluster API leaves open (infrastructure templates, other control planes) are read by JSON Pointer,
//! at the version that [`served`] finds.
//!
//! Invariants: no client, no IO. A field that is absent is a default, never an error.
#![deny(missing_docs)]

mod class;
mod cluster;
mod component_settings;
mod contract;
mod control_plane;
mod hooks;
pub mod labels;
mod machines;
mod owners;
mod state;

pub use class::{
    ClassMetadata, ClusterClass, ClusterClassSpec, ControlPlaneClass, Definition, HealthCheckClass, JsonPatch,
    MatchClasses, MatchResources, Patch, Selector, TemplateHolder, TemplateRef, Upgrade, UpgradeExtensions, ValueFrom,
    WorkerClass, WorkersClass,
};
pub use cluster::{
    ClassRef, Cluster, ClusterControlPlaneStatus, ClusterInitialization, ClusterSpec, ClusterStatus,
    ClusterWorkersStatus, ControlPlaneTopology, PlannedVersion, PoolKind, PoolTopology, Topology, WorkersTopology,
};
pub use component_settings::{ComponentSetting, SettingField};
pub use contract::{Contract, NoContract, Served, served};
pub use control_plane::{
    ClusterConfiguration, ControlPlaneMachineSpec, ControlPlaneMachines, ControlPlaneRollout, ControlPlaneSpec,
    ControlPlaneStatus, Dns, Etcd, ExternalEtcd, KubeadmAddon, KubeadmConfigSpec, KubeadmControlPlane, LocalEtcd,
    Rollout,
};
pub use hooks::{is_held_before_start, is_held_before_step, is_held_by_answer_alone, is_held_by_hook};
pub use machines::{
    Bootstrap, Condition, Machine, MachineConditions, MachineDeletion, MachineDeployment, MachineDeploymentSpec,
    MachineDeploymentStatus, MachinePool, MachinePoolSpec, MachinePoolStatus, MachineRollout, MachineSet,
    MachineSetSpec, MachineSetStatus, MachineSpec, MachineStatus, MachineTemplate, NodeInfo, NodeReadyCondition,
    NodeReference, Reference, RolloutStrategy, VersionCount, relevant_conditions,
};
pub use owners::{owning_clusters, references_to_clusters};
pub use state::{Lifecycle, Maker, ManagedBy, WorkerKind};
