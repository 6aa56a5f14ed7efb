//! The rights of `instar webhook`, next to the kinds that it watches: each kind has its rule. No rule allows `get` or a
//! change of a watched object.

use instar_api::GROUP;
use instar_watch::rbac::{Provider, Rule, WATCH};

const CORE: &str = "cluster.x-k8s.io";
const BOOTSTRAP: &str = "bootstrap.cluster.x-k8s.io";

/// A kind that the admission server watches from its start. It finds the kinds of templates, and of control planes but
/// for kubeadm's, by the references to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Watched {
    /// For the pins: which release is in use. For their topology, labels and versions.
    Clusters,
    /// For the wiring, and for what a topology's pools are made of.
    ClusterClasses,
    /// For what runs: versions, etcd, CoreDNS.
    KubeadmControlPlanes,
    /// Workers, and users of templates.
    MachineDeployments,
    /// Users of templates; workers if they belong to no MachineDeployment.
    MachineSets,
    /// Workers.
    MachinePools,
    /// Workers, if no other object created them.
    Machines,
    /// The catalog.
    KubernetesReleases,
    /// Active upgrades, and templates that are kept for a rollback.
    ClusterUpgrades,
    /// The enforcement of each rule.
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

    /// The right that the watch needs.
    #[must_use]
    pub const fn rule(self) -> Rule {
        let (api_group, resource) = match self {
            Self::Clusters => (CORE, "clusters"),
            Self::ClusterClasses => (CORE, "clusterclasses"),
            Self::KubeadmControlPlanes => ("controlplane.cluster.x-k8s.io", "kubeadmcontrolplanes"),
            Self::MachineDeployments => (CORE, "machinedeployments"),
            Self::MachineSets => (CORE, "machinesets"),
            Self::MachinePools => (CORE, "machinepools"),
            Self::Machines => (CORE, "machines"),
            Self::KubernetesReleases => (GROUP, "kubernetesreleases"),
            Self::ClusterUpgrades => (GROUP, "clusterupgrades"),
            Self::UpgradePolicies => (GROUP, "upgradepolicies"),
        };
        Rule {
            api_group,
            resource,
            verbs: WATCH,
        }
    }
}

/// All rights of `instar webhook`, without those for the kinds of providers: see [`provider_rules`].
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
    Rule {
        api_group: BOOTSTRAP,
        resource: "kubeadmconfigtemplates",
        verbs: WATCH,
    },
    // Whether ours fit this program.
    Rule {
        api_group: "apiextensions.k8s.io",
        resource: "customresourcedefinitions",
        verbs: &["get"],
    },
    // For Events about rules that were switched off for an edit.
    Rule {
        api_group: "events.k8s.io",
        resource: "events",
        verbs: &["create"],
    },
];

/// The rights to watch a provider's templates and control planes; empty if it has none.
#[must_use]
pub fn provider_rules(provider: &Provider) -> Vec<Rule> {
    let watched = provider.rules.iter().filter(|rule| {
        ["templates", "controlplanes"]
            .iter()
            .any(|end| rule.resource.ends_with(end))
    });
    watched.map(|rule| Rule { verbs: WATCH, ..*rule }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_watched_kind_has_its_rule() {
        assert_eq!(
            RULES.get(..Watched::ALL.len()),
            Some(&Watched::ALL.map(Watched::rule)[..])
        );
    }

    #[test]
    fn what_refers_to_templates_is_watched_of_a_provider_and_they_are() {
        for provider in instar_watch::rbac::PROVIDERS {
            let rules = provider_rules(provider);
            assert!(rules.iter().all(|rule| rule.verbs == WATCH), "{rules:?}");
            // What makes the machines of a MachinePool refers to no template.
            let others = provider.rules.iter().filter(|rule| {
                let same = |watched: &&Rule| watched.api_group == rule.api_group && watched.resource == rule.resource;
                rules.iter().find(same).is_none()
            });
            for rule in others {
                assert!(rule.resource.ends_with("machinepools"), "{rule:?}");
            }
        }
    }
}
