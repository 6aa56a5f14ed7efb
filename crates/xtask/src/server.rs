//! The admission server on a cluster: its Deployment and what stands around it.

use anyhow::Result;
use instar_serve::Options;
use k8s_openapi::{
    api::{
        core::v1::{SecretVolumeSource, Service, ServicePort, ServiceSpec, Volume, VolumeMount},
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::{
    Artifact, CERTIFICATE_SECRET, WEBHOOK,
    kustomization::Folder,
    workload::{HEALTH_PORT, Workload, kustomization},
};

/// The name of the port that the Service goes by.
const WEBHOOK_PORT: &str = "webhook";

/// Where the container finds the certificate.
const CERT_DIR: &str = "/var/run/instar/certs";

/// Longer than the server lingers and drains, as a test checks.
const GRACE_SECONDS: i64 = 30;

pub(crate) fn artifacts() -> Result<Vec<Artifact>> {
    let workload = workload();
    Folder::new("config/server", kustomization())
        .with("deployment.yaml", &workload.deployment())?
        .with("service.yaml", &service(&workload))?
        .with("disruption-budget.yaml", &disruption_budget(&workload))?
        .with_network_policy(&workload)?
        .artifacts()
}

/// `instar webhook`.
pub(crate) fn workload() -> Workload {
    let options = Options::default();
    Workload {
        name: WEBHOOK,
        component: "webhook",
        arguments: vec![
            format!("--port={}", options.port),
            format!("--health-port={}", options.health_port),
            format!("--cert-dir={CERT_DIR}"),
        ],
        ports: vec![(WEBHOOK_PORT, options.port), (HEALTH_PORT, options.health_port)],
        grace_seconds: GRACE_SECONDS,
        // `make bench-fleet`: 45 MiB at 3,000 Clusters, and 6 MiB for each 1,000 more, so 85 at 10,000; pins add one
        // for each 1,000. The limit leaves room for twenty large bodies at once.
        memory_request: "64Mi",
        memory_limit: "192Mi",
        volume: Some((
            Volume {
                name: CERTIFICATE_SECRET.to_owned(),
                secret: Some(SecretVolumeSource {
                    secret_name: Some(CERTIFICATE_SECRET.to_owned()),
                    ..SecretVolumeSource::default()
                }),
                ..Volume::default()
            },
            VolumeMount {
                name: CERTIFICATE_SECRET.to_owned(),
                mount_path: CERT_DIR.to_owned(),
                read_only: Some(true),
                ..VolumeMount::default()
            },
        )),
    }
}

fn service(workload: &Workload) -> Service {
    Service {
        metadata: workload.metadata(),
        spec: Some(ServiceSpec {
            selector: Some(workload.labels()),
            ports: Some(vec![ServicePort {
                name: Some(WEBHOOK_PORT.to_owned()),
                port: 443,
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::String(WEBHOOK_PORT.to_owned())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn disruption_budget(workload: &Workload) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: workload.metadata(),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: Some(IntOrString::Int(1)),
            selector: Some(workload.selector()),
            // A pod that never gets ready must not hold up the drain of its node.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_has_the_time_to_end() {
        let Options { linger, drain, .. } = Options::default();
        let pod = workload().deployment().spec.unwrap().template.spec.unwrap();
        let grace = u64::try_from(pod.termination_grace_period_seconds.unwrap()).unwrap();
        assert!(grace > (linger + drain).as_secs(), "{grace} s");
    }
}
