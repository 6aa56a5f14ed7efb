//! The binary's commands: the admission server, the controller, and the wiring.
//!
//! ```text
//! main ─▶ cli ─▶ webhook ─▶ instar_webhooks
//!            ├─▶ controller ─▶ instar_controller
//!            ├─▶ crd     ─▶ instar_api::Definition
//!            ├─▶ release_holds ─▶ instar_planner::release_holds
//!            └─▶ wire    ─▶ files, cluster ─▶ instar_wiring::wire ─▶ yaml
//! ```
//!
//! Invariants: each command owns its arguments; standard output carries the answer alone, everything else goes to
//! standard error.

mod certificates;
pub mod cli;
pub mod cluster;
mod controller;
mod crd;
mod error;
mod log;
pub mod metrics;
mod outcome;
pub mod output;
mod release_holds;
mod signals;
mod version;
mod webhook;
mod wire;
pub mod yaml;

pub use crd::CrdArgs;
pub use error::Error;
pub use outcome::Outcome;
pub use wire::WireArgs;
