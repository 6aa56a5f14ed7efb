//! Which resource a cluster serves a kind as.

use kube::{
    Client,
    core::GroupVersion,
    discovery::{ApiResource, oneshot},
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
    let (found, version) = match version {
        Version::Recommended => {
            let Some(version) = recommended(client, group).await? else {
                return Ok(None);
            };
            (
                oneshot::pinned_group(client, &GroupVersion::gv(group, &version)).await?,
                version,
            )
        }
        Version::Exactly(version) => match oneshot::pinned_group(client, &GroupVersion::gv(group, version)).await {
            Ok(found) => (found, version.to_owned()),
            Err(error) if is_not_found(&error) => return Ok(None),
            Err(error) => return Err(error),
        },
    };
    let resources = found.versioned_resources(&version).into_iter();
    let mut resources = resources.map(|(resource, _)| resource);
    Ok(resources.find(|resource| resource.kind == kind))
}

/// The version that the API server recommends; nothing where it has no such group. It alone is asked for its kinds: a group
/// of Cluster API's has three versions, and the server isn't ready before the last answer.
async fn recommended(client: &Client, group: &str) -> Result<Option<String>, kube::Error> {
    if group.is_empty() {
        return Ok(Some("v1".to_owned()));
    }
    let groups = client.list_api_groups().await?.groups;
    let Some(found) = groups.into_iter().find(|found| found.name == group) else {
        return Ok(None);
    };
    let version = found.preferred_version.or_else(|| found.versions.into_iter().next());
    Ok(version.map(|version| version.version))
}
