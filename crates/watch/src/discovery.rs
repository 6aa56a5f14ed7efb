//! Which resource a cluster serves a kind as.

use kube::{
    Client,
    core::GroupVersion,
    discovery::{ApiResource, oneshot},
    error::DiscoveryError,
};

use crate::is_not_found;

/// At which version a kind is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version<'v> {
    /// The one that the API server recommends.
    Recommended,
    /// This one.
    Exactly(&'v str),
}

/// The resource of a kind; nothing where discovery says that the cluster doesn't serve the kind.
pub async fn find_resource(
    client: &Client,
    group: &str,
    version: Version<'_>,
    kind: &str,
) -> Result<Option<ApiResource>, kube::Error> {
    let found = match version {
        Version::Recommended => oneshot::group(client, group).await,
        Version::Exactly(version) => oneshot::pinned_group(client, &GroupVersion::gv(group, version)).await,
    };
    match found {
        Ok(group) => Ok(match version {
            Version::Recommended => group.recommended_kind(kind).map(|(resource, _)| resource),
            Version::Exactly(version) => group
                .versioned_resources(version)
                .into_iter()
                .map(|(resource, _)| resource)
                .find(|resource| resource.kind == kind),
        }),
        Err(kube::Error::Discovery(DiscoveryError::MissingApiGroup(_) | DiscoveryError::EmptyApiGroup(_))) => Ok(None),
        Err(error) if is_not_found(&error) && version != Version::Recommended => Ok(None),
        Err(error) => Err(error),
    }
}
