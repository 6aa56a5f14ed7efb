//! Reads objects from the cluster, unchanged and with all fields.

use std::path::Path;

use instar_api::KubernetesRelease;
use instar_capi::{ClusterClass, TemplateRef};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, TypeMeta},
    core::GroupVersionKind,
    discovery,
};
use serde_json::Value;
use tokio::time::timeout;

use instar_watch::{ErrorChain, ErrorText, is_not_found};

use crate::cluster::{DEADLINE, config};

/// Why objects can't be read from the cluster.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot find a kubeconfig ({why}): use --kubeconfig, set KUBECONFIG, or use files with -f")]
    Config { why: String },
    #[error("cannot create a client from the kubeconfig: {why}")]
    Client { why: String },
    #[error("{what}: the API server did not answer within {} s: check it, and try again", DEADLINE.as_secs())]
    Deadline { what: String },
    #[error("{what}: {why}")]
    Call { what: String, why: String },
    #[error("{what}: not found: {remediation}")]
    Missing { what: String, remediation: &'static str },
    #[error("cannot read the API server's answer for {what}")]
    Unreadable {
        what: String,
        #[source]
        source: serde_json::Error,
    },
    #[error(
        "{what}, has apiVersion \"{api_version}\" and kind \"{kind}\": both are needed, so correct the reference in the class"
    )]
    Reference {
        what: String,
        api_version: String,
        kind: String,
    },
}

/// A cluster to read from.
pub(crate) struct Cluster {
    client: Client,
    namespace: String,
}

impl Cluster {
    /// Creates a client for the context that kubectl would use.
    pub(crate) async fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Self, Error> {
        let config = config(kubeconfig, context).await;
        let config = config.map_err(|why| Error::Config { why })?;
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config).map_err(|error| Error::Client {
            why: ErrorChain(&error).to_string(),
        })?;
        Ok(Self { client, namespace })
    }

    /// The context's namespace.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A ClusterClass.
    pub(crate) async fn class(&self, namespace: &str, name: &str) -> Result<Value, Error> {
        let resource = ApiResource::erase::<ClusterClass>(&());
        let remediation = "check `kubectl get clusterclasses -A`, and set its namespace with -n";
        self.get(&resource, namespace, name, remediation).await
    }

    /// A template, at exactly the API version of the reference: the class' patches get it at that version.
    pub(crate) async fn template(&self, namespace: &str, reference: &TemplateRef) -> Result<Value, Error> {
        let what = format!(
            "{} {namespace}/{}, which the class refers to",
            reference.kind, reference.name
        );
        let Some((group, version)) = reference
            .api_version
            .split_once('/')
            .filter(|_| !reference.kind.is_empty())
        else {
            return Err(Error::Reference {
                what,
                api_version: reference.api_version.clone(),
                kind: reference.kind.clone(),
            });
        };
        let kind = GroupVersionKind::gvk(group, version, &reference.kind);
        let doing = format!("cannot find the kind {} of {}", reference.kind, reference.api_version);
        let found = timed(&doing, discovery::pinned_kind(&self.client, &kind)).await?;
        let (resource, _) = found.map_err(|error| Error::Call {
            why: format!("{}: install its provider", ErrorText(&error)),
            what: doing,
        })?;
        let remediation = "create it, or correct the reference in the class";
        self.get(&resource, namespace, &reference.name, remediation).await
    }

    async fn get(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
        remediation: &'static str,
    ) -> Result<Value, Error> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, resource);
        let object = format!("{} {namespace}/{name}", resource.kind);
        let what = format!("cannot get {object} ({})", resource.api_version);
        match timed(&what, api.get(name)).await? {
            Ok(found) => value(&object, &found),
            Err(error) if is_not_found(&error) => Err(Error::Missing { what, remediation }),
            Err(error) => Err(Error::Call {
                why: ErrorText(&error).to_string(),
                what,
            }),
        }
    }

    /// All KubernetesReleases.
    pub(crate) async fn releases(&self) -> Result<Vec<Value>, Error> {
        let resource = ApiResource::erase::<KubernetesRelease>(&());
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        let what = format!("cannot list {}.{}", resource.plural, resource.group);
        let listed = match timed(&what, api.list(&ListParams::default())).await? {
            Ok(listed) => listed,
            Err(error) if is_not_found(&error) => {
                return Err(Error::Call {
                    what,
                    why: "the API server doesn't serve them: apply config/crd first".to_owned(),
                });
            }
            Err(error) => {
                return Err(Error::Call {
                    why: ErrorText(&error).to_string(),
                    what,
                });
            }
        };
        listed
            .items
            .into_iter()
            .map(|mut release| {
                // A list leaves them out of its items.
                release.types = Some(TypeMeta {
                    api_version: resource.api_version.clone(),
                    kind: resource.kind.clone(),
                });
                value(&format!("KubernetesRelease {}", release.name_any()), &release)
            })
            .collect()
    }
}

async fn timed<T>(what: &str, call: impl Future<Output = T>) -> Result<T, Error> {
    timeout(DEADLINE, call)
        .await
        .map_err(|_| Error::Deadline { what: what.to_owned() })
}

fn value(what: &str, object: &DynamicObject) -> Result<Value, Error> {
    serde_json::to_value(object).map_err(|source| Error::Unreadable {
        what: what.to_owned(),
        source,
    })
}
