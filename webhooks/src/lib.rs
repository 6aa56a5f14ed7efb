//! The admission server: an AdmissionReview in, an AdmissionReview out.
//!
//! ```text
//! router ─▶ judge ─▶ instar_admission ─▶ ClusterState: Caches ◀─ instar_watch ◀─ API server
//!             └─▶ AuditSink: Events ─▶ API server
//! ```
//!
//! The verdicts are `instar_admission`'s; here they are asked for and written down. What is known is
//! behind `ClusterState`, which answers from the caches: no route makes a call.
//!
//! Invariants: every request gets an answer with its uid, or a 400; no answer needs the network; what is watched
//! and what the process may do are written in one place, [`rbac`]; a cache keeps what is asked of it and no more.

mod audit;
pub mod caches;
pub mod configuration;
mod events;
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
pub use instar_admission::ClusterState;
pub use metrics::AdmissionMetrics;
pub use route::Route;
pub use routes::router;
