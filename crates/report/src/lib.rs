//! What is to be said of a Cluster and its upgrade: one value, made from objects, for every output.
//!
//! ```text
//! ClusterObjects ─▶ Report::of ─▶ Report ─▶ serde: JSON, YAML
//!                                       ├─▶ text::of_cluster: a terminal
//!                                       └─▶ html: a page, live or in a file
//! ```
//!
//! What the controller says in the status of a ClusterUpgrade is taken over as it stands: its health, its counts, its way
//! back. Only what it doesn't say is read from Cluster API's objects. So there is no second opinion.
//!
//! Invariants: no client, no clock, no environment; the time and the width are inputs. The same input gives the same bytes.
#![deny(missing_docs)]

mod actions;
mod age;
pub mod html;
mod invocation;
mod listed;
mod of;
mod pace;
mod plan;
mod record;
mod report;
mod shown;
pub mod text;

pub use actions::{Action, approvals_asked, entries as approval_entries};
pub use age::age;
pub use invocation::{Invocation, quoted};
pub use of::{ClusterObjects, Unreadable, all as all_of_kind, read_all as read_all_of_kind};
pub use pace::TimeLeft;
pub use plan::{
    FindingEffect, Plan, PlanCheck, PlanFinding, PlanHold, PlanOutcome, PlanStep, PlanSubject, PlanTarget,
    PlannedCluster, PlannedPool, PlannedRelease, PlannedValue, PlannedWayBack, PoolName, StepKind, is_unasked,
};
pub use record::{current, newest_first, target};
pub use report::{
    Assessment, ClusterKind, ClusterSection, MachineRow, PathStep, PathStepState, PoolKindName, PoolSection, Report,
    UpgradeSection,
};
pub use shown::ShownUpgrade;
