//! What `instar controller` may do.

use instar_watch::rbac::{Rule, WATCH, rule};

const CORE: &str = "cluster.x-k8s.io";
const OURS: &str = "upgrade.cluster.x-k8s.io";

const SWAP: &[&str] = &["list", "watch", "patch"];
/// Add-ons see a Cluster with all its labels and annotations, of which little is kept.
const CLUSTER: &[&str] = &["get", "list", "watch", "patch"];
const TEMPLATE: &[&str] = &["get", "list", "watch", "create", "delete"];

/// A kind that the controller watches from its start. Templates, control planes but for kubeadm's, and the
/// infrastructure of MachinePools are of kinds that it learns from what refers to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// What is upgraded; of topology Clusters their version and pins are written.
    Clusters,
    /// Which catalog is that of a topology Cluster.
    ClusterClasses,
    /// Swapped.
    KubeadmControlPlanes,
    /// Swapped.
    MachineDeployments,
    /// Which machines run which template.
    MachineSets,
    /// Swapped, and paused meanwhile.
    MachinePools,
    /// How far a rollout is; one of a topology cluster's control plane that never joined is deleted.
    Machines,
    /// The catalog.
    KubernetesReleases,
    /// What is asked, and the record of it.
    ClusterUpgrades,
    /// How long templates and records are kept.
    UpgradePolicies,
}

impl Watched {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Clusters,
        Self::ClusterClasses,
        Self::KubeadmControlPlanes,
        Self::MachineDeployments,
        Self::MachineSets,
        Self::MachinePools,
        Self::Machines,
        Self::KubernetesReleases,
        Self::ClusterUpgrades,
        Self::UpgradePolicies,
    ];

    /// What watching it takes, and what is written of it.
    #[must_use]
    pub const fn rule(self) -> Rule {
        match self {
            Self::Clusters => rule(CORE, "clusters", CLUSTER),
            Self::ClusterClasses => rule(CORE, "clusterclasses", WATCH),
            Self::KubeadmControlPlanes => rule("controlplane.cluster.x-k8s.io", "kubeadmcontrolplanes", SWAP),
            Self::MachineDeployments => rule(CORE, "machinedeployments", SWAP),
            Self::MachineSets => rule(CORE, "machinesets", WATCH),
            Self::MachinePools => rule(CORE, "machinepools", SWAP),
            Self::Machines => rule(CORE, "machines", &["get", "list", "watch", "delete"]),
            Self::KubernetesReleases => rule(OURS, "kubernetesreleases", WATCH),
            Self::ClusterUpgrades => rule(OURS, "clusterupgrades", &["list", "watch", "create", "patch", "delete"]),
            Self::UpgradePolicies => rule(OURS, "upgradepolicies", WATCH),
        }
    }
}

/// What it may do in every namespace. Machine templates, control planes but for kubeadm's, and the
/// infrastructure of MachinePools are of kinds of their providers: see [`PROVIDERS`](instar_watch::rbac::PROVIDERS).
pub const RULES: &[Rule] = &[
    Watched::Clusters.rule(),
    Watched::ClusterClasses.rule(),
    Watched::KubeadmControlPlanes.rule(),
    Watched::MachineDeployments.rule(),
    Watched::MachineSets.rule(),
    Watched::MachinePools.rule(),
    Watched::Machines.rule(),
    Watched::KubernetesReleases.rule(),
    Watched::ClusterUpgrades.rule(),
    Watched::UpgradePolicies.rule(),
    rule(OURS, "clusterupgrades/status", &["patch"]),
    // Their labels say at which version a provider's kind is read. Which they are is known only from references.
    rule("apiextensions.k8s.io", "customresourcedefinitions", &["get"]),
    rule("bootstrap.cluster.x-k8s.io", "kubeadmconfigtemplates", TEMPLATE),
    // Which of them have opted in to Runtime Hooks.
    rule("", "namespaces", &["list"]),
    // Which Cluster API is installed, where clusterctl installed it.
    rule("clusterctl.cluster.x-k8s.io", "providers", &["list"]),
    // One of its own, by which Cluster API asks before each step.
    rule(
        "runtime.cluster.x-k8s.io",
        "extensionconfigs",
        &["get", "create", "patch", "delete"],
    ),
    rule("events.k8s.io", "events", &["create", "patch"]),
];

/// What it may do in the namespace of its lease.
pub const LEASE_RULES: &[Rule] = &[rule("coordination.k8s.io", "leases", &["get", "create", "patch"])];

/// What it may do where a user binds it: read the kubeconfigs of workload clusters. `get` alone, so that nothing is listed.
pub const WORKLOAD_RULES: &[Rule] = &[rule("", "secrets", &["get"])];

/// What it may do where a user installs it: see which vCenter a VSphereCluster has, and with whose identity. The Secrets
/// with the credentials are none of it: a user names each.
pub const VSPHERE_RULES: &[Rule] = &[
    rule("infrastructure.cluster.x-k8s.io", "vsphereclusters", &["get"]),
    rule("infrastructure.cluster.x-k8s.io", "vsphereclusteridentities", &["get"]),
];
