//! A Kubernetes version as Cluster API reads it.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A full Kubernetes version: `v1.34.3`, `v1.35.0-rc.1`, `v1.33.5+vmware.1`.
///
/// Parsing is strict, as in Cluster API's webhooks: a leading `v` and three numbers, each without
/// leading zeros. A value of this type always prints the way it was read.
///
/// `Ord` is a total order for sorting and for maps: pre-releases come before their release and
/// build tags are compared as [`semver::BuildMetadata`] does. Where Cluster API leaves the order of
/// two build tags open, ask [`KubeVersion::compare`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KubeVersion(semver::Version);

/// A minor of a major: `v1.34`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minor {
    pub major: u64,
    pub minor: u64,
}

/// How two versions compare where build tags count: Cluster API's `version.Compare(.., WithBuildTags())`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildOrder {
    Less,
    Equal,
    Greater,
    /// They differ only in build tags of which neither can be said to be the newer.
    Different,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a Kubernetes version: {why}; write it as v1.34.3")]
pub struct InvalidVersion {
    text: String,
    why: String,
}

/// No Kubernetes version comes near this, and it bounds what is kept and printed.
const MAX_LENGTH: usize = 64;

impl KubeVersion {
    #[must_use]
    pub const fn minor(&self) -> Minor {
        Minor {
            major: self.0.major,
            minor: self.0.minor,
        }
    }

    #[must_use]
    pub const fn patch(&self) -> u64 {
        self.0.patch
    }

    #[must_use]
    pub fn is_prerelease(&self) -> bool {
        !self.0.pre.is_empty()
    }

    /// Whether Cluster API's webhooks read a text as a version, of whatever length. Their defaulting adds a leading `v`
    /// where it is missing.
    #[must_use]
    pub fn is_read_by_cluster_api(text: &str) -> bool {
        semver::Version::parse(text.strip_prefix('v').unwrap_or(text)).is_ok()
    }

    /// The version without pre-release and build tags, for semver requirements:
    /// `>=1.33.0` is meant to hold for `v1.34.0-rc.1` too, which semver denies.
    #[must_use]
    pub const fn release(&self) -> semver::Version {
        semver::Version::new(self.0.major, self.0.minor, self.0.patch)
    }

    /// Compares by semver precedence: build tags are ignored.
    #[must_use]
    pub fn precedence(&self, other: &Self) -> Ordering {
        self.0.cmp_precedence(&other.0)
    }

    /// Whether both are builds of the same upstream version. A distribution puts its own mark behind what upstream
    /// released, as a build tag (`v1.33.5+k0s`) or as a pre-release (`v1.34.6-eks-cb19647`); upstream's own
    /// pre-releases begin with alpha, beta or rc.
    #[must_use]
    pub fn is_same_upstream(&self, other: &Self) -> bool {
        let numbers = |version: &Self| (version.minor(), version.patch());
        numbers(self) == numbers(other) && self.upstream_prerelease() == other.upstream_prerelease()
    }

    /// Whether this is a build of `plain`: of the same upstream version, with the same mark of a distribution, or with
    /// any where `plain` has none. A provider may write its mark as a build tag in one field and as a pre-release in
    /// another (<https://github.com/k0sproject/k0smotron/issues/1052>).
    #[must_use]
    pub fn is_build_of(&self, plain: &Self) -> bool {
        let is_marked_so = plain.marks().next().is_none() || self.marks().eq(plain.marks());
        is_marked_so && self.is_same_upstream(plain)
    }

    /// What a distribution puts behind the upstream version.
    fn marks(&self) -> impl Iterator<Item = &str> {
        let own_prerelease = match self.upstream_prerelease() {
            Some(_) => "",
            None => self.0.pre.as_str(),
        };
        let marks = [own_prerelease, self.0.build.as_str()];
        marks.into_iter().filter(|mark| !mark.is_empty())
    }

    fn upstream_prerelease(&self) -> Option<&str> {
        let text = self.0.pre.as_str();
        let is_upstream = ["alpha.", "beta.", "rc."].iter().any(|begin| text.starts_with(begin));
        is_upstream.then_some(text)
    }

