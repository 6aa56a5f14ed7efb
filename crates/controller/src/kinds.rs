//! Which resource a provider's kind is, and at which version: as Cluster API finds it, by the labels
//! of its definition. The API server is asked once.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use instar_capi::{Contract, served};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt,
    discovery::{ApiResource, oneshot},
};

use crate::api::{Error, call};

/// A provider's kind.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    /// The resource, at the version that keeps the contract.
    pub(crate) resource: ApiResource,
    /// The contract.
    pub(crate) contract: Contract,
}

/// What is known of kinds, by group and kind.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    known: Mutex<HashMap<(String, String), Kind>>,
    templates: Mutex<Option<Vec<(String, String)>>>,
}

const INFRASTRUCTURE: &str = "infrastructure.cluster.x-k8s.io";
const BOOTSTRAP: (&str, &str) = ("bootstrap.cluster.x-k8s.io", "KubeadmConfigTemplate");

impl Kinds {
    /// A kind.
    pub(crate) async fn kind(&self, client: &Client, group: &str, kind: &str) -> Result<Kind, Error> {
        let key = (group.to_owned(), kind.to_owned());
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .cloned();
        if let Some(kind) = known {
            return Ok(kind);
        }
        let found = ask(client, group, kind).await?;
        // A kind that is new may have come with others.
        *self.templates.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(key, found.clone());
        Ok(found)
    }

    /// The resource of a kind.
    pub(crate) async fn resource(&self, client: &Client, group: &str, kind: &str) -> Result<ApiResource, Error> {
        Ok(self.kind(client, group, kind).await?.resource)
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

    /// After an error, a kind is asked for again: its provider may have been installed again, at other versions.
    /// A missing right says nothing about that.
    pub(crate) fn forget_after(&self, error: &Error) {
        if !matches!(error, Error::NoRight { .. } | Error::Unlisted { .. }) {
            self.forget();
        }
    }

    fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
        *self.templates.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

async fn ask(client: &Client, group: &str, kind: &str) -> Result<Kind, Error> {
    let doing = || format!("asking for the kinds of {group}");
    let found = call(doing, oneshot::group(client, group)).await?;
    let Some((any, _)) = found.recommended_kind(kind) else {
        return Err(Error::NoKind {
            group: group.to_owned(),
            kind: kind.to_owned(),
        });
    };
    let definition = format!("{}.{group}", any.plural);
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let doing = || format!("reading the labels of CustomResourceDefinition {definition}");
    let metadata = call(doing, definitions.get_metadata(&definition)).await?;
    let served = served(&definition, metadata.labels())?;
    let of_version = found.versioned_resources(served.version);
    match of_version.into_iter().find(|(resource, _)| resource.kind == kind) {
        Some((resource, _)) => Ok(Kind {
            resource,
            contract: served.contract,
        }),
        None => Err(Error::NotServed {
            label: served.contract.label(),
            version: served.version.to_owned(),
            definition,
        }),
    }
}
