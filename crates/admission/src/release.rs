//! KubernetesReleases: readable when they come, and there as long as a Cluster needs them.

use instar_api::KubernetesReleaseSpec;
use instar_catalog::Release;

use crate::{Denial, Rule};

/// How many Clusters a refusal lists before it only counts them.
const LISTED: usize = 10;

/// Whether a row may come into the catalog.
///
/// # Errors
/// The refusal, where a text of it can't be read.
pub fn readable(name: &str, spec: &KubernetesReleaseSpec) -> Result<(), Denial> {
    Release::read(name, spec).map(|_| ()).map_err(|error| Denial {
        rule: Rule::ReleaseReadable,
        object: format!("KubernetesRelease {name}"),
        field: "spec",
        what: error.detail(),
        way_out: "correct it and create the row again".to_owned(),
    })
}

/// Whether a row may be deleted. `users` are the Clusters that are pinned to it, as namespace/name.
///
/// # Errors
/// The refusal, with the Clusters.
pub fn delete(name: &str, mut users: Vec<String>) -> Result<(), Denial> {
    if users.is_empty() {
        return Ok(());
    }
    users.sort();
    let more = users.len().saturating_sub(LISTED);
    users.truncate(LISTED);
    let mut listed = users.join(", ");
    if more > 0 {
        listed = format!("{listed} and {more} more");
    }
    Err(Denial {
        rule: Rule::ReleaseInUse,
        object: format!("KubernetesRelease {name}"),
        field: "metadata.name",
        what: format!("Clusters are pinned to it: {listed}"),
        way_out: "upgrade or delete them first; a pin goes with the version edit after the one that left it".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_in_use_stays() {
        assert_eq!(delete("r", vec![]), Ok(()));
        let denial = delete("r", vec!["b/c".to_owned(), "a/c".to_owned()]).unwrap_err();
        assert_eq!(
            denial.to_string(),
            "KubernetesRelease r: metadata.name: Clusters are pinned to it: a/c, b/c; upgrade or delete them first; a pin goes with the version edit after the one that left it [rule release-in-use]"
        );
        let many = (0..12).map(|n| format!("ns/c{n:02}")).collect();
        assert!(delete("r", many).unwrap_err().what.ends_with("ns/c09 and 2 more"));
    }
}
