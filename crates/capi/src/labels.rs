//! Labels and annotations that Cluster API gives a meaning.

/// On every object of a cluster: the Cluster's name.
pub const CLUSTER_NAME: &str = "cluster.x-k8s.io/cluster-name";

/// On a Cluster: which of several controllers looks after it, those that run with `--watch-filter` of this value.
/// Source: `WatchLabel` of cluster-api's api/core/v1beta2.
pub const WATCH_FILTER: &str = "cluster.x-k8s.io/watch-filter";

/// On a MachineSet that a MachineDeployment has made: its name.
pub const DEPLOYMENT_NAME: &str = "cluster.x-k8s.io/deployment-name";

/// On a Machine that a MachineSet has made: its name, or a hash of it.
pub const SET_NAME: &str = "cluster.x-k8s.io/set-name";

/// On a Machine of a control plane.
pub const CONTROL_PLANE: &str = "cluster.x-k8s.io/control-plane";

/// On a Machine of a MachinePool: its name, or a hash of it.
pub const POOL_NAME: &str = "cluster.x-k8s.io/pool-name";

/// An annotation, whatever its value: Cluster API's controllers leave the object alone.
/// Source: `PausedAnnotation` of cluster-api's api/core/v1beta2.
pub const PAUSED: &str = "cluster.x-k8s.io/paused";

/// An annotation: the topology controller asks, in a dry run, what a template would become.
/// Source: `TopologyDryRunAnnotation` of cluster-api's api/core/v1beta2.
pub const TOPOLOGY_DRY_RUN: &str = "topology.cluster.x-k8s.io/dry-run";

/// An annotation: Cluster API's own checks of a version edit are off, and so its guarantee that
/// nothing of the Cluster is still at an older version.
pub const UNSAFE_VERSION: &str = "unsafe.topology.cluster.x-k8s.io/disable-update-version-check";

/// An annotation: `clusterctl move` has copied the object to another cluster, and deletes it here.
/// Source: `DeleteForMoveAnnotation` of cluster-api's cmd/clusterctl/api/v1alpha3.
pub const DELETE_FOR_MOVE: &str = "clusterctl.cluster.x-k8s.io/delete-for-move";

/// A label of what the topology controller owns.
pub const TOPOLOGY_OWNED: &str = "topology.cluster.x-k8s.io/owned";

/// An annotation of a Cluster: how many MachineDeployments, and how many MachinePools, the topology controller upgrades
/// at a time; 1 where there is none.
/// Source: `ClusterTopologyUpgradeConcurrencyAnnotation` of cluster-api's api/core/v1beta2.
pub const UPGRADE_CONCURRENCY: &str = "topology.cluster.x-k8s.io/upgrade-concurrency";

/// An annotation of a MachineDeployment: the checks, with commas between, that aren't asked before a machine is made for
/// it. Its MachineSets take it over.
/// Source: `MachineSetSkipPreflightChecksAnnotation` of cluster-api's api/core/v1beta2.
pub const SKIP_PREFLIGHT_CHECKS: &str = "machineset.cluster.x-k8s.io/skip-preflight-checks";

/// A label of what the topology controller makes for a MachineDeployment of `spec.topology`: its name there.
/// Source: `ClusterTopologyMachineDeploymentNameLabel` of cluster-api's api/core/v1beta2.
pub const TOPOLOGY_DEPLOYMENT_NAME: &str = "topology.cluster.x-k8s.io/deployment-name";

/// A label of what the topology controller makes for a MachinePool of `spec.topology`: its name there.
/// Source: `ClusterTopologyMachinePoolNameLabel` of cluster-api's api/core/v1beta2.
pub const TOPOLOGY_POOL_NAME: &str = "topology.cluster.x-k8s.io/pool-name";

/// An annotation of a Cluster: the runtime hooks of which the topology controller waits for an answer, with commas
/// between.
/// Source: `PendingHooksAnnotation` of cluster-api's api/runtime/v1beta2.
pub const PENDING_HOOKS: &str = "runtime.cluster.x-k8s.io/pending-hooks";

/// An annotation of a KubeadmControlPlane: Cluster API leaves CoreDNS alone.
/// Source: `SkipCoreDNSAnnotation` of cluster-api's api/controlplane/kubeadm/v1beta2.
pub const SKIP_CORE_DNS: &str = "controlplane.cluster.x-k8s.io/skip-coredns";

/// An annotation of a KubeadmControlPlane: Cluster API leaves kube-proxy alone.
/// Source: `SkipKubeProxyAnnotation` of cluster-api's api/controlplane/kubeadm/v1beta2.
pub const SKIP_KUBE_PROXY: &str = "controlplane.cluster.x-k8s.io/skip-kube-proxy";

/// The annotation on a Machine by which Cluster API deletes it before others, whatever its value
/// (`DeleteMachineAnnotation` in Cluster API's api/core/v1beta2).
pub const DELETE_MACHINE: &str = "cluster.x-k8s.io/delete-machine";
