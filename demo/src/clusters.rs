//! The two Clusters, and what is to happen to each.

use instar_api::VERSION_ANNOTATION;
use instar_e2e::support::ledger::Pool;

/// The version that both are created at.
pub(crate) const FIRST: &str = "v1.33.5";
/// Where only the control planes stop.
const BETWEEN: &str = "v1.34.3";
/// Where both go.
pub(crate) const LAST: &str = "v1.35.4";
/// What is typed for the last one: the catalog knows which it is.
pub(crate) const PREFIX: &str = "v1.35";

/// How many machines each has when nothing rolls.
pub(crate) const MACHINES: usize = 7;

/// What is expected of one pool.
#[derive(Debug)]
pub(crate) struct PoolPath {
    /// The pool.
    pub(crate) pool: Pool,
    /// How many machines it has.
    pub(crate) replicas: usize,
    /// The versions that it stops at.
    pub(crate) stops: &'static [&'static str],
}

/// A Cluster of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The Cluster of a ClusterClass.
    Topology,
    /// The Cluster whose every object was written by hand.
    Classic,
}

impl Subject {
    pub(crate) const BOTH: [Self; 2] = [Self::Topology, Self::Classic];

    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Topology => "demo",
            Self::Classic => "classic",
        }
    }

    /// What it is made from.
    pub(crate) const fn file(self) -> &'static str {
        match self {
            Self::Topology => "demo/fixtures/cluster.yaml",
            Self::Classic => "demo/fixtures/classic.yaml",
        }
    }

    /// The one edit that asks for a version, as the words after `kubectl`.
    pub(crate) fn edit(self, namespace: &str, version: &str) -> Vec<String> {
        let words = match self {
            Self::Topology => {
                let patch = format!(r#"{{"spec":{{"topology":{{"version":"{version}"}}}}}}"#);
                let words = ["patch", "cluster", self.name(), "-n", namespace, "--type=merge", "-p"];
                return words.map(ToOwned::to_owned).into_iter().chain([patch]).collect();
            }
            Self::Classic => ["annotate", "cluster", self.name(), "-n", namespace],
        };
        let annotation = format!("{VERSION_ANNOTATION}={version}");
        words.map(ToOwned::to_owned).into_iter().chain([annotation]).collect()
    }
}

/// What is to happen to each pool, in either Cluster.
pub(crate) fn pool_paths() -> [PoolPath; 3] {
    let workers = |name: &str| PoolPath {
        pool: Pool::Workers(name.to_owned()),
        replicas: 2,
        stops: &[FIRST, LAST],
    };
    let control_plane = PoolPath {
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
        assert_eq!(pool_paths().iter().map(|path| path.replicas).sum::<usize>(), MACHINES);
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
