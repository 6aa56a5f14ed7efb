//! The Cluster API that is installed manages the target.

use instar_planner::{Problem, Snapshot, target_minor};

use crate::{
    cluster_api::{ClusterApiVersion, Managed, managed},
    finding::Finding,
};

/// Only what its makers exclude holds an upgrade: an older table says nothing of what came since.
pub(super) fn look(snapshot: &Snapshot, installed: &ClusterApiVersion) -> Finding {
    let problem = |message: String| Problem {
        kind: "Provider".to_owned(),
        name: "cluster-api".to_owned(),
        message,
    };
    let release = match installed {
        ClusterApiVersion::Installed(release) => release,
        ClusterApiVersion::NotListed => {
            return Finding::NotApplicable(
                "no Provider of clusterctl says which version of Cluster API is installed".to_owned(),
            );
        }
        ClusterApiVersion::Unread(why) => {
            return Finding::Warn(problem(format!("the version of Cluster API is not known: {why}")));
        }
    };
    // Where no release says it, nothing begins.
    let Some(target) = target_minor(snapshot) else {
        return Finding::NotApplicable("no release says to which minor the upgrade goes".to_owned());
    };
    match managed(release, target) {
        Managed::Yes => Finding::Pass,
        Managed::Since(since) => Finding::Fail(problem(format!(
            "Cluster API {release} doesn't manage Kubernetes {target}: that takes {since} or later"
        ))),
        Managed::ByNewer(minor) => Finding::Fail(problem(format!(
            "Cluster API {release} doesn't manage Kubernetes {target}: that takes {minor} or later"
        ))),
        // The way to a version that it manages.
        Managed::NoLonger => Finding::Warn(problem(format!(
            "Cluster API {release} doesn't manage Kubernetes {target} any more: go on to a later version soon"
        ))),
        Managed::KubernetesUnlisted => Finding::Warn(problem(format!(
            "this Instar doesn't know whether Cluster API {release} manages Kubernetes {target}: see its release notes"
        ))),
        Managed::Unlisted => Finding::Warn(problem(format!(
            "this Instar doesn't know which versions of Kubernetes Cluster API {release} manages: see its release notes"
        ))),
    }
}
