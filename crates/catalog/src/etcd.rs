//! May this etcd follow that one?
//!
//! Etcd goes up one minor at a time (`etcd.io/docs/v3.6/upgrades`), and no minor reads what a newer one has written.
//!
//! Before 3.6 every member must have run 3.5.26 or later, or members that were removed come back
//! to life in 3.6 and the quorum is lost; who replaces control plane machines, as Cluster API always
//! does, is who it hits. Source: `etcd.io/blog/2025/zombie_members_upgrade`.

use std::fmt;

use instar_domain::KubeVersion;

use crate::kubeadm;

/// The first etcd from which 3.6 may be gone to.
const SAFE: (u64, u64, u64) = (3, 5, 26);

/// Why an etcd may not follow another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtcdRefusal {
    /// 3.6 or later would follow one that isn't known to be safe.
    Unsafe,
    /// A minor lies between.
    SkipsMinor,
}

impl fmt::Display for EtcdRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsafe => "etcd 3.6 may follow only on 3.5.26 or later",
            Self::SkipsMinor => "etcd can't skip a minor version",
        })
    }
}

/// Which etcd a control plane runs, or will run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Etcd {
    Tag(String),
    /// The one that kubeadm of this version brings.
    Kubeadm(KubeVersion),
    /// Nothing that a Kubernetes version moves: an external one, or no kubeadm control plane.
    Elsewhere,
    Unknown,
}

impl Etcd {
    /// Whether another one may follow, of the same or of a newer minor.
    #[must_use]
    pub fn may_be_followed_by(&self, next: &Self) -> bool {
        self.refuses(next).is_none()
    }

    /// Why another one, of the same or of a newer minor, may not follow; nothing where it may.
    #[must_use]
    pub fn refuses(&self, next: &Self) -> Option<EtcdRefusal> {
        // What comes next is not known, or is not moved at all.
        let line = next.line()?;
        if line >= (3, 6, 0) {
            let is_safe = match self {
                Self::Elsewhere => true,
                Self::Unknown => false,
                Self::Tag(_) | Self::Kubeadm(_) => self.line().is_some_and(|line| line >= SAFE),
            };
            if !is_safe {
                return Some(EtcdRefusal::Unsafe);
            }
        }
        let ((major, own), (next_major, next)) = self.minor().zip(next.minor())?;
        (next_major > major || next > own + 1).then_some(EtcdRefusal::SkipsMinor)
    }

    /// Whether it is known to be of an older minor than another one.
    #[must_use]
    pub fn is_minor_below(&self, other: &Self) -> bool {
        self.minor()
            .zip(other.minor())
            .is_some_and(|(own, others)| own < others)
    }

    /// Whether it is known to be older than another one.
    #[must_use]
    pub fn is_older_than(&self, other: &Self) -> bool {
        self.line().zip(other.line()).is_some_and(|(own, others)| own < others)
    }

    /// Whether data that the one has written can be read by the other: not before both are known to be of one minor, or
    /// are the same.
    #[must_use]
    pub fn shares_minor_with(&self, other: &Self) -> bool {
        self == other
            || self
                .minor()
                .zip(other.minor())
                .is_some_and(|(own, others)| own == others)
    }

    /// The version, as far as it is known: for kubeadm's own the lowest that it may be.
    fn line(&self) -> Option<(u64, u64, u64)> {
        match self {
            Self::Tag(tag) => parse_tag(tag),
            Self::Kubeadm(version) => parse_tag(kubeadm::etcd_at_least(version)?),
            Self::Elsewhere | Self::Unknown => None,
        }
    }

    /// Its minor, where that is known: of a kubeadm whose sources were not read it isn't.
    fn minor(&self) -> Option<(u64, u64)> {
        let (major, minor, _) = match self {
            Self::Tag(tag) => parse_tag(tag)?,
            Self::Kubeadm(version) => parse_tag(&kubeadm::images(version)?.etcd)?,
            Self::Elsewhere | Self::Unknown => return None,
        };
        Some((major, minor))
    }

    /// Whether it is known to be 3.6 or later, as far as a kubeadm's own is.
    #[must_use]
    pub fn is_past_the_step(&self) -> bool {
        self.line().is_some_and(|line| line >= (3, 6, 0))
    }

    /// Whether a control plane at this etcd may go on to 3.6, and isn't there yet.
    #[must_use]
    pub fn is_the_step_before(&self) -> bool {
        self.line().is_some_and(|line| line >= SAFE && line < (3, 6, 0))
    }
}

