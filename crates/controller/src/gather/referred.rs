//! Objects of kinds that are known only once something refers to them.

use std::time::Duration;

use futures::FutureExt;
use instar_watch::{DynamicKept, DynamicWatches, Key, KindKey, Lookup, Unavailable};
use kube::{Client, discovery::ApiResource};
use tokio::time::timeout;

use crate::{
    api::Error,
    caches::Caches,
    kinds::{Kinds, UnusedKinds},
    memory::Memory,
};

/// How long the first list of a kind may take. It goes on after that, and the next pass finds it.
const FIRST_LIST: Duration = Duration::from_secs(15);

/// Finds what Clusters refer to: control planes of other kinds than kubeadm's, and templates.
pub(crate) struct Referred<'a> {
    pub(crate) client: &'a Client,
    pub(crate) caches: &'a Caches,
    pub(crate) kinds: &'a Kinds,
    pub(crate) unused_kinds: &'a UnusedKinds,
    pub(crate) memory: &'a Memory,
}

impl Referred<'_> {
    /// Watches a kind for as long as something is asked of the Cluster, and waits for the first answer about it.
    pub(super) async fn watch<E: DynamicKept>(
        &self,
        watches: &DynamicWatches<E>,
        cluster: &Key,
        resource: &ApiResource,
    ) -> Result<KindKey, Error> {
        let lease = watches.lease_resource(resource).ok_or_else(|| Error::Unlisted {
            kind: resource.kind.clone(),
            why: "more kinds are referred to than can be watched".to_owned(),
        })?;
        let kind = lease.kind().clone();
        self.memory.keep_lease(cluster, lease);
        if watches.answered(kind.as_str()).now_or_never().is_none() {
            let first = async {
                let answered = timeout(FIRST_LIST, watches.answered(kind.as_str())).await;
                answered.map_err(|_| Error::Silence {
                    doing: format!("listing every {}", resource.kind),
                })
            };
            // Without an answer in time, the look-up says so.
            let _ = self.kinds.in_turn(&resource.group, &resource.kind, first).await;
        }
        Ok(kind)
    }
}

/// What a look for an object came to.
pub(super) enum Found<T> {
    Present(T),
    /// This is why it can't be decoded.
    Unreadable(String),
    Absent,
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
        Lookup::Pending | Lookup::Unwatched => Err(Error::NotListedYet {
            kind: resource.kind.clone(),
        }),
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