    /// Compares as Cluster API does where build tags count (`util/version` there).
    #[must_use]
    pub fn compare(&self, other: &Self) -> BuildOrder {
        match self.precedence(other) {
            Ordering::Less => BuildOrder::Less,
            Ordering::Greater => BuildOrder::Greater,
            Ordering::Equal => compare_builds(self.0.build.as_str(), other.0.build.as_str()),
        }
    }
}

/// Numbers compare as numbers and come before words; two different words have no order.
fn compare_builds(a: &str, b: &str) -> BuildOrder {
    let mut left = a.split('.').filter(|part| !part.is_empty());
    let mut right = b.split('.').filter(|part| !part.is_empty());
    loop {
        let (x, y) = match (left.next(), right.next()) {
            (None, None) => return BuildOrder::Equal,
            (None, Some(_)) => return BuildOrder::Less,
            (Some(_), None) => return BuildOrder::Greater,
            (Some(x), Some(y)) => (x, y),
        };
        match (x.parse::<u64>(), y.parse::<u64>()) {
            (Ok(x), Ok(y)) => match x.cmp(&y) {
                Ordering::Less => return BuildOrder::Less,
                Ordering::Greater => return BuildOrder::Greater,
                Ordering::Equal => {}
            },
            (Ok(_), Err(_)) => return BuildOrder::Less,
            (Err(_), Ok(_)) => return BuildOrder::Greater,
            (Err(_), Err(_)) if x == y => {}
            (Err(_), Err(_)) => return BuildOrder::Different,
        }
    }
}

impl fmt::Display for KubeVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl FromStr for KubeVersion {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |why: &str| InvalidVersion {
            text: text.chars().take(MAX_LENGTH).collect(),
            why: why.to_owned(),
        };
        if text.len() > MAX_LENGTH {
            return Err(refuse("it is longer than 64 characters"));
        }
        let bare = text
            .strip_prefix('v')
            .ok_or_else(|| refuse("the leading v is missing"))?;
        semver::Version::parse(bare)
            .map(Self)
            .map_err(|error| refuse(&error.to_string()))
    }
}

impl TryFrom<String> for KubeVersion {
    type Error = InvalidVersion;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<KubeVersion> for String {
    fn from(version: KubeVersion) -> Self {
        version.to_string()
    }
}

impl fmt::Display for Minor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}", self.major, self.minor)
    }
}

