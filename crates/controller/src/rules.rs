//! What `instar controller` may do.

mod providers;

pub(crate) use providers::role_for;
pub use providers::{InfrastructureProvider, PROVIDERS};

/// What may be done to one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The API group.
    pub api_group: &'static str,
    /// The resource, in the plural, with its subresource.
    pub resource: &'static str,
    /// The verbs.
    pub verbs: &'static [&'static str],
}

const fn rule(api_group: &'static str, resource: &'static str, verbs: &'static [&'static str]) -> Rule {
    Rule {
        api_group,
        resource,
        verbs,
    }
}

const WATCH: &[&str] = &["list", "watch"];
const SWAP: &[&str] = &["list", "watch", "patch"];
const TEMPLATE: &[&str] = &["get", "list", "create", "delete"];

/// What it may do in every namespace. The machine templates' kinds are their providers': see
/// [`PROVIDERS`].
pub const RULES: &[Rule] = &[
    rule("bootstrap.cluster.x-k8s.io", "kubeadmconfigtemplates", TEMPLATE),
    rule("cluster.x-k8s.io", "clusters", SWAP),
    rule("cluster.x-k8s.io", "machinedeployments", SWAP),
    rule("cluster.x-k8s.io", "machinepools", WATCH),
    rule("cluster.x-k8s.io", "machines", WATCH),
    rule("cluster.x-k8s.io", "machinesets", WATCH),
    rule("controlplane.cluster.x-k8s.io", "kubeadmcontrolplanes", SWAP),
    rule("events.k8s.io", "events", &["create", "patch"]),
    rule(
        "upgrade.cluster.x-k8s.io",
        "clusterupgrades",
        &["list", "watch", "create", "patch"],
    ),
    rule("upgrade.cluster.x-k8s.io", "clusterupgrades/status", &["patch"]),
    rule("upgrade.cluster.x-k8s.io", "kubernetesreleases", WATCH),
    rule("upgrade.cluster.x-k8s.io", "upgradepolicies", WATCH),
];

/// What it may do in the namespace of its lease.
pub const LEASE_RULES: &[Rule] = &[rule("coordination.k8s.io", "leases", &["get", "create", "patch"])];
