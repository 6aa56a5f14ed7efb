//! The two Clusters, and what is to happen to each.

use super::summary::Journey;
use crate::ledger::Pool;

/// The version that both are created at.
pub(super) const FIRST: &str = "v1.33.5";
/// Where only the control planes stop.
const BETWEEN: &str = "v1.34.3";
/// Where both go.
pub(super) const LAST: &str = "v1.35.4";
/// What is typed for the last one: the catalog knows which it is.
pub(super) const PREFIX: &str = "v1.35";

/// How many machines each has when nothing rolls.
pub(super) const MACHINES: usize = 7;

/// A Cluster of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// The Cluster of a ClusterClass.
    Topology,
    /// The Cluster whose every object was written by hand.
    Classic,
}

impl Subject {
    pub(super) const BOTH: [Self; 2] = [Self::Topology, Self::Classic];

    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Topology => "demo",
            Self::Classic => "classic",
        }
    }

    /// What it is made from.
    pub(super) const fn file(self) -> &'static str {
        match self {
            Self::Topology => "e2e/fixtures/demo-cluster.yaml",
            Self::Classic => "e2e/fixtures/demo-classic.yaml",
        }
    }

    /// The one edit that asks for a version, as the words after `kubectl`.
    pub(super) fn edit(self, namespace: &str, version: &str) -> Vec<String> {
        let words = match self {
            Self::Topology => {
                let patch = format!(r#"{{"spec":{{"topology":{{"version":"{version}"}}}}}}"#);
                let words = ["patch", "cluster", self.name(), "-n", namespace, "--type=merge", "-p"];
                return words.map(ToOwned::to_owned).into_iter().chain([patch]).collect();
            }
            Self::Classic => ["annotate", "cluster", self.name(), "-n", namespace],
        };
        let annotation = format!("upgrade.cluster.x-k8s.io/version={version}");
        words.map(ToOwned::to_owned).into_iter().chain([annotation]).collect()
    }
}

/// What is to happen to each pool, in either Cluster.
pub(super) fn journeys() -> [Journey; 3] {
    let workers = |name: &str| Journey {
        pool: Pool::Workers(name.to_owned()),
        replicas: 2,
        stops: &[FIRST, LAST],
    };
    let control_plane = Journey {
        pool: Pool::ControlPlane,
        replicas: 3,
        stops: &[FIRST, BETWEEN, LAST],
    };
    [control_plane, workers("md-0"), workers("md-1")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pools_have_all_machines() {
        assert_eq!(
            journeys().iter().map(|journey| journey.replicas).sum::<usize>(),
            MACHINES
        );
    }

    #[test]
    fn each_is_edited_in_its_own_way() {
        assert_eq!(
            Subject::Classic.edit("ns", "v1.35").join(" "),
            "annotate cluster classic -n ns upgrade.cluster.x-k8s.io/version=v1.35"
        );
        assert_eq!(
            Subject::Topology.edit("ns", "v1.35").join(" "),
            r#"patch cluster demo -n ns --type=merge -p {"spec":{"topology":{"version":"v1.35"}}}"#
        );
    }
}
