//! What is read of a workload cluster, by the kubeconfig that its Secret holds.
//!
//! ```text
//! Secret ─▶ Kubeconfig (pure) ─▶ WorkloadClient ─▶ read: pages of lists ─▶ instar_preflight::workload (pure) ─▶ Facts
//! ```
//!
//! Both the Secret and the server that it names are hostile input. Invariants: only inline credentials are used, and
//! only those; no redirect is followed; every request has a deadline, every body and every list a bound; nothing that
//! opens a cluster reaches an error or a log.

mod client;
mod discovery;
mod kubeconfig;
mod objects;
mod read;
#[cfg(test)]
mod server;

pub use client::{CallError, WorkloadClient};
pub use kubeconfig::{Entry, Kubeconfig, KubeconfigError};
pub use objects::{Seen, SetError, SetOutcome, find, observe, read_object, set};
pub use read::read;
