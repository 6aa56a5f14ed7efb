//! `deny.toml`, as far as it is held here.

use std::fmt;

use semver::VersionReq;
use serde::{Deserialize, Deserializer, de::Error};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    pub(super) graph: Graph,
    pub(super) advisories: Advisories,
    pub(super) licenses: Licenses,
    pub(super) bans: Bans,
    pub(super) sources: Sources,
}

/// What is forbidden has one value: cargo-deny's others, which only warn, are not held here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Forbidden {
    Deny,
}

/// What is looked at in any case: another value is an error.
#[derive(Debug)]
pub(super) struct Always;

impl<'de> Deserialize<'de> for Always {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if bool::deserialize(deserializer)? {
            Ok(Self)
        } else {
            Err(D::Error::custom("only true is held by cargo xtask audit"))
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Graph {
    pub(super) targets: Vec<String>,
    #[serde(rename = "all-features")]
    _all_features: Always,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Advisories {
    /// Advisories that only inform count for these.
    pub(super) unmaintained: Scope,
    /// Which versions were yanked is only in the registry's index: cargo-deny asks for it.
    #[serde(rename = "yanked")]
    _yanked: Forbidden,
    #[serde(default)]
    pub(super) ignore: Vec<Ignored>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Scope {
    /// What crates of the workspace themselves depend on.
    Workspace,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ignored {
    pub(super) id: String,
    #[serde(rename = "reason")]
    _reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Licenses {
    pub(super) allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Bans {
    #[serde(rename = "multiple-versions")]
    _multiple_versions: Forbidden,
    #[serde(rename = "multiple-versions-include-dev")]
    _multiple_versions_include_dev: Always,
    #[serde(rename = "wildcards")]
    _wildcards: Forbidden,
    #[serde(rename = "allow-wildcard-paths")]
    _allow_wildcard_paths: Always,
    pub(super) deny: Vec<Listed>,
    pub(super) skip: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    #[serde(rename = "crate")]
    pub(super) crates: CrateSpec,
    pub(super) reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Sources {
    #[serde(rename = "unknown-registry")]
    _unknown_registry: Forbidden,
    #[serde(rename = "unknown-git")]
    _unknown_git: Forbidden,
}

/// A crate, or some of its versions: `name` or `name@0.22`.
#[derive(Debug)]
pub(super) struct CrateSpec {
    text: String,
    name: String,
    versions: VersionReq,
}

impl CrateSpec {
    pub(super) fn has(&self, package: &cargo_metadata::Package) -> bool {
        *package.name == self.name && self.versions.matches(&package.version)
    }
}

impl fmt::Display for CrateSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for CrateSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (name, versions) = match text.split_once('@') {
            Some((name, version)) => (name.to_owned(), VersionReq::parse(&format!("={version}"))),
            None => (text.clone(), Ok(VersionReq::STAR)),
        };
        let versions = versions.map_err(D::Error::custom)?;
        Ok(Self { text, name, versions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(from: &str, to: &str) -> String {
        let text = include_str!("../../../../deny.toml");
        assert!(text.contains(from), "{from}");
        toml::from_str::<Policy>(&text.replacen(from, to, 1))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn what_is_not_held_is_an_error() {
        for (from, to, why) in [
            ("yanked = \"deny\"", "yanked = \"warn\"", "unknown variant `warn`"),
            ("all-features = true", "all-features = false", "only true is held"),
            ("[sources]", "[sources]\nallow-git = []", "unknown field `allow-git`"),
            (
                "[licenses]",
                "[licenses]\nconfidence-threshold = 0.9",
                "unknown field `confidence-threshold`",
            ),
            ("base64@0.22", "base64@x", "unexpected character"),
        ] {
            let error = refused(from, to);
            assert!(error.contains(why), "{to}: {error}");
        }
    }
}
