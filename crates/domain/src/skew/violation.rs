//! What is wrong between two parts, in words that a sentence can end with.

use std::fmt;

use crate::Minor;

/// What a part is that may not run beside another. It reads as the end of a sentence: `v1.35.0 is`
/// and then this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SkewViolation {
    #[error("of another major than {peer}")]
    OtherMajor { peer: Peer },
    /// The two have to be of one minor, and aren't.
    #[error("not of the same minor as {peer}")]
    OtherMinor { peer: Peer },
    /// The part is newer than what it may not be newer than at all.
    #[error("newer than {peer}")]
    Newer { peer: Peer },
    #[error("{ahead} minors newer than {peer}, where the limit is {allowed}")]
    TooFarAhead {
        /// How many minors it is newer.
        ahead: u64,
        allowed: u64,
        peer: Peer,
    },
    #[error("{behind} minors behind {peer}, where the limit is {allowed}")]
    TooFarBehind {
        /// How many minors it is behind.
        behind: u64,
        /// How many it may be: 3, or 2 for a kubelet before v1.25.
        allowed: u64,
        peer: Peer,
    },
}

/// What a part is measured against, and where that stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub part: Part,
    pub at: Minor,
}

/// A part of a cluster that others are measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The API server, where there is one or all are of one minor.
    ApiServer,
    /// The lowest API server of a control plane in the middle of a rollout.
    LowestApiServer,
    /// The highest API server of a control plane in the middle of a rollout.
    HighestApiServer,
    /// The kubelet on the same machine.
    Kubelet,
    Kubeadm,
    /// The kubeadm that last created or upgraded the control plane.
    KubeadmOfControlPlane,
}

impl Part {
    pub(super) const fn at(self, minor: Minor) -> Peer {
        Peer { part: self, at: minor }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.part, self.at)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ApiServer => "the API server",
            Self::LowestApiServer => "the lowest API server",
            Self::HighestApiServer => "the highest API server",
            Self::Kubelet => "the kubelet beside it",
            Self::Kubeadm => "kubeadm",
            Self::KubeadmOfControlPlane => "the kubeadm that last created or upgraded the control plane",
        })
    }
}
