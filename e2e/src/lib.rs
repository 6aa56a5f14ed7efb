//! A real management cluster on loopback, and what tests on it share.
//!
//! etcd, kube-apiserver, kube-controller-manager and Cluster API's managers run as plain
//! processes in namespaces of their own. A test gets a [`mgmt::Mgmt`] through
//! [`support::journeys::run`]; a person gets the same cluster from the `mgmt` program (`make up`).
//!
//! From the bottom up: [`cache`] and [`gobuild`] build the programs, [`isolation`] makes the namespaces,
//! [`process`] and [`components`] run the programs, [`mgmt`] is the cluster that they make,
//! [`instar`] installs Instar on it, [`supervisor`] and [`status`] are for people.
//! What only tests (and the demo) need is in [`support`].
//!
//! Invariants:
//! - Nothing of a cluster outlives the process that started it, however that one ends.
//! - Nothing of a cluster can be reached from outside the machine; in a namespace, not even
//!   from outside of that.
//! - Instar runs with the ServiceAccount and the rules that it ships, never as admin.
//! - Every other program is the user that it is in a real installation.

pub mod apply;
pub mod binaries;
pub mod cache;
pub mod certificates;
pub mod clusterctl;
pub mod components;
pub mod failure;
pub mod go;
pub mod gobuild;
pub mod infrastructure;
pub mod instar;
pub mod isolation;
pub mod kubeconfig;
pub mod manifests;
pub mod mgmt;
pub mod ports;
pub mod prerequisites;
pub mod process;
pub mod procfs;
pub mod progress;
pub mod rundir;
pub mod status;
pub mod supervisor;
pub mod support;
pub mod vcenter;
pub mod versions;
pub mod wait;
pub mod workspace;

pub use anyhow::{Context, Result};
pub use failure::Failure;

/// Chooses the TLS implementation of this process; call it once, before any connection.
pub fn choose_tls() {
    // Only fails when it was chosen before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
