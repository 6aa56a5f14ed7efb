//! What the workspace may depend on: the rules of `deny.toml`, as `make lint` holds them.
//!
//! cargo-deny and cargo-audit say the same, by the same libraries (`spdx`, `rustsec`), but are two hundred further crates to
//! build on a new machine, where these are a dozen. `.github/workflows/supply-chain.yaml` runs cargo-deny itself.
//!
//! `cargo metadata` lists a few crates that nothing builds, which cargo-deny leaves out: it warns of their entries in `deny.toml`.
//!
//! Invariant: a key of `deny.toml` that isn't held here is an error, not left out.

mod advisories;
mod bans;
mod licenses;
mod policy;
mod sources;

use std::{collections::BTreeSet, fmt, fs, path::Path};

use anyhow::{Context, Result};
use cargo_metadata::{CargoOpt, Metadata, MetadataCommand, Package};

pub use self::advisories::{Advisories, Checked};
use self::policy::Policy;
use crate::root;

/// What a dependency breaks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The crate with its version, or the entry of `deny.toml`.
    pub what: String,
    /// What is wrong, and what to do.
    pub why: String,
}

impl Violation {
    fn of(package: &Package, why: impl Into<String>) -> Self {
        Self {
            what: format!("{} {}", package.name, package.version),
            why: why.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

/// What is wrong with licences, crates and where they come from. No network is needed.
///
/// # Errors
/// If `deny.toml` or the dependencies can't be read.
pub fn violations() -> Result<Vec<Violation>> {
    let (policy, metadata) = read()?;
    let packages = packages(&metadata);
    let mut found = licenses::check(&policy.licenses, &packages)?;
    found.extend(bans::check(&policy.bans, &packages, &metadata));
    found.extend(sources::check(&policy.sources, &packages));
    found.sort();
    Ok(found)
}

/// What is known to be wrong with the dependencies, by the advisory database, which is fetched into a folder.
///
/// # Errors
/// If a database that was fetched can't be read.
pub fn advisories(folder: &Path) -> Result<Advisories> {
    let (policy, metadata) = read()?;
    advisories::check(&policy.advisories, &packages(&metadata), &metadata, folder)
}

fn read() -> Result<(Policy, Metadata)> {
    let path = root().join("deny.toml");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let policy: Policy = toml::from_str(&text).context("deny.toml")?;
    let platforms = policy.graph.targets.iter();
    let platforms = platforms.flat_map(|target| ["--filter-platform".to_owned(), target.clone()]);
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .features(CargoOpt::AllFeatures)
        .other_options(["--locked".to_owned()].into_iter().chain(platforms).collect::<Vec<_>>())
        .exec()
        .context("cargo metadata")?;
    Ok((policy, metadata))
}

/// What is built on one of the platforms, or tests it.
fn packages(metadata: &Metadata) -> Vec<&Package> {
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
    let built: BTreeSet<_> = nodes.map(|node| &node.id).collect();
    metadata
        .packages
        .iter()
        .filter(|package| built.contains(&package.id))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The dependencies of the workspace, as the lock file has them.
    #[test]
    fn nothing_is_wrong_with_the_workspace() {
        assert_eq!(violations().unwrap(), []);
    }
}
