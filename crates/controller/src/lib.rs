//! The controller: on classic clusters it mints and swaps what the planner decides, on topology
//! clusters it follows what Cluster API does.
//!
//! ```text
//! caches ─▶ gather ─▶ plan ─▶ check ─▶ report ─▶ execute      for each Cluster that an event
//! (watches)  (+ templates)  instar_planner    (status)  (one write)       or a timer wakes
//!                ▲
//!  probe ────────┘ what workload clusters say, read outside the passes
//! ```
//!
//! Invariants: a pass makes at most one write beside its record; every write carries the compare or
//! a name that says what is in it, so a crash, a retry or a second leader does nothing twice; every
//! call has a deadline; a paused Cluster or upgrade is not written to, nor is its record.

mod api;
mod caches;
mod certificates;
mod cluster_api;
mod events;
mod execute;
mod fields;
mod gather;
mod hooks;
mod kinds;
mod lease;
mod memory;
mod metrics;
mod offline;
mod patches;
mod policy;
mod probe;
mod queue;
mod rbac;
mod reconcile;
mod release_metrics;
mod report;
mod run;
mod scope;
mod text;
mod timing;
mod upgrade_metrics;
mod upgrade_spec;

pub use instar_preflight::workload::ClusterApiVersion;

pub use certificates::{WebhookCertificates, WebhookConfiguration, webhook_host};
pub use hooks::{ExtensionCa, ExtensionServer, remove_extension_config};
pub use lease::{LeaseError, NAME as LEASE_NAME};
pub use metrics::register;
pub use offline::{Gathered, OfflineCluster, OfflineError, installed_cluster_api};
pub use rbac::{LEASE_RULES, RULES, VSPHERE_RULES, WORKLOAD_RULES, Watched};
pub use run::{AdmissionServer, Error, Instance, run};
pub use scope::{Scope, ScopeError, WatchFilter, namespaces, namespaces_of_lease, watch_filter};
pub use timing::Timing;
