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
    templates: Mutex<Option<Vec<(String, String)>>>,
}

const INFRASTRUCTURE: &str = "infrastructure.cluster.x-k8s.io";
const BOOTSTRAP: (&str, &str) = ("bootstrap.cluster.x-k8s.io", "KubeadmConfigTemplate");

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
        // A kind that is new may have come with others.
        *self.templates.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(key, resource.clone());
        Ok(resource)
    }

    /// The kinds of templates that a pool may have, by group and kind: every infrastructure
    /// provider's, as the contract names them, and kubeadm's.
    pub(crate) async fn templates(&self, client: &Client) -> Result<Vec<(String, String)>, Error> {
        let known = self.templates.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let found = call(
            || format!("asking for the kinds of {INFRASTRUCTURE}"),
            oneshot::group(client, INFRASTRUCTURE),
        )
        .await?;
        let resources = found.recommended_resources().into_iter();
        let kinds: Vec<(String, String)> = resources
            .filter(|(resource, _)| resource.kind.ends_with("MachineTemplate"))
            .map(|(resource, _)| (resource.group, resource.kind))
            .chain([(BOOTSTRAP.0.to_owned(), BOOTSTRAP.1.to_owned())])
            .collect();
        *self.templates.lock().unwrap_or_else(PoisonError::into_inner) = Some(kinds.clone());
        Ok(kinds)
    }

    /// Forgets all: a provider may have been installed anew, at other versions.
    pub(crate) fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
        *self.templates.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
