//! The controller on a cluster: its Deployment. It needs no disruption budget: while one that leads
//! ends, the other one takes over, and nobody waits for either.

use anyhow::Result;
use instar_serve::Options;

use crate::{
    Artifact, CERTIFICATE_SECRET, CONTROLLER, WEBHOOK,
    kustomization::Folder,
    workload::{HEALTH_PORT, Workload, kustomization},
};

pub(crate) fn artifacts() -> Result<Vec<Artifact>> {
    let workload = workload();
    Folder::new("config/controller", kustomization())
        .with("deployment.yaml", &workload.deployment())?
        .with_network_policy(&workload)?
        .artifacts()
}

/// `instar controller`. The lease is in the pod's own namespace.
pub(crate) fn workload() -> Workload {
    let port = Options::default().health_port;
    Workload {
        name: CONTROLLER,
        component: "controller",
        arguments: vec![
            format!("--health-port={port}"),
            format!("--extension-service={WEBHOOK}"),
            format!("--extension-ca-secret={CERTIFICATE_SECRET}"),
        ],
        ports: vec![(HEALTH_PORT, port)],
        // It ends at once: what is under way is found again by the next start.
        grace_seconds: 10,
        // `make bench-fleet`: 38 MiB at 3,000 Clusters with 18,000 Machines, and 5 MiB for each 1,000 more, so 75 at 10,000.
        // The limit leaves room for a re-list in which every object has changed, and for storms.
        memory_request: "64Mi",
        memory_limit: "256Mi",
        volume: None,
    }
}
