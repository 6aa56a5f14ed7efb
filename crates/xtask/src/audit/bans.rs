//! Crates that may not be built in, and versions beside each other.

use std::collections::BTreeMap;

use cargo_metadata::{Metadata, Package};
use semver::VersionReq;

use super::{Violation, policy::Bans};

pub(super) fn check(policy: &Bans, packages: &[&Package], metadata: &Metadata) -> Vec<Violation> {
    let mut found = Vec::new();
    for package in packages {
        let banned = policy.deny.iter().filter(|banned| banned.crates.has(package));
        found.extend(banned.map(|banned| Violation::of(package, format!("it is banned: {}", banned.reason))));
    }
    let mut versions: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
    for package in packages {
        versions.entry(package.name.as_str()).or_default().push(package);
    }
    for (name, of_name) in &versions {
        let is_skipped = |package: &&Package| policy.skip.iter().any(|skipped| skipped.crates.has(package));
        let mut counted: Vec<String> = of_name
            .iter()
            .filter(|package| !is_skipped(package))
            .map(|package| package.version.to_string())
            .collect();
        if counted.len() > 1 {
            counted.sort();
            found.push(Violation {
                what: (*name).to_owned(),
                why: format!(
                    "{} are built in side by side: use one, or list the others under bans.skip of deny.toml with the reason",
                    counted.join(" and ")
                ),
            });
        }
    }
    for skipped in &policy.skip {
        let several = versions
            .values()
            .find(|of_name| of_name.iter().any(|package| skipped.crates.has(package)));
        if several.is_none_or(|of_name| of_name.len() < 2) {
            found.push(Violation {
                what: format!("bans.skip: {}", skipped.crates),
                why: "nothing needs this entry: remove it from deny.toml".to_owned(),
            });
        }
    }
    for package in metadata.workspace_packages() {
        let any = package.dependencies.iter();
        let any = any.filter(|dependency| dependency.req == VersionReq::STAR && dependency.path.is_none());
        found.extend(any.map(|dependency| {
            Violation::of(
                package,
                format!(
                    "it takes any version of {}: name the one that it needs",
                    dependency.name
                ),
            )
        }));
    }
    found
}
