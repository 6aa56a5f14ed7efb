//! The binary's parts: the command line, the admission server with its caches, the controller, and the
//! wiring.
//!
//! ```text
//! main ─▶ cli ─▶ webhook ─▶ caches (four watches) ─▶ instar_webhooks::ClusterState
//!            ├─▶ controller ─▶ instar_controller
//!            └─▶ wire    ─▶ files, cluster ─▶ instar_wiring::wire ─▶ yaml
//! ```
//!
//! Invariants: what is watched and what the process may do are written in one place, [`rbac`]; a
//! cache keeps what is asked of it and no more; standard output carries the answer alone,
//! everything else goes to standard error.

mod api;
mod caches;
pub mod cli;
mod controller;
mod error;
mod events;
mod log;
pub mod metrics;
pub mod rbac;
mod version;
mod webhook;
mod wire;
mod yaml;

pub use error::{Error, Outcome};
