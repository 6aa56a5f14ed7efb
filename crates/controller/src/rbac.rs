//! What `instar controller` may do.

mod providers;

pub(crate) use providers::role_for;
pub use providers::{PROVIDERS, Provider};

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
/// What isn't watched is read at each pass.
const READ_AND_SWAP: &[&str] = &["get", "patch"];
const TEMPLATE: &[&str] = &["get", "list", "create", "delete"];

/// What it may do in every namespace. Machine templates, and control planes but for kubeadm's, are of
/// kinds of their providers: see [`PROVIDERS`].
pub const RULES: &[Rule] = &[
    // Their labels say at which version a provider's kind is read. Which they are, nobody knows before.
    rule("apiextensions.k8s.io", "customresourcedefinitions", &["get"]),
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
