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

mod addon;
mod addons_back;
mod approval;
mod canary;
mod check;
mod check_outcome;
mod classic;
mod cluster_api;
mod decision;
mod drain_timeout;
mod earlier_templates;
mod etcd;
mod existing;
mod failing;
mod failure;
mod gates;
mod images;
mod left_because;
mod marks;
mod mint;
mod name;
mod observed;
mod operation;
mod path;
mod pause;
mod paused_rollout;
mod pool_id;
mod pool_image;
mod preflight;
mod refresh;
mod rendered;
mod resource_version;
mod restart;
mod settled;
mod snapshot;
mod step;
mod swap;
mod swap_history;
mod template_values;
mod topology;
mod upgrade_spec;
mod value_before;
mod values;
mod values_history;
mod verification;
mod way_back;
mod words;

pub use instar_api::{MinorRollback, OnFailure};
pub use instar_capi::{Contract, KubeadmAddon, Lifecycle, ManagedBy, WorkerKind};

pub use addon::{
    AddonGate, AddonId, AddonOwner, AddonProblem, AddonState, Addons, AskedPoint, ClosedAddon, GateBegun, GateHistory,
    SetAddon,
};
pub use addons_back::addons_to_restore;
pub use check::{Violation, check};
pub use check_outcome::{CheckOutcome, PreflightOutcome, Problem, Skip};
pub use classic::{Returning, ReturningAddon, WayBack, collect_templates, drifted, resume, way_back};
pub use decision::{
    Action, AnswerHook, BeginGates, CompletePins, Convergence, Decision, DeleteMachine, DeleteTemplate, EditVersion,
    Field, FollowRelease, Hold, HoldPool, InvolvedObject, LeftBecause, MachinePoolChange, MachineProgress,
    MachineState, MintTemplate, NodeIs, OtherCatalog, PatchMachinePool, PinPath, PoolProgress, Progress, RefusedWrite,
    RestoreVersionCheck, RolloutPausedBy, SetBack, SetConcurrency, Stage, StepBack, StuckRemedy, Swap, SwapTemplate,
    TemplateProgress, TemplateRefusal, TemplateState, UnreadyNode, Waiting, WriteTurn,
};
pub use drain_timeout::DrainTimeout;
pub use existing::accept;
pub use failing::{deadline_of_step, failure, follow, next_write, plan, standing};
pub use failure::{
    ExistingRollback, ExistingState, Failed, Failure, FailureResponse, FailureRule, ProgressDeadline, StandingFailure,
};
pub use gates::release_counts;
pub use images::pool_images;
pub use marks::{HoldMark, HookAnswers, MarkedKind, ReleasedHolds, release_holds};
pub use mint::{MintOrder, Minted, mint};
pub use name::{hash, label_value, slug};
pub use observed::{Observed, Unreadable};
pub use operation::{Operation, Rollback, RollbackScope};
pub use path::{EtcdStep, NoPath, Start, StartEtcd, classic_path};
pub use pause::{LeftMark, PauseMark, PausedBy};
pub use pool_id::PoolId;
pub use pool_image::{PoolImage, Stop};
pub use preflight::{KUBELET_ARGUMENTS, checks_are_asked, kubelet_arguments, target_minor};
pub use rendered::{NormalisedValue, normalised, normalised_values};
pub use restart::NoRestart;
pub use snapshot::{
    ClassicCluster, Cluster, ClusterKind, Condition, ConditionStatus, ControlPlane, Flavor, InfrastructurePool,
    Initialization, JoinRule, Machine, MachineDeployment, MachinePhase, MachinePool, MachineSet, Node, NodeReadiness,
    Object, OwningCluster, PinnedPath, RaisedConcurrency, Replicas, ResourceVersion, Rollout, RuntimeHooks, Snapshot,
    TakenBack, Template, TemplateContent, TemplateRef, Topology, Unversioned, UpToDate, UpgradeConcurrency,
    VersionSetBy,
};
pub use swap_history::{ComponentImage, Direction, PoolState, SwapEntry, SwapHistory, UpgradeId};
pub use topology::{is_aimed_at_present, is_set_again, passed, release_held, replaces_changing_release, under_way};
pub use upgrade_spec::{
    Approvals, CanaryRule, Gate, GateState, Origin, PoolOverride, Retention, Strategy, Target, UpgradeSpec,
};
pub use value_before::ValueBefore;
pub use values::PointerError;
pub use values_history::ValuesHistory;
pub use way_back::{AddonStays, MachinePoolStays, NoWayBack, TemplateGone, WorkersAlone};
