//! What a new ClusterUpgrade is made of.

use instar_api::{ClusterUpgrade, ClusterUpgradeSpec};
use instar_capi::labels::CLUSTER_NAME;
use kube::ResourceExt;

/// The longest name that the API server takes.
const LONGEST_NAME: usize = 253;

/// The longest value of a label that the API server takes.
const LONGEST_LABEL: usize = 63;

/// One in the namespace of the connection, whose name says what it is for: the Cluster's and `what`, in the letters of a
/// name. Where one of that name is over, a number follows: it is another wish.
pub(crate) fn upgrade(
    namespace: &str,
    name: Option<&str>,
    what: &str,
    spec: ClusterUpgradeSpec,
    others: &[ClusterUpgrade],
) -> ClusterUpgrade {
    let named = name.map_or_else(|| free_name(&spec.cluster_name, what, others), ToOwned::to_owned);
    let mut upgrade = ClusterUpgrade::new(&named, spec);
    upgrade.metadata.namespace = Some(namespace.to_owned());
    // By it cluster-api-visualizer shows the upgrade below its Cluster; what is longer is no value of a label.
    if upgrade.spec.cluster_name.len() <= LONGEST_LABEL {
        let cluster = upgrade.spec.cluster_name.clone();
        upgrade.labels_mut().insert(CLUSTER_NAME.to_owned(), cluster);
    }
    upgrade
}

/// The default name, or the first with a number that no upgrade has which is over. One that goes on keeps its name to itself:
/// the API server refuses the second.
fn free_name(cluster: &str, what: &str, others: &[ClusterUpgrade]) -> String {
    let is_over = |name: &str| {
        let mut others = others.iter();
        others.any(|other| other.name_any() == name && other.finished_phase().is_some())
    };
    let first = default_name(cluster, what);
    let numbered = (2..=others.len() + 1).map(|number| default_name(cluster, &format!("{what}-{number}")));
    let mut names = std::iter::once(first.clone()).chain(numbered);
    names.find(|name| !is_over(name)).unwrap_or(first)
}

/// The same name for the same wish: asked for twice, the second is refused by the API server and not begun again.
pub(crate) fn default_name(cluster: &str, what: &str) -> String {
    let letters = what.to_ascii_lowercase();
    let letters = letters.replace(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '.'), "-");
    let name: String = format!("{cluster}-{letters}").chars().take(LONGEST_NAME).collect();
    name.trim_end_matches(['-', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use instar_api::FINISHED_ANNOTATION;

    use super::*;

    #[test]
    fn names_are_what_an_api_server_takes() {
        for (what, name) in [
            ("v1.35.4", "prod-v1.35.4"),
            ("v1.35", "prod-v1.35"),
            ("v1.35.4+vendor.1", "prod-v1.35.4-vendor.1"),
            ("Blue_Row.", "prod-blue-row"),
        ] {
            assert_eq!(default_name("prod", what), name);
        }
        assert_eq!(default_name(&"x".repeat(60), &"y".repeat(300)).len(), LONGEST_NAME);
    }

    #[test]
    fn what_is_over_leaves_its_name_to_nobody() {
        let named = |name: &str, finished: Option<&str>| {
            let mut upgrade = ClusterUpgrade::new(name, ClusterUpgradeSpec::default());
            let marker = finished.map(|phase| (FINISHED_ANNOTATION.to_owned(), phase.to_owned()));
            upgrade.metadata.annotations = Some(marker.into_iter().collect());
            upgrade
        };
        let others = [
            named("prod-v1.35", Some("Completed")),
            named("prod-v1.35-2", Some("Refused")),
        ];
        assert_eq!(free_name("prod", "v1.35", &others), "prod-v1.35-3");
        assert_eq!(free_name("prod", "v1.36", &others), "prod-v1.36");
        // The API server refuses it: it goes on.
        assert_eq!(free_name("prod", "v1.35", &[named("prod-v1.35", None)]), "prod-v1.35");
    }
}
