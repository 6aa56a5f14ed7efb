//! The labels and annotations of the group, each with the object that it is on.

/// The API group of Instar's kinds, and the domain of the labels and annotations here.
pub const GROUP: &str = "upgrade.cluster.x-k8s.io";

/// The label of a ClusterClass, and of a classic Cluster, that names its catalog ([`crate::CatalogName`]). On a topology
/// Cluster it may only repeat what its class says.
pub const CATALOG_LABEL: &str = "upgrade.cluster.x-k8s.io/catalog";

/// The annotation of a Cluster that carries its [`crate::Pins`]: admission writes it into a topology Cluster, and the
/// controller into a classic one, when an upgrade begins.
pub const RELEASES_ANNOTATION: &str = "upgrade.cluster.x-k8s.io/releases";

/// The annotation that `instar wire` puts on a ClusterClass whose control plane uses an external
/// etcd (value `external`): the wiring then leaves the etcd tag alone.
pub const ETCD_ANNOTATION: &str = "upgrade.cluster.x-k8s.io/etcd";

/// The annotation of a classic Cluster that says which of its pins the control plane goes through, for which upgrade.
pub const PATH_ANNOTATION: &str = "upgrade.cluster.x-k8s.io/path";

/// The annotation that switches rules off for the one edit that sets or changes it: ids of rules
/// separated by spaces, then, if anything is to be said, a colon and why. On an object that is to be
/// deleted it counts for as long as it is there.
pub const BREAK_GLASS_ANNOTATION: &str = "upgrade.cluster.x-k8s.io/break-glass";

/// The annotation of a classic Cluster that makes a `ClusterUpgrade`: the target, written as in
/// [`crate::ClusterUpgradeSpec::target`].
pub const VERSION_ANNOTATION: &str = "upgrade.cluster.x-k8s.io/version";

/// The label of a `ClusterUpgrade` that the annotation [`VERSION_ANNOTATION`] made: its sequence number
/// within its Cluster.
pub const REQUEST_NUMBER_LABEL: &str = "upgrade.cluster.x-k8s.io/request-number";

/// The annotation of a `ClusterUpgrade` that is or was active: when Instar first saw it. With the name it tells two
/// that were made one after the other apart; unlike a uid, `clusterctl move` keeps it.
pub const STARTED_ANNOTATION: &str = "upgrade.cluster.x-k8s.io/started";

/// The annotation of a `ClusterUpgrade` that is over: the phase at its end. `clusterctl move` drops
/// every status, and a finished upgrade must not start again on the other side. One that had reached a target and has got
/// another one says more ([`crate::FinishedMarker`]).
pub const FINISHED_ANNOTATION: &str = "upgrade.cluster.x-k8s.io/finished";

/// The annotation of a `ClusterUpgrade` that is the record of an edit of a topology Cluster's
/// version: it follows the Cluster, and never writes to it.
pub const RECORD_ANNOTATION: &str = "upgrade.cluster.x-k8s.io/record";

/// The annotation that every swap writes into the object that it swaps: for each step of the upgrade, what was there
/// before and what was written. The edit of a version writes it into the Cluster. By it a later edit by another client
/// is found. A MachineDeployment of a topology Cluster has it where it goes before others.
pub const SWAP_HISTORY_ANNOTATION: &str = "upgrade.cluster.x-k8s.io/swap-history";

/// The annotation of a MachinePool, or of its infrastructure, that did not become paused: which upgrade leaves the pool to
/// its user for that. It doesn't try again.
pub const LEFT_ANNOTATION: &str = "upgrade.cluster.x-k8s.io/left-to-user";

/// The annotation of a topology Cluster's MachineDeployment that an upgrade holds by `spec.paused` until its gates open:
/// which upgrade does so, and since when. A MachineDeployment that is paused without it is its user's.
pub const HELD_ANNOTATION: &str = "upgrade.cluster.x-k8s.io/held";

