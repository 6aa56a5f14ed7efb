//! What `instar controller` may do.

use instar_watch::rbac::{Rule, WATCH, rule};

const SWAP: &[&str] = &["list", "watch", "patch"];
const TEMPLATE: &[&str] = &["get", "list", "create", "delete"];

/// What it may do in every namespace. Machine templates, and control planes but for kubeadm's, are of
/// kinds of their providers: see [`PROVIDERS`](instar_watch::rbac::PROVIDERS).
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
