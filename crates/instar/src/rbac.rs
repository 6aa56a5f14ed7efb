//! What `instar webhook` may do, next to what it watches: each watched kind carries its rule.

pub use instar_controller::Rule;

/// Watching takes these two, and nothing here gets or writes.
const WATCH: &[&str] = &["list", "watch"];

/// A kind that the admission server watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Watched {
    /// For the pins: which release is in use.
    Clusters,
    /// For the wiring, and for what a topology's pools are made of.
    ClusterClasses,
    /// For the etcd that runs.
    KubeadmControlPlanes,
    /// The catalog.
    KubernetesReleases,
}

impl Watched {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Clusters,
        Self::ClusterClasses,
        Self::KubeadmControlPlanes,
        Self::KubernetesReleases,
    ];

    /// What watching it takes.
    #[must_use]
    pub const fn rule(self) -> Rule {
        let (api_group, resource) = match self {
            Self::Clusters => ("cluster.x-k8s.io", "clusters"),
            Self::ClusterClasses => ("cluster.x-k8s.io", "clusterclasses"),
            Self::KubeadmControlPlanes => ("controlplane.cluster.x-k8s.io", "kubeadmcontrolplanes"),
            Self::KubernetesReleases => ("upgrade.cluster.x-k8s.io", "kubernetesreleases"),
        };
        Rule {
            api_group,
            resource,
            verbs: WATCH,
        }
    }
}

/// All that `instar webhook` may do, and needs.
pub const RULES: &[Rule] = &[
    Watched::Clusters.rule(),
    Watched::ClusterClasses.rule(),
    Watched::KubeadmControlPlanes.rule(),
    Watched::KubernetesReleases.rule(),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_watched_kind_has_its_rule() {
        assert_eq!(RULES, Watched::ALL.map(Watched::rule));
    }
}