/// The annotation of a topology Cluster that keeps the user's value of `topology.cluster.x-k8s.io/upgrade-concurrency`
/// while an upgrade that holds pools has a higher one, and that higher one.
pub const CONCURRENCY_ANNOTATION: &str = "upgrade.cluster.x-k8s.io/upgrade-concurrency";

/// The annotation of a `ClusterUpgrade` that says when the turn of its add-ons and gates came: deadlines count from then,
/// and nothing is set for an add-on before.
pub const GATE_HISTORY_ANNOTATION: &str = "upgrade.cluster.x-k8s.io/gate-history";

/// The annotation of a `ClusterUpgrade` that the controller created to take another one back that had failed: why.
pub const ON_FAILURE_ANNOTATION: &str = "upgrade.cluster.x-k8s.io/on-failure";

/// The annotation of a topology Cluster under way that has what the Runtime Hooks answer Cluster API:
/// [`crate::HookAnswer`].
pub const HOOK_ANSWER_ANNOTATION: &str = "upgrade.cluster.x-k8s.io/hook-answer";

/// The label of a minted template: the release that it was minted for.
pub const RELEASE_LABEL: &str = "upgrade.cluster.x-k8s.io/release";

/// The label of a minted template: the role of the machines, `control-plane` or `worker`.
pub const ROLE_LABEL: &str = "upgrade.cluster.x-k8s.io/role";

/// The label of a minted template: the name of the template that it was made from.
pub const SOURCE_LABEL: &str = "upgrade.cluster.x-k8s.io/source";

/// The annotation of a minted template, and of a MachinePool's infrastructure in which values were set: hashes of what
/// it was rendered as, and of these values. By them it is known again where a webhook changes a value or defaults are
/// added.
pub const RENDERED_ANNOTATION: &str = "upgrade.cluster.x-k8s.io/rendered";

/// The annotation of a MachinePool's infrastructure in which values were set: what was there before, so that a rollback can
/// set it back.
pub const VALUES_HISTORY_ANNOTATION: &str = "upgrade.cluster.x-k8s.io/values-history";

/// The label by which a namespace keeps out of admission, with the value `disabled`.
pub const ADMISSION_LABEL: &str = "upgrade.cluster.x-k8s.io/admission";

/// The label by which a namespace opts in to Runtime Hooks, with the value [`HOOKS_ENABLED`]: Cluster API then asks
/// Instar before each step of its topology Clusters.
pub const HOOKS_LABEL: &str = "upgrade.cluster.x-k8s.io/runtime-hooks";

/// The value of [`HOOKS_LABEL`].
pub const HOOKS_ENABLED: &str = "enabled";

/// The annotation of our CustomResourceDefinitions: the version of Instar that they come from.
pub const INSTAR_VERSION_ANNOTATION: &str = "upgrade.cluster.x-k8s.io/instar-version";

/// All annotations above. A later version of Instar may have more.
pub const ANNOTATIONS: [&str; 18] = [
    RELEASES_ANNOTATION,
    ETCD_ANNOTATION,
    PATH_ANNOTATION,
    BREAK_GLASS_ANNOTATION,
    VERSION_ANNOTATION,
    STARTED_ANNOTATION,
    FINISHED_ANNOTATION,
    RECORD_ANNOTATION,
    SWAP_HISTORY_ANNOTATION,
    LEFT_ANNOTATION,
    HELD_ANNOTATION,
    HOOK_ANSWER_ANNOTATION,
    CONCURRENCY_ANNOTATION,
    GATE_HISTORY_ANNOTATION,
    RENDERED_ANNOTATION,
    VALUES_HISTORY_ANNOTATION,
    ON_FAILURE_ANNOTATION,
    INSTAR_VERSION_ANNOTATION,
];

/// Whether an annotation is of this group and none of [`ANNOTATIONS`]: misspelt, or of a later version.
#[must_use]
pub fn is_unknown_annotation(name: &str) -> bool {
    let of_group = name.split_once('/').is_some_and(|(domain, _)| domain == GROUP);
    of_group && !ANNOTATIONS.contains(&name)
}
