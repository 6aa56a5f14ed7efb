//! The API servers of one control plane.

use super::{Part, Peer};
use crate::KubeVersion;

/// The lowest and the highest version that API servers of one control plane are observed at. They
/// differ while it is rolled out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiServers {
    lowest: KubeVersion,
    highest: KubeVersion,
}

impl ApiServers {
    /// All of them at one version.
    #[must_use]
    pub fn at(version: &KubeVersion) -> Self {
        Self {
            lowest: version.clone(),
            highest: version.clone(),
        }
    }

    /// Those that are observed; nothing where there is none.
    #[must_use]
    pub fn observed<'a>(versions: impl IntoIterator<Item = &'a KubeVersion>) -> Option<Self> {
        let mut versions = versions.into_iter();
        let first = versions.next()?;
        let (lowest, highest) = versions.fold((first, first), |(lowest, highest), version| {
            (lowest.min(version), highest.max(version))
        });
        Some(Self {
            lowest: lowest.clone(),
            highest: highest.clone(),
        })
    }

    #[must_use]
    pub const fn lowest(&self) -> &KubeVersion {
        &self.lowest
    }

    #[must_use]
    pub const fn highest(&self) -> &KubeVersion {
        &self.highest
    }

    /// The two ends. Where they are of one minor, none of them is the lowest.
    pub(super) fn peers(&self) -> (Peer, Peer) {
        let (lowest, highest) = (self.lowest.minor(), self.highest.minor());
        if lowest == highest {
            (Part::ApiServer.at(lowest), Part::ApiServer.at(highest))
        } else {
            (Part::LowestApiServer.at(lowest), Part::HighestApiServer.at(highest))
        }
    }
}
