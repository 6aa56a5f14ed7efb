//! The admission server's routes: an AdmissionReview in, an AdmissionReview out.
//!
//! The verdicts are `instar_admission`'s; here they are asked for and written down. What is known is
//! behind [`Observed`], which answers from caches: no route makes a call.
//!
//! Invariants: every request gets an answer with its uid, or a 400; no answer needs the network.

pub mod configuration;
mod metrics;
mod observed;
mod review;
mod routes;

pub use metrics::AdmissionMetrics;
pub use observed::Observed;
pub use routes::{Route, router};
