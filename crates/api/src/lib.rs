//! The API group `upgrade.cluster.x-k8s.io`: its kinds, their schema and CEL rules, and the format
//! of the pins, the annotation that carries a topology Cluster's bill of materials.
//!
//! Invariants: no client, no IO. Every string and list of a kind is bounded, every field has a
//! description. The pins' format is an interface to objects that live for years: golden tests hold
//! it.
#![deny(missing_docs)]

mod event;
mod pins;
mod policy;
mod release;
mod rule;
mod schema;
mod upgrade;
mod waiting;

pub use event::{EventReason, EventSeverity};
pub use pins::{GarbledPins, KCP_COREDNS, KCP_ETCD, Pin, Pins, Values};
pub use policy::{RuleSetting, TemplatePolicy, UpgradePolicy, UpgradePolicySpec};
pub use release::{
    Component, Components, KubernetesRelease, KubernetesReleaseSpec, MachineImage, PoolRole, Support, Tier, ValueAt,
};
pub use rule::{Adjustable, BREAK_GLASS_ANNOTATION, Enforcement, Rule, UnknownRule};
pub use upgrade::{
    ClusterUpgrade, ClusterUpgradeSpec, ClusterUpgradeStatus, ControlPlaneRule, FINISHED_ANNOTATION, MachineDetail,
    MachineUpgradePhase, MintedTemplate, PoolRule, PoolStatus, RECORD_ANNOTATION, REQUEST_NUMBER_LABEL, StrategyType,
    TemplateUse, UpgradePhase, UpgradeStrategy, VERSION_ANNOTATION, WaitingFor,
};
pub use waiting::{FailureReason, WaitingReason};

/// The API group of Instar's kinds and annotations.
pub const GROUP: &str = "upgrade.cluster.x-k8s.io";

/// The annotation of a topology Cluster that carries its [`Pins`].
pub const RELEASES_ANNOTATION: &str = "upgrade.cluster.x-k8s.io/releases";

/// The annotation that `instar wire` puts on a ClusterClass whose control plane uses an external
/// etcd (value `external`): the wiring then leaves the etcd tag alone.
pub const ETCD_ANNOTATION: &str = "upgrade.cluster.x-k8s.io/etcd";
