//! The paths of the admission server.

use instar_admission::{GuardedKind, upgrade::Right};

/// What is asked, one path each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// Writes a Cluster's version and pins.
    MutateCluster,
    /// The same of a Cluster that is created with pins or a control plane, by a user who may create
    /// KubernetesReleases: [`Requester::ReleaseAuthor`](instar_admission::cluster::Requester). The API server has asked.
    MutateRestoredCluster,
    /// Judges an edit of a control plane before Cluster API's webhooks do, whose refusals have a code that makes Flux and
    /// others delete the object ([`instar_admission::REFUSAL_CODE`]). It writes nothing.
    MutateControlPlane,
    /// The same of a worker, where its version is a text that Cluster API can't read.
    MutateWorker,
    /// The same of a machine template, which its provider's webhook would refuse.
    MutateMachineTemplate,
    /// The same of a KubernetesRelease, before its schema.
    MutateKubernetesRelease,
    /// The same of a ClusterUpgrade. It writes who set what lets the upgrade through.
    MutateClusterUpgrade,
    /// Judges an edit of a guarded object.
    Validate(GuardedKind),
    /// Judges what [`Route::MutateRestoredCluster`] has left.
    ValidateRestoredCluster,
    /// Judges a ClusterUpgrade that is let through, by a user who lacks the right to do so. The API server has asked.
    ValidateUpgradeWithout(Right),
    /// Judges the deletion of a template that has the annotation of `clusterctl move`, by a user who may delete Clusters
    /// in its namespace. The API server has asked.
    ValidateMovedTemplate,
}

impl Route {
    pub fn all() -> impl Iterator<Item = Self> {
        let mutating = GuardedKind::ALL.into_iter().filter_map(Self::mutating);
        let validating = GuardedKind::ALL.into_iter().map(Self::Validate);
        let by_rights = [
            Self::MutateRestoredCluster,
            Self::ValidateRestoredCluster,
            Self::ValidateMovedTemplate,
            Self::ValidateUpgradeWithout(Right::Override),
            Self::ValidateUpgradeWithout(Right::Approve),
        ];
        mutating.chain(validating).chain(by_rights)
    }

    /// What is asked about a kind in the mutating phase; nothing of most.
    #[must_use]
    pub const fn mutating(guard: GuardedKind) -> Option<Self> {
        match guard {
            GuardedKind::Cluster => Some(Self::MutateCluster),
            GuardedKind::ControlPlane => Some(Self::MutateControlPlane),
            GuardedKind::Worker => Some(Self::MutateWorker),
            GuardedKind::MachineTemplate => Some(Self::MutateMachineTemplate),
            GuardedKind::KubernetesRelease => Some(Self::MutateKubernetesRelease),
            GuardedKind::ClusterUpgrade => Some(Self::MutateClusterUpgrade),
            GuardedKind::ClusterClass
            | GuardedKind::BootstrapTemplate
            | GuardedKind::OtherTemplate
            | GuardedKind::UpgradePolicy
            | GuardedKind::Marks => None,
        }
    }

    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::MutateCluster => "/mutate/cluster",
            Self::MutateRestoredCluster => "/mutate/restored-cluster",
            Self::MutateControlPlane => "/mutate/control-plane",
            Self::MutateWorker => "/mutate/worker",
            Self::MutateMachineTemplate => "/mutate/machine-template",
            Self::MutateKubernetesRelease => "/mutate/kubernetes-release",
            Self::MutateClusterUpgrade => "/mutate/cluster-upgrade",
            Self::ValidateUpgradeWithout(Right::Override) => "/validate/cluster-upgrade-without-override",
            Self::ValidateUpgradeWithout(Right::Approve) => "/validate/cluster-upgrade-without-approve",
            Self::ValidateRestoredCluster => "/validate/restored-cluster",
            Self::ValidateMovedTemplate => "/validate/moved-template",
            Self::Validate(GuardedKind::Cluster) => "/validate/cluster",
            Self::Validate(GuardedKind::ControlPlane) => "/validate/control-plane",
            Self::Validate(GuardedKind::Worker) => "/validate/worker",
            Self::Validate(GuardedKind::ClusterClass) => "/validate/cluster-class",
            Self::Validate(GuardedKind::MachineTemplate) => "/validate/machine-template",
            Self::Validate(GuardedKind::BootstrapTemplate) => "/validate/bootstrap-template",
            Self::Validate(GuardedKind::OtherTemplate) => "/validate/template",
            Self::Validate(GuardedKind::KubernetesRelease) => "/validate/kubernetes-release",
            Self::Validate(GuardedKind::ClusterUpgrade) => "/validate/cluster-upgrade",
            Self::Validate(GuardedKind::UpgradePolicy) => "/validate/upgrade-policy",
            Self::Validate(GuardedKind::Marks) => "/validate/marks",
        }
    }
}
