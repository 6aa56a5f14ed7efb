//! How far apart the parts of a cluster may be.
//!
//! Source: Kubernetes' version skew policy (kubernetes.io/releases/version-skew-policy).

use crate::{KubeVersion, Minor};

/// From this minor on a kubelet may be three minors behind its API server; before it, two.
const THREE_BEHIND_SINCE: Minor = Minor { major: 1, minor: 25 };

/// Why a kubelet and an API server may not run together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkewViolation {
    /// The kubelet is newer than the API server.
    Newer,
    /// The kubelet is more than `allowed` minors behind the API server.
    TooFarBehind {
        /// How many minors it may be behind: 3, or 2 for a kubelet before v1.25.
        allowed: u64,
    },
    /// They are of different majors.
    OtherMajor,
}

/// How many minors a kubelet may be behind its API server.
#[must_use]
pub fn kubelet_may_be_behind(kubelet: Minor) -> u64 {
    if kubelet < THREE_BEHIND_SINCE { 2 } else { 3 }
}

/// Whether a kubelet may run against an API server.
///
/// # Errors
/// The rule that they break.
pub fn kubelet(kubelet: &KubeVersion, api_server: &KubeVersion) -> Result<(), SkewViolation> {
    let (below, above) = (kubelet.minor(), api_server.minor());
    if below.major != above.major {
        return Err(SkewViolation::OtherMajor);
    }
    if below.minor > above.minor {
        return Err(SkewViolation::Newer);
    }
    let allowed = kubelet_may_be_behind(below);
    if above.minor - below.minor > allowed {
        return Err(SkewViolation::TooFarBehind { allowed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubelet_skew() {
        for (node, server, expected) in [
            ("v1.34.0", "v1.34.9", Ok(())),
            ("v1.34.9", "v1.34.0", Ok(())),
            ("v1.35.0", "v1.34.9", Err(SkewViolation::Newer)),
            ("v1.31.0", "v1.34.0", Ok(())),
            ("v1.30.0", "v1.34.0", Err(SkewViolation::TooFarBehind { allowed: 3 })),
            ("v1.25.0", "v1.28.0", Ok(())),
            ("v1.24.0", "v1.26.0", Ok(())),
            ("v1.24.0", "v1.27.0", Err(SkewViolation::TooFarBehind { allowed: 2 })),
            ("v1.34.0", "v2.0.0", Err(SkewViolation::OtherMajor)),
        ] {
            let (node, server): (KubeVersion, KubeVersion) = (node.parse().unwrap(), server.parse().unwrap());
            assert_eq!(kubelet(&node, &server), expected, "{node} below {server}");
        }
    }
}
