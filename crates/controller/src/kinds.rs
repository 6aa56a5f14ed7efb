//! Which resource a template's kind is: the API server is asked once.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use kube::{
    Client,
    discovery::{ApiResource, oneshot},
};

use crate::api::{Error, call};

/// What is known of kinds, by group and kind.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    known: Mutex<HashMap<(String, String), ApiResource>>,
}

impl Kinds {
    /// The resource of a kind, at the version that the API server prefers.
    pub(crate) async fn resource(&self, client: &Client, group: &str, kind: &str) -> Result<ApiResource, Error> {
        let key = (group.to_owned(), kind.to_owned());
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .cloned();
        if let Some(resource) = known {
            return Ok(resource);
        }
        let found = call(
            || format!("asking for the kinds of {group}"),
            oneshot::group(client, group),
        )
        .await?;
        let Some((resource, _)) = found.recommended_kind(kind) else {
            return Err(Error::NoKind {
                group: group.to_owned(),
                kind: kind.to_owned(),
            });
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(key, resource.clone());
        Ok(resource)
    }

    /// Forgets all: a provider may have been installed anew, at other versions.
    pub(crate) fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
