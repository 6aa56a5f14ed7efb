//! The verdicts of admission, as functions of a request and of what is known.
//!
//! - [`rule_info`]: the table of rules, of which the webhook configuration and the docs are made.
//! - [`cluster`], [`control_plane`], [`worker`], [`class`], [`template`], [`release`], [`upgrade`],
//!   [`policy`]: which rules an edit of such an object breaks.
//! - [`marks`]: who may lift a hold of Instar's.
//! - [`hook`]: whether a step of a topology Cluster may begin.
//! - [`catalog`]: which catalog is a Cluster's, and whether it may be.
//! - [`apply_enforcement`]: what becomes of it, by the policies and the break-glass annotation.
//!
//! Invariants: no client, no IO, no clock: the time is an input. Every function is total, and what
//! is not known (a class, a control plane that no cache has seen) has a rule of its own.

mod break_glass;
pub mod catalog;
pub mod class;
pub mod cluster;
pub mod cluster_state;
pub mod control_plane;
pub mod deprecation;
mod edit;
mod finding;
pub mod hook;
pub mod maintenance;
pub mod marks;
pub mod policy;
mod reference;
mod refusal;
pub mod release;
mod release_drift;
pub mod start_gates;
mod table;
pub mod template;
pub mod upgrade;
mod verdict;
pub mod worker;

pub use break_glass::BreakGlass;
pub use cluster_state::ClusterState;
pub use edit::{Edit, cluster_of, is_made_by_another, object_ref};
pub use finding::{ClusterName, Finding, lines};
pub use instar_api::Rule;
pub use refusal::{REFUSAL_CODE, REFUSAL_REASON};
pub use table::{Change, EnforceableBy, GuardedKind, RuleInfo, Trigger, rule_info};
pub use verdict::{Subject, Verdict, apply_enforcement, selecting_policies};
