use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, ContainerPort, EnvVar, HTTPGetAction, PodSecurityContext, PodSpec, Probe,
        ResourceRequirements, SeccompProfile, SecurityContext, Toleration, TopologySpreadConstraint,
    },
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};

use super::{HEALTH_PORT, IMAGE, Workload};

/// Nobody in particular, as distroless images name it.
const NONROOT: i64 = 65532;

pub(super) fn spec(workload: &Workload) -> PodSpec {
    PodSpec {
        service_account_name: Some(workload.name.to_owned()),
        containers: vec![container(workload)],
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
        // Of the class that a node makes room for: without the server guarded edits are refused.
        priority_class_name: Some("system-cluster-critical".to_owned()),
        termination_grace_period_seconds: Some(workload.grace_seconds),
        // Like Cluster API's own managers, which run beside it.
        tolerations: Some(vec![Toleration {
            key: Some("node-role.kubernetes.io/control-plane".to_owned()),
            effect: Some("NoSchedule".to_owned()),
            ..Toleration::default()
        }]),
        topology_spread_constraints: Some(vec![
            spread(workload, "topology.kubernetes.io/zone"),
            spread(workload, "kubernetes.io/hostname"),
        ]),
        volumes: workload.volume.as_ref().map(|(volume, _)| vec![volume.clone()]),
        ..PodSpec::default()
    }
}

/// glibc's allocator gives memory back to the system late: a heap for each thread, and pages of a list that it keeps for the
/// next. With one heap, and with what is large apart, a fleet of 1,000 Clusters takes a third less (`make bench-fleet`).
/// Another allocator doesn't read them.
const ALLOCATOR: [(&str, &str); 3] = [
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_MMAP_THRESHOLD_", "131072"),
    ("MALLOC_TRIM_THRESHOLD_", "131072"),
];

fn container(workload: &Workload) -> Container {
    let arguments = std::iter::once(workload.component.to_owned()).chain(workload.arguments.iter().cloned());
    Container {
        // clusterctl looks for this name.
        name: "manager".to_owned(),
        image: Some(IMAGE.to_owned()),
        args: Some(arguments.collect()),
        env: Some(ALLOCATOR.map(|(name, value)| variable(name, value)).into()),
        ports: Some(
            workload
                .ports
                .iter()
                .map(|(name, number)| port(name, *number))
                .collect(),
        ),
        liveness_probe: Some(probe("/healthz")),
        readiness_probe: Some(probe("/readyz")),
        resources: Some(ResourceRequirements {
            requests: Some(quantities([("cpu", "10m"), ("memory", workload.memory_request)])),
            limits: Some(quantities([("memory", workload.memory_limit)])),
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
        volume_mounts: workload.volume.as_ref().map(|(_, mount)| vec![mount.clone()]),
        ..Container::default()
    }
}

fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        ..EnvVar::default()
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
fn spread(workload: &Workload, key: &str) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(workload.selector()),
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
