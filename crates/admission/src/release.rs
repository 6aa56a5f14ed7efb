//! KubernetesReleases: readable when they come, and there as long as a Cluster needs them.

use instar_addons::refusals_of_addons;
use instar_api::{KubernetesReleaseSpec, Rule};
use instar_catalog::Release;

use crate::{
    Finding,
    edit::finding,
    policy::{LABELS, wrong_selector},
};

/// How many Clusters a refusal lists before it only counts them.
const LISTED: usize = 10;

/// What is wrong with a row that is to come into the catalog.
#[must_use]
pub fn create(name: &str, spec: &KubernetesReleaseSpec) -> Vec<Finding> {
    let object = || format!("KubernetesRelease {name}");
    let unreadable = Release::read(name, spec).err().map(|error| {
        let remediation = "correct it and create the row again";
        finding(Rule::ReleaseReadable, object(), "spec", error.detail(), remediation)
    });
    let labels = spec.addons.iter().filter_map(|addon| {
        let what = wrong_selector(addon.gate.observe.label_selector.as_ref()?)?;
        let what = format!("{}: observe.labelSelector: {what}", addon.gate.name);
        Some(finding(Rule::GateReadable, object(), "spec.addons", what, LABELS))
    });
    let refusals = refusals_of_addons(&spec.addons).into_iter();
    let addons =
        refusals.map(|refusal| finding(refusal.rule, object(), "spec.addons", refusal.what, refusal.remediation));
    unreadable.into_iter().chain(labels).chain(addons).collect()
}

/// Whether a row may change so. Its schema says the same, with a code that makes Flux delete the row.
#[must_use]
pub fn update(name: &str, old: &KubernetesReleaseSpec, new: &KubernetesReleaseSpec) -> Option<Finding> {
    let KubernetesReleaseSpec {
        catalog,
        version,
        revision,
        upgrades_from,
        machine_images,
        components,
        addons,
        support: _,
    } = new;
    let field = [
        ("spec.catalog", old.catalog == *catalog),
        ("spec.version", old.version == *version),
        ("spec.revision", old.revision == *revision),
        ("spec.upgradesFrom", old.upgrades_from == *upgrades_from),
        ("spec.machineImages", old.machine_images == *machine_images),
        ("spec.components", old.components == *components),
        ("spec.addons", old.addons == *addons),
    ]
    .into_iter()
    .find_map(|(field, is_same)| (!is_same).then_some(field))?;
    Some(finding(
        Rule::ReleaseSpec,
        format!("KubernetesRelease {name}"),
        field,
        "Clusters that are pinned to this row would roll, or go another way, if it changed".to_owned(),
        "create a row with a higher revision",
    ))
}

/// Whether a row may be deleted. `pinned` are the Clusters that are pinned to it, `upgrades` the
/// ClusterUpgrades that go to it, both as namespace/name.
#[must_use]
pub fn delete(name: &str, pinned: Vec<String>, upgrades: Vec<String>) -> Option<Finding> {
    let (what, remediation) = if !pinned.is_empty() {
        (
            format!("Clusters are pinned to it: {}", listed(pinned)),
            "upgrade or delete them first; a pin goes with the version edit after the one that left it",
        )
    } else if !upgrades.is_empty() {
        (
            format!("ClusterUpgrades go to it: {}", listed(upgrades)),
            "let them come to their end, or edit their targets first",
        )
    } else {
        return None;
    };
    Some(finding(
        Rule::ReleaseInUse,
        format!("KubernetesRelease {name}"),
        "metadata.name",
        what,
        remediation,
    ))
}

fn listed(mut users: Vec<String>) -> String {
    users.sort();
    let more = users.len().saturating_sub(LISTED);
    users.truncate(LISTED);
    let listed = users.join(", ");
    if more > 0 {
        format!("{listed} and {more} more")
    } else {
        listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_in_use_stays() {
        assert_eq!(delete("r", vec![], vec![]), None);
        let pinned = vec!["b/c".to_owned(), "a/c".to_owned()];
        assert_eq!(
            delete("r", pinned, vec!["a/u".to_owned()]).unwrap().to_string(),
            "KubernetesRelease r: metadata.name: Clusters are pinned to it: a/c, b/c; upgrade or delete them first; a pin goes with the version edit after the one that left it [rule release-in-use]"
        );
        assert_eq!(
            delete("r", vec![], vec!["a/u".to_owned()]).unwrap().to_string(),
            "KubernetesRelease r: metadata.name: ClusterUpgrades go to it: a/u; let them come to their end, or edit their targets first [rule release-in-use]"
        );
        let many = (0..12).map(|n| format!("ns/c{n:02}")).collect();
        assert!(delete("r", many, vec![]).unwrap().what.ends_with("ns/c09 and 2 more"));
    }
}