impl FromStr for Minor {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A patch of 0 makes it a version, and a version's parser is the one judge of numbers.
        let version: KubeVersion = format!("{text}.0").parse()?;
        if version.0.pre.is_empty() && version.0.build.is_empty() {
            Ok(version.minor())
        } else {
            Err(InvalidVersion {
                text: text.to_owned(),
                why: "a minor has two numbers".to_owned(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> KubeVersion {
        text.parse().unwrap()
    }

    #[test]
    fn reads_what_cluster_api_reads() {
        for text in ["v1.34.3", "v1.35.0-rc.1", "v1.33.5+vmware.1", "v0.0.0"] {
            assert_eq!(version(text).to_string(), text);
        }
    }

    #[test]
    fn cluster_api_reads_more_than_we_do() {
        let long = format!("v1.34.3-{}", "a".repeat(80));
        for text in ["v1.34.3", "1.34.3", "v1.35.0-rc.1", &long] {
            assert!(KubeVersion::is_read_by_cluster_api(text), "{text}");
        }
        for text in ["", "v1.34", "v1.34.x", "v01.34.3", "vv1.34.3", "v1.34.3-01", "v1.34.3+"] {
            assert!(!KubeVersion::is_read_by_cluster_api(text), "{text}");
        }
    }

    #[test]
    fn marks_of_distributions_make_no_other_upstream_version() {
        let same = |a, b| version(a).is_same_upstream(&version(b));
        for (a, b) in [
            ("v1.33.5", "v1.33.5+k0s"),
            ("v1.34.6", "v1.34.6-eks-cb19647"),
            ("v1.33.5+vmware.1", "v1.33.5+vmware.2"),
            // As a kubelet and its Machine say it: https://github.com/kubernetes-sigs/cluster-api/issues/14086
            ("v1.33.1+k0s", "v1.33.1+k0s.0"),
            ("v1.35.0-rc.1", "v1.35.0-rc.1+k3s1"),
        ] {
            assert!(same(a, b) && same(b, a), "{a} {b}");
        }
        for (a, b) in [
            ("v1.33.5", "v1.33.4+k0s"),
            ("v1.34.0", "v1.33.0"),
            ("v2.33.5", "v1.33.5"),
            ("v1.35.0", "v1.35.0-rc.1"),
            ("v1.35.0-rc.1", "v1.35.0-rc.2"),
            ("v1.35.0-beta.0", "v1.35.0-alpha.0"),
        ] {
            assert!(!same(a, b) && !same(b, a), "{a} {b}");
        }
        let is_build = |a, b| version(a).is_build_of(&version(b));
        assert!(is_build("v1.33.5+k0s", "v1.33.5") && is_build("v1.35.0-rc.1+k3s1", "v1.35.0-rc.1"));
        assert!(is_build("v1.33.5+vmware.1", "v1.33.5+vmware.1"));
        assert!(!is_build("v1.33.5+vmware.1", "v1.33.5+vmware.2") && !is_build("v1.33.5", "v1.33.5-eks-1"));
        assert!(!is_build("v1.33.5+k0s", "v1.33.4"));
        assert!(is_build("v1.33.1-k0s.0", "v1.33.1+k0s.0") && is_build("v1.33.1+k0s.0", "v1.33.1-k0s.0"));
        assert!(!is_build("v1.33.1-k0s.1", "v1.33.1+k0s.0") && !is_build("v1.35.0-rc.1", "v1.35.0"));
    }

    #[test]
    fn refuses_and_says_why() {
        for (text, why) in [
            ("1.34.3", "the leading v is missing"),
            ("v1.34", "unexpected end of input while parsing minor"),
            ("v1.034.3", "leading zero"),
            ("", "the leading v is missing"),
            (&format!("v1.34.3-{}", "a".repeat(80)), "longer than 64"),
        ] {
            let error = text.parse::<KubeVersion>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
            assert!(error.contains("write it as v1.34.3"), "{error}");
        }
    }

    #[test]
    fn build_tags_compare_as_in_cluster_api() {
        for (a, b, expected) in [
            ("v1.31.4+x.1", "v1.31.4+x.2", BuildOrder::Less),
            ("v1.31.4+x.10", "v1.31.4+x.9", BuildOrder::Greater),
            ("v1.31.4+abc", "v1.31.4+def", BuildOrder::Different),
            ("v1.31.4+1", "v1.31.4+abc", BuildOrder::Less),
            ("v1.31.4", "v1.31.4+x.1", BuildOrder::Less),
            ("v1.31.4+x.1", "v1.31.4+x.1", BuildOrder::Equal),
            ("v1.31.4-rc.1", "v1.31.4", BuildOrder::Less),
            ("v2.0.0", "v1.99.0", BuildOrder::Greater),
        ] {
            assert_eq!(version(a).compare(&version(b)), expected, "{a} and {b}");
        }
    }

    #[test]
    fn a_minor_has_two_numbers() {
        assert_eq!("v1.36".parse::<Minor>().unwrap().to_string(), "v1.36");
        for text in ["v1", "v1.36.1", "1.36", "v1.36-rc", "v1.x"] {
            assert!(text.parse::<Minor>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn prints_what_it_read(major in 0u64..50, minor in 0u64..99, patch in 0u64..99, pre in "(-(alpha|rc)\\.[0-9])?", build in "(\\+[a-z]{1,5}\\.[0-9])?") {
            let text = format!("v{major}.{minor}.{patch}{pre}{build}");
            prop_assert_eq!(version(&text).to_string(), text);
        }

        #[test]
        fn never_panics(text in "\\PC{0,80}") {
            let _ = text.parse::<KubeVersion>();
            let _ = text.parse::<Minor>();
        }

        #[test]
        fn compare_is_antisymmetric(a in "v1\\.[0-3]\\.[0-2](\\+(x|y|1|2)\\.[0-2])?", b in "v1\\.[0-3]\\.[0-2](\\+(x|y|1|2)\\.[0-2])?") {
            let turned = match version(&b).compare(&version(&a)) {
                BuildOrder::Less => BuildOrder::Greater,
                BuildOrder::Greater => BuildOrder::Less,
                same @ (BuildOrder::Equal | BuildOrder::Different) => same,
            };
            prop_assert_eq!(version(&a).compare(&version(&b)), turned);
        }
    }
}
