//! Which state of a ClusterUpgrade a report shows.

use instar_api::ClusterUpgrade;

/// Which ClusterUpgrade was shown, and which state of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShownUpgrade {
    /// Its `metadata.uid`: another one may get its name.
    pub uid: String,
    /// Its `metadata.generation`: each edit of its spec makes another one.
    pub generation: i64,
    /// Its `metadata.resourceVersion`: so does each write of its status.
    pub resource_version: String,
}

impl ShownUpgrade {
    /// This one. What its metadata doesn't have is empty.
    #[must_use]
    pub fn of(upgrade: &ClusterUpgrade) -> Self {
        let metadata = &upgrade.metadata;
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
        }
    }
}
