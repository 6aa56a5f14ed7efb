//! The API group `upgrade.cluster.x-k8s.io`: its kinds, their schema and CEL rules, and the format
//! of the pins, the annotation that carries a topology Cluster's bill of materials.
//!
//! Invariants: no client, no IO. Every string and list of a kind is bounded, every field has a
//! description. The pins' format is an interface to objects that live for years: golden tests hold
//! it.
#![deny(missing_docs)]

mod addon;
mod approval;
mod canary;
mod catalog_name;
mod crd_skew;
mod definition;
mod etcd_snapshot;
mod event;
mod failure;
mod finished;
mod health;
mod hooks;
mod landing;
mod maintenance;
mod metadata;
mod operation;
mod pins;
mod policy;
mod preflight;
mod preflight_parameters;
mod release;
mod release_change;
mod rule;
mod schema;
mod schema_check;
mod schema_fields;
mod upgrade;
mod verification;
mod vsphere;
mod workload;

pub use addon::{
    Addon, AddonWrite, ClusterAnnotation, ClusterSide, Gate, GatePoint, GenerationRule, ObjectField, Observe,
    OnRollback, OnTimeout,
};
pub use approval::{Approval, ApprovalPoint, ApprovalPolicy, ApprovedPart};
pub use canary::Canary;
pub use catalog_name::CatalogName;
pub use crd_skew::{CrdSkew, FoundDefinition, ServerStays, SkewVerdict};
pub use definition::{Definition, INSTAR_VERSION, STORED_VERSION, instar_version, read_version, schema_at};
pub use etcd_snapshot::{EtcdSnapshotParameters, EtcdSnapshotStatus, SnapshotObserve};
pub use event::{EventReason, EventSeverity};
pub use failure::{FailurePolicy, OnFailure};
pub use finished::{FinishedMarker, UpgradeOutcome};
pub use health::{FailureReason, HealthImpact, HealthLevel, HealthReason, HealthStatus};
pub use hooks::{HookAnswer, HookVerdict, RuntimeHooksAre, RuntimeHooksStatus};
pub use landing::LandingMark;
pub use maintenance::{
    Maintenance, MaintenanceExclusion, MaintenanceWindow, OnClose, WindowKind, WindowOverride, WindowStatus, WindowsAre,
};
pub use metadata::{
    ADMISSION_LABEL, BREAK_GLASS_ANNOTATION, CATALOG_LABEL, CONCURRENCY_ANNOTATION, ETCD_ANNOTATION,
    FINISHED_ANNOTATION, GATE_HISTORY_ANNOTATION, GROUP, HELD_ANNOTATION, HOOK_ANSWER_ANNOTATION, HOOKS_ENABLED,
    HOOKS_LABEL, INSTAR_VERSION_ANNOTATION, LEFT_ANNOTATION, ON_FAILURE_ANNOTATION, PATH_ANNOTATION, RECORD_ANNOTATION,
    RELEASE_LABEL, RELEASES_ANNOTATION, RENDERED_ANNOTATION, REQUEST_NUMBER_LABEL, ROLE_LABEL, SOURCE_LABEL,
    STARTED_ANNOTATION, SWAP_HISTORY_ANNOTATION, VALUES_HISTORY_ANNOTATION, VERSION_ANNOTATION, is_unknown_annotation,
};
pub use operation::{MinorRollback, Operation, RollbackPolicy};
pub use pins::{GarbledPins, KCP_COREDNS, KCP_ETCD, Pin, Pins, Values};
pub use policy::{
    MutableTemplateFields, RuleSetting, ServiceAccountRef, TemplatePolicy, UpgradePolicy, UpgradePolicySpec,
};
pub use preflight::{
    ClusterRead, PreflightCheck, PreflightCheckSetting, PreflightPolicy, PreflightResult, PreflightSettings,
    PreflightSkip, PreflightSpec, PreflightStatus, SetBy,
};
pub use preflight_parameters::{IgnoredApi, OnUnknown, RemovedApisParameters, RemovedApisRule};
pub use release::{
    Component, Components, KubernetesRelease, KubernetesReleaseSpec, MachineImage, PoolRole, Support, Tier, ValueAt,
};
pub use release_change::{Earlier, LeftTemplate, LeftTemplates, ReleaseChange};
pub use rule::{Adjustable, Enforcement, Rule, UnknownRule};
pub use schema_check::{FieldPath, SchemaCheck, SchemaViolation, Segment};
pub use schema_fields::{missing_fields, pruned_fields};
pub use upgrade::{
    ClusterUpgrade, ClusterUpgradeSpec, ClusterUpgradeStatus, ControlPlaneRule, MachineDetail, MachineUpgradePhase,
    MintedTemplate, PoolRule, PoolStatus, RollbackExtent, RollbackStatus, StrategyType, TemplateUse, UpgradePhase,
    UpgradeStrategy,
};
pub use verification::{NamedWorkload, VerificationPolicy, WorkloadKind};
pub use vsphere::{VcenterAccess, VspherePolicy, vcenter_access};
pub use workload::{
    InvalidSecretName, KubeconfigSecret, SecretNameTemplate, WorkloadAccess, WorkloadPolicy, WorkloadSwitch,
    workload_access,
};
