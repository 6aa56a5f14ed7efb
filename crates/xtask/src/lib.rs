//! The files that the code gives: what Instar is installed from, and the reference pages.
//!
//! Each is written by `cargo xtask generate` and compared by a test, so neither the manifests nor
//! the pages can say something else than the code.
//!
//! Invariants: the same code gives the same bytes; in [`FOLDERS`] there is no file that the code
//! doesn't give.

mod artifact;
pub mod audit;
mod certmanager;
mod chart;
pub mod cluster_api;
mod controller;
mod crd;
mod generated;
mod go_modules;
mod grant;
pub mod kubeadm;
mod kubeconfigs;
mod kustomization;
pub mod lifecycle;
mod monitoring;
mod providers;
mod rbac;
mod reference;
pub mod release;
pub mod removed_apis;
mod self_signed;
mod server;
mod vcenters;
mod webhook;
mod workload;
mod yaml;

pub use artifact::{Artifact, root};
pub use crd::crds;
pub use generated::{FOLDERS, artifacts, strangers};
pub use grant::Granted;
pub use kubeconfigs::workload_role;
pub use rbac::{grants, people};
pub use self_signed::certificate_grants;
pub use webhook::configurations;

use k8s_openapi::api::apps::v1::Deployment;

#[must_use]
pub fn deployments() -> [Deployment; 2] {
    [server::workload().deployment(), controller::workload().deployment()]
}

/// Where everything lives.
pub(crate) const NAMESPACE: &str = "instar-system";

/// The server's name: its Deployment, Service, `ServiceAccount`, role and certificate.
pub(crate) const WEBHOOK: &str = "instar-webhook";

/// The controller's name: its Deployment, `ServiceAccount` and roles.
pub(crate) const CONTROLLER: &str = "instar-controller";

/// The Secret that cert-manager writes and the server reads.
pub(crate) const CERTIFICATE_SECRET: &str = "instar-webhook-cert";