impl fmt::Display for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Kubeadm(version) => write!(f, "(kubeadm's default for {version})"),
            Self::Elsewhere => f.write_str("(external)"),
            Self::Unknown => f.write_str("(of an unknown version)"),
        }
    }
}

/// `3.5.26-0` and `v3.5.26` are 3.5.26.
fn parse_tag(tag: &str) -> Option<(u64, u64, u64)> {
    let tag = tag.strip_prefix('v').unwrap_or(tag);
    let numbers = tag.split(['-', '_', '+']).next()?;
    let mut parts = numbers.split('.').map(|part| part.parse::<u64>().ok());
    let line = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_to_3_6_needs_3_5_26() {
        let tag = |text: &str| Etcd::Tag(text.to_owned());
        let kubeadm = |text: &str| Etcd::Kubeadm(text.parse().unwrap());
        for (from, to, allowed) in [
            (tag("3.5.24-0"), tag("3.6.5-0"), false),
            (tag("3.5.26-0"), tag("3.6.5-0"), true),
            (tag("v3.5.26"), tag("3.6.5-0"), true),
            (tag("3.5.100-0"), tag("3.6.5-0"), true),
            (tag("3.6.5-0"), tag("3.6.8-0"), true),
            (tag("3.5.15-0"), tag("3.5.24-0"), true),
            (tag("3.5.24-0"), kubeadm("v1.34.3"), false),
            (kubeadm("v1.33.13"), tag("3.6.5-0"), false),
            (kubeadm("v1.33.13"), kubeadm("v1.34.0"), false),
            (kubeadm("v1.34.3"), tag("3.6.6-0"), true),
            (kubeadm("v1.32.9"), kubeadm("v1.33.5"), true),
            (tag("latest"), tag("3.6.5-0"), false),
            (tag("3.5"), tag("3.6.5-0"), false),
            (Etcd::Unknown, tag("3.6.5-0"), false),
            (Etcd::Unknown, tag("3.5.26-0"), true),
            (Etcd::Elsewhere, tag("3.6.5-0"), true),
            (tag("3.5.24-0"), Etcd::Elsewhere, true),
            (kubeadm("v1.99.0"), tag("3.7.0-0"), true),
            (kubeadm("v1.33.13"), kubeadm("v1.99.0"), false),
            (kubeadm("v1.20.0"), tag("3.6.5-0"), false),
        ] {
            assert_eq!(from.may_be_followed_by(&to), allowed, "{from} to {to}");
        }
        assert!(!kubeadm("v1.33.13").is_the_step_before());
        assert!(tag("3.5.26-0").is_the_step_before());
        assert!(!tag("3.6.0").is_the_step_before());
        assert!(!tag("3.5.25").is_the_step_before());
    }
    /// By the table of kubeadm's etcds: v1.36 brings 3.6, v1.37 brings 3.7.
    #[test]
    fn each_minor_of_etcd_is_run() {
        let tag = |text: &str| Etcd::Tag(text.to_owned());
        let kubeadm = |text: &str| Etcd::Kubeadm(text.parse().unwrap());
        for (from, to, refused) in [
            (tag("3.5.26-0"), tag("3.7.0-0"), Some(EtcdRefusal::SkipsMinor)),
            (tag("3.5.26-0"), kubeadm("v1.37.2"), Some(EtcdRefusal::SkipsMinor)),
            (tag("3.5.24-0"), kubeadm("v1.37.2"), Some(EtcdRefusal::Unsafe)),
            (kubeadm("v1.36.3"), kubeadm("v1.37.2"), None),
            (tag("3.6.8-0"), kubeadm("v1.37.0"), None),
            (kubeadm("v1.36.3"), tag("3.8.0-0"), Some(EtcdRefusal::SkipsMinor)),
            (kubeadm("v1.37.2"), tag("4.0.0"), Some(EtcdRefusal::SkipsMinor)),
            (tag("3.3.0"), tag("3.5.0"), Some(EtcdRefusal::SkipsMinor)),
            // What comes down a minor is for another rule to refuse.
            (kubeadm("v1.37.2"), tag("3.6.8-0"), None),
        ] {
            assert_eq!(from.refuses(&to), refused, "{from} to {to}");
        }
        assert!(!kubeadm("v1.36.3").shares_minor_with(&kubeadm("v1.37.2")));
        assert!(kubeadm("v1.36.3").is_minor_below(&kubeadm("v1.37.2")));
        assert!(kubeadm("v1.36.3").shares_minor_with(&kubeadm("v1.34.0")));
        // Nothing says what that one brings.
        assert!(!kubeadm("v1.99.0").shares_minor_with(&kubeadm("v1.37.2")));
    }
}
