//! The paths of the admission server.

use instar_admission::GuardedKind;

/// What is asked, one path each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// Writes a Cluster's version and pins.
    MutateCluster,
    /// Judges an edit of a guarded object.
    Validate(GuardedKind),
}

impl Route {
    pub fn all() -> impl Iterator<Item = Self> {
        std::iter::once(Self::MutateCluster).chain(GuardedKind::ALL.into_iter().map(Self::Validate))
    }

    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::MutateCluster => "/mutate/cluster",
            Self::Validate(GuardedKind::Cluster) => "/validate/cluster",
            Self::Validate(GuardedKind::ControlPlane) => "/validate/control-plane",
            Self::Validate(GuardedKind::Worker) => "/validate/worker",
            Self::Validate(GuardedKind::ClusterClass) => "/validate/cluster-class",
            Self::Validate(GuardedKind::MachineTemplate) => "/validate/machine-template",
            Self::Validate(GuardedKind::BootstrapTemplate) => "/validate/bootstrap-template",
            Self::Validate(GuardedKind::KubernetesRelease) => "/validate/kubernetes-release",
            Self::Validate(GuardedKind::ClusterUpgrade) => "/validate/cluster-upgrade",
            Self::Validate(GuardedKind::UpgradePolicy) => "/validate/upgrade-policy",
        }
    }
}
