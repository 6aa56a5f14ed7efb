//! `kubernetesVersions`: the list that Cluster API chooses a path from.

use std::collections::BTreeSet;

use instar_api::Tier;
use instar_catalog::Catalog;
use instar_domain::{KubeVersion, Minor};

/// What the class should list, and what had to be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Versions {
    /// Oldest first, with no minor missing in between.
    pub(crate) listed: Vec<KubeVersion>,
    /// Listed by the class, and without a row: a path through one of them is refused.
    pub(crate) without_row: Vec<KubeVersion>,
    /// Below a minor for which there is no version.
    pub(crate) below_gap: Vec<KubeVersion>,
    /// The texts in the class that are no versions.
    pub(crate) unreadable: Vec<String>,
    /// Cluster API's bound of the list, where it was met.
    pub(crate) beyond_bound: Vec<KubeVersion>,
}

/// Cluster API's bound.
const MAX: usize = 100;

/// What the class lists now stays, since a Cluster may use it; every version of the catalog joins
/// it, but for previews: Cluster API goes through the newest patch of each minor, unasked.
pub(crate) fn choose(present: &[String], catalog: &Catalog) -> Versions {
    let mut versions = Versions::default();
    let mut all: BTreeSet<KubeVersion> = catalog
        .releases()
        .filter(|row| row.tier() != Tier::Preview)
        .map(|row| row.version().clone())
        .collect();
    for text in present {
        match text.parse::<KubeVersion>() {
            Ok(version) => {
                if catalog.rows_of(&version).next().is_none() {
                    versions.without_row.push(version.clone());
                }
                all.insert(version);
            }
            Err(_) => versions.unreadable.push(text.clone()),
        }
    }
    let mut above: Option<Minor> = None;
    for version in all.into_iter().rev() {
        let minor = version.minor();
        let joins = versions.below_gap.is_empty()
            && above.is_none_or(|above| above.major == minor.major && above.minor - minor.minor <= 1);
        if !joins {
            versions.below_gap.push(version);
        } else if versions.listed.len() == MAX {
            versions.beyond_bound.push(version);
        } else {
            above = Some(minor);
            versions.listed.push(version);
        }
    }
    versions.listed.reverse();
    versions.below_gap.reverse();
    versions.beyond_bound.reverse();
    versions
}
