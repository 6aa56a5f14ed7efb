//! The server's pod.

use std::collections::BTreeMap;

use instar_serve::Options;
use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, ContainerPort, HTTPGetAction, PodSecurityContext, PodSpec, Probe,
        ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext, Toleration,
        TopologySpreadConstraint, Volume, VolumeMount,
    },
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};

use super::{HEALTH_PORT, IMAGE, WEBHOOK_PORT, selector};
use crate::{CERTIFICATE_SECRET, WEBHOOK};

/// Where the container finds the certificate.
const CERT_DIR: &str = "/var/run/instar/certs";

/// Nobody in particular, as distroless images name it.
const NONROOT: i64 = 65532;

/// Longer than the server lingers and drains, as a test checks.
const GRACE_SECONDS: i64 = 30;

/// The pod, with the ports that the options name.
pub(super) fn spec(options: &Options) -> PodSpec {
    PodSpec {
        service_account_name: Some(WEBHOOK.to_owned()),
        containers: vec![container(options)],
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(NONROOT),
            run_as_group: Some(NONROOT),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        // Like Cluster API's own managers, which run beside it.
        tolerations: Some(vec![Toleration {
            key: Some("node-role.kubernetes.io/control-plane".to_owned()),
            effect: Some("NoSchedule".to_owned()),
            ..Toleration::default()
        }]),
        topology_spread_constraints: Some(vec![
            spread("topology.kubernetes.io/zone"),
            spread("kubernetes.io/hostname"),
        ]),
        volumes: Some(vec![Volume {
            name: CERTIFICATE_SECRET.to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(CERTIFICATE_SECRET.to_owned()),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        }]),
        ..PodSpec::default()
    }
}

fn container(options: &Options) -> Container {
    Container {
        // clusterctl looks for this name.
        name: "manager".to_owned(),
        image: Some(IMAGE.to_owned()),
        args: Some(vec![
            "webhook".to_owned(),
            format!("--port={}", options.port),
            format!("--health-port={}", options.health_port),
            format!("--cert-dir={CERT_DIR}"),
        ]),
        ports: Some(vec![
            port(WEBHOOK_PORT, options.port),
            port(HEALTH_PORT, options.health_port),
        ]),
        liveness_probe: Some(probe("/healthz")),
        readiness_probe: Some(probe("/readyz")),
        resources: Some(ResourceRequirements {
            requests: Some(quantities([("cpu", "10m"), ("memory", "32Mi")])),
            limits: Some(quantities([("memory", "128Mi")])),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            privileged: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            ..SecurityContext::default()
        }),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(vec![VolumeMount {
            name: CERTIFICATE_SECRET.to_owned(),
            mount_path: CERT_DIR.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    }
}

fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn probe(path: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(HEALTH_PORT.to_owned()),
            ..HTTPGetAction::default()
        }),
        ..Probe::default()
    }
}

/// Apart where that is possible; on one node both run all the same.
fn spread(key: &str) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(selector()),
        // Pods of the old revision don't count while it is replaced.
        match_label_keys: Some(vec!["pod-template-hash".to_owned()]),
        ..TopologySpreadConstraint::default()
    }
}

fn quantities<const N: usize>(amounts: [(&str, &str); N]) -> BTreeMap<String, Quantity> {
    amounts
        .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
        .into()
}
