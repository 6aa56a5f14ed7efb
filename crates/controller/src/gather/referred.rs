//! Objects of kinds that are known only once something refers to them.

use std::time::Duration;

use instar_watch::{DynamicKept, DynamicWatches, KindKey, KindLease, Lookup, Unavailable};
use kube::discovery::ApiResource;
use tokio::time::timeout;

use crate::api::Error;

/// How long the first list of a kind may take. It goes on after that, and the next pass finds it.
const FIRST_LIST: Duration = Duration::from_secs(15);

/// What a look for an object came to.
pub(super) enum Found<T> {
    Present(T),
    /// This is why it can't be decoded.
    Unreadable(String),
    Absent,
}

/// Watches a kind for as long as the lease is kept, and waits for the first answer about it.
pub(super) async fn watch<E: DynamicKept>(
    watches: &DynamicWatches<E>,
    resource: &ApiResource,
) -> Result<KindLease, Error> {
    let lease = watches.lease_resource(resource).ok_or_else(|| Error::Unlisted {
        kind: resource.kind.clone(),
        why: "more kinds are referred to than can be watched".to_owned(),
    })?;
    let kind = KindKey::of_resource(resource);
    // Without an answer in time, the look-up says so.
    let _ = timeout(FIRST_LIST, watches.answered(kind.as_str())).await;
    Ok(lease)
}

/// What a look-up says, or why it says nothing.
pub(super) fn find<T>(found: Lookup<T>, resource: &ApiResource) -> Result<Found<T>, Error> {
    let unlisted = |why: String| Error::Unlisted {
        kind: resource.kind.clone(),
        why,
    };
    match found {
        Lookup::Present(object) => Ok(Found::Present(object)),
        Lookup::Unreadable(reason) => Ok(Found::Unreadable(reason)),
        Lookup::Absent => Ok(Found::Absent),
        Lookup::Pending | Lookup::Unwatched => Err(unlisted("the API server has not answered yet".to_owned())),
        Lookup::Unavailable(Unavailable::Failing) => Err(unlisted(Unavailable::Failing.to_string())),
        Lookup::Unavailable(Unavailable::NotServed) => Err(Error::NoKind {
            group: resource.group.clone(),
            kind: resource.kind.clone(),
        }),
        Lookup::Unavailable(Unavailable::Forbidden { verb, .. }) => Err(Error::NoRight {
            doing: format!("{verb}ing every {}", resource.kind),
            group: resource.group.clone(),
            resource: resource.plural.clone(),
        }),
    }
}
