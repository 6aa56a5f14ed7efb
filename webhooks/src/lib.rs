//! The admission server's routes: an AdmissionReview in, an AdmissionReview out.
//!
//! The verdicts are `instar_admission`'s; here they are asked for and written down. What is known is
//! behind `ClusterState`, which answers from caches: no route makes a call.
//!
//! Invariants: every request gets an answer with its uid, or a 400; no answer needs the network.

mod audit;
pub mod configuration;
mod judge;
mod metrics;
mod reader;
mod review;
mod routes;
mod view;

pub use audit::{AuditSink, OverriddenRule};
pub use instar_admission::ClusterState;
pub use metrics::AdmissionMetrics;
pub use routes::{Route, router};
