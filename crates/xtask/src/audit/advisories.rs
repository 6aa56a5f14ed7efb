//! Known defects of dependencies, by the `RustSec` advisory database.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, Package};
use rustsec::{Database, Lockfile, advisory::Informational, database::Query};

use super::{
    Violation,
    policy::{self, Scope},
};
use crate::root;

const DATABASE: &str = "https://github.com/RustSec/advisory-db";

/// How long `git` may take, in seconds: where the database can't be reached, nothing waits for it.
const PATIENCE: &str = "60";

/// What came of the look at the advisories.
#[derive(Debug)]
pub struct Advisories {
    pub checked: Checked,
    pub found: Vec<Violation>,
}

/// Which database was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Checked {
    /// As it is now.
    Current,
    /// As it was when it could be reached the last time.
    Old {
        /// Why it isn't current.
        why: String,
    },
    /// None.
    No {
        /// Why.
        why: String,
    },
}

pub(super) fn check(
    policy: &policy::Advisories,
    packages: &[&Package],
    metadata: &Metadata,
    folder: &Path,
) -> Result<Advisories> {
    let is_there = folder.join(".git").exists();
    let checked = match (fetch(folder, is_there), is_there) {
        (Ok(()), _) => Checked::Current,
        (Err(why), true) => Checked::Old { why },
        (Err(why), false) => Checked::No { why },
    };
    let found = match &checked {
        Checked::Current | Checked::Old { .. } => {
            let database = Database::open(folder).with_context(|| folder.display().to_string())?;
            let lockfile = Lockfile::load(root().join("Cargo.lock")).context("Cargo.lock")?;
            matching(policy, packages, metadata, &database, &lockfile)
        }
        Checked::No { .. } => Vec::new(),
    };
    Ok(Advisories { checked, found })
}

fn fetch(folder: &Path, is_there: bool) -> Result<(), String> {
    let path = folder.display().to_string();
    if is_there {
        git(&["-C", &path, "fetch", "--quiet", "--depth=1", "origin", "HEAD"])?;
        return git(&["-C", &path, "reset", "--quiet", "--hard", "FETCH_HEAD"]);
    }
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(|error| format!("{}: {error}", parent.display()))?;
    }
    git(&["clone", "--quiet", "--depth=1", DATABASE, &path])
}

/// What `git` says in its last line, if it fails.
fn git(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("timeout")
        .args([PATIENCE, "git"])
        .args(arguments)
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("git does not start: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty());
    Err(last.map_or_else(
        || format!("git has not reached {DATABASE} after {PATIENCE} s"),
        ToOwned::to_owned,
    ))
}

fn matching(
    policy: &policy::Advisories,
    packages: &[&Package],
    metadata: &Metadata,
    database: &Database,
    lockfile: &Lockfile,
) -> Vec<Violation> {
    let Scope::Workspace = policy.unmaintained;
    let direct: BTreeSet<&str> = metadata
        .workspace_packages()
        .into_iter()
        .flat_map(|package| &package.dependencies)
        .map(|dependency| dependency.name.as_str())
        .collect();
    let harmful = database.query_vulnerabilities(lockfile, &Query::crate_scope());
    let informing = database.query_vulnerabilities(lockfile, &Query::crate_scope().informational(true));
    let informing = informing
        .into_iter()
        .filter(|found| match &found.advisory.informational {
            None => true,
            Some(Informational::Unmaintained | Informational::Unsound) => direct.contains(found.package.name.as_str()),
            Some(_) => false,
        });
    let mut violations = BTreeSet::new();
    for found in harmful.into_iter().chain(informing) {
        let id = found.advisory.id.as_str();
        let (name, version) = (found.package.name.as_str(), found.package.version.to_string());
        let is_built = packages
            .iter()
            .any(|package| package.name.as_str() == name && package.version.to_string() == version);
        let is_ignored = policy.ignore.iter().any(|ignored| ignored.id == id);
        if is_built && !is_ignored {
            let patched: Vec<String> = found.versions.patched().iter().map(ToString::to_string).collect();
            let remedy = if patched.is_empty() {
                "no version mends it: depend on another crate, or list it under advisories.ignore of deny.toml with the reason"
                    .to_owned()
            } else {
                format!("mended in {}: cargo update -p {name}", patched.join(" or "))
            };
            violations.insert(Violation {
                what: format!("{name} {version}"),
                why: format!("{id}: {}; {remedy}", found.advisory.title),
            });
        }
    }
    violations.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::read;

    /// A database of our own, with a defect of a crate that everything here is built with.
    #[test]
    fn an_advisory_is_found_where_it_counts() {
        let folder = tempfile::tempdir().unwrap();
        let advisory = |id: &str, package: &str, more: &str, patched: &str| {
            let crates = folder.path().join("crates").join(package);
            fs::create_dir_all(&crates).unwrap();
            let text = format!(
                "```toml\n[advisory]\nid = \"{id}\"\npackage = \"{package}\"\ndate = \"2026-01-02\"\n{more}\n\
                 [versions]\npatched = [{patched}]\n```\n\n# It breaks\n\nIn a way.\n"
            );
            fs::write(crates.join(format!("{id}.md")), text).unwrap();
        };
        advisory("RUSTSEC-2026-9001", "serde_json", "", "\">= 99.0.0\"");
        advisory("RUSTSEC-2026-9002", "tokio", "", "\">= 0.1.0\"");
        // Of what others depend on, only the harm counts.
        advisory("RUSTSEC-2026-9003", "itoa", "informational = \"unmaintained\"", "");
        advisory("RUSTSEC-2026-9004", "tower", "informational = \"unmaintained\"", "");
        advisory("RUSTSEC-2026-9005", "no-such-crate", "", "");
        let (policy, metadata) = read().unwrap();
        let packages = crate::audit::packages(&metadata);
        let database = Database::open(folder.path()).unwrap();
        let lockfile = Lockfile::load(root().join("Cargo.lock")).unwrap();
        let found = matching(&policy.advisories, &packages, &metadata, &database, &lockfile);
        let ids: Vec<&str> = found.iter().map(|found| found.why.split(':').next().unwrap()).collect();
        assert_eq!(ids, ["RUSTSEC-2026-9001", "RUSTSEC-2026-9004"]);
        assert!(
            found[0]
                .why
                .ends_with("It breaks; mended in >=99.0.0: cargo update -p serde_json"),
            "{found:?}"
        );
    }
}
