//! What a new ClusterUpgrade is made of.

use instar_api::{ClusterUpgrade, ClusterUpgradeSpec};

/// The longest name that the API server takes.
const LONGEST_NAME: usize = 253;

/// One in the namespace of the connection, whose name says what it is for: the Cluster's and `what`, in the letters of a
/// name.
pub(crate) fn upgrade(namespace: &str, name: Option<&str>, what: &str, spec: ClusterUpgradeSpec) -> ClusterUpgrade {
    let named = name.map_or_else(|| default_name(&spec.cluster_name, what), ToOwned::to_owned);
    let mut upgrade = ClusterUpgrade::new(&named, spec);
    upgrade.metadata.namespace = Some(namespace.to_owned());
    upgrade
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
}
