//! The admission server: an AdmissionReview in, an AdmissionReview out; and Cluster API's Runtime Hooks.
//!
//! ```text
//! router ─▶ judge ─▶ instar_admission ─▶ ClusterState: Caches ◀─ instar_watch ◀─ API server
//!             └─▶ AuditSink: Events ─▶ API server
//! ```
//!
//! `instar_admission` decides; this crate reads requests and writes answers. Rules read the state of the cluster through
//! `ClusterState`, which answers from the caches: no route makes a call.
//!
//! Invariants: every request gets an answer with its uid, or a 400; no answer needs the network; [`rbac`] alone has the
//! watched kinds and the rights of the process; a cache keeps only the fields that rules read.

mod audit;
pub mod caches;
pub mod configuration;
mod events;
mod hooks;
mod judge;
mod metrics;
pub mod rbac;
mod reader;
mod review;
mod route;
mod routes;
mod view;

pub use audit::{AuditSink, OverriddenRule};
pub use caches::Caches;
pub use events::{EventPublisher, Events};
pub use hooks::{HookRoute, router as hook_router};
pub use instar_admission::ClusterState;
pub use metrics::AdmissionMetrics;
pub use route::Route;
pub use routes::{Opinion, opinion, router};
