//! Why a MachinePool is left to its user.

use std::fmt;

use instar_domain::KubeVersion;

/// Why a MachinePool is left to its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeftBecause {
    /// Its infrastructure isn't there.
    Missing { kind: String, name: String },
    /// Its infrastructure can't be read.
    Unreadable { kind: String, name: String, reason: String },
    /// Its infrastructure has no condition `Paused`, so nothing says when it is safe to write.
    NoPause { kind: String },
    /// The kind and the name of the object that did not say that it is paused.
    NotPaused { object: String },
    /// The release sets nothing in the kind of its infrastructure.
    NoImage { release: String, kind: String },
    /// The catalog has no row of the version.
    NoRow { version: KubeVersion },
}

impl fmt::Display for LeftBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { kind, name } => write!(f, "{kind} {name}, its infrastructureRef, was not found"),
            Self::Unreadable { kind, name, reason } => write!(f, "{kind} {name} can't be read: {reason}"),
            Self::NoPause { kind } => write!(
                f,
                "{kind} has no condition Paused, so its provider doesn't say when it may be changed"
            ),
            Self::NotPaused { object } => write!(f, "{object} was not paused within 5 minutes"),
            Self::NoImage { release, kind } => write!(f, "release {release} has no machineImages entry for {kind}"),
            Self::NoRow { version } => write!(f, "the catalog has no release of {version}"),
        }
    }
}
