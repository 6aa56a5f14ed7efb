//! `kubectl instar`: what an upgrade is at, the writes that a person asks for, and what each word means.
//!
//! ```text
//! main ─▶ cli ─▶ verbs ─▶ read ─▶ instar_report::Report ─▶ output, export, verbs::ui
//!                    └─▶ a patch or a ClusterUpgrade, under the user's own rights
//! ```
//!
//! Invariants: nothing is decided here. What is shown is what the controller says, through the one `Report`; what is
//! written is what a user could write with kubectl, and each verb says it. Standard output carries the answer alone.

pub mod cli;
mod connection;
mod error;
mod exit;
mod export;
mod output;
mod read;
mod verbs;

pub use error::Error;
pub use exit::Exit;
