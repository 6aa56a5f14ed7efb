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
    /// The one that the API server recommends for the group; for a kind that it doesn't serve at that one, the next at which
    /// it does.
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
    let versions = match version {
        Version::Recommended => versions(client, group).await?,
        Version::Exactly(version) => vec![version.to_owned()],
    };
    for version in versions {
        match oneshot::pinned_group(client, &GroupVersion::gv(group, &version)).await {
            Ok(found) => {
                let mut resources = found.versioned_resources(&version).into_iter();
                if let Some((resource, _)) = resources.find(|(resource, _)| resource.kind == kind) {
                    return Ok(Some(resource));
                }
            }
            Err(error) if is_not_found(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The versions of a group, first the one that the API server recommends; none where it has no such group. One is asked for
/// its kinds after the other: a group of Cluster API's has three versions, and the server isn't ready before the last
/// answer. A kind may be served at another one only: one provider of a group may lag behind the others.
async fn versions(client: &Client, group: &str) -> Result<Vec<String>, kube::Error> {
    if group.is_empty() {
        return Ok(vec!["v1".to_owned()]);
    }
    let groups = client.list_api_groups().await?.groups;
    let Some(found) = groups.into_iter().find(|found| found.name == group) else {
        return Ok(Vec::new());
    };
    let preferred = found.preferred_version.map(|version| version.version);
    let others = found.versions.into_iter().map(|version| version.version);
    let others: Vec<_> = others.filter(|version| Some(version) != preferred.as_ref()).collect();
    Ok(preferred.into_iter().chain(others).collect())
}
