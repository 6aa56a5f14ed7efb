//! Objects from the cluster, as they are: no view stands between.

use std::{path::Path, time::Duration};

use instar_api::KubernetesRelease;
use instar_capi::{ClusterClass, TemplateRef};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, TypeMeta},
    config::{KubeConfigOptions, Kubeconfig},
    core::GroupVersionKind,
    discovery,
};
use serde_json::Value;
use tokio::time::timeout;

use instar_watch::{ErrorChain, ErrorText, is_not_found};

/// For each call: the client would go on trying for many minutes.
const DEADLINE: Duration = Duration::from_secs(30);

/// Why the cluster doesn't serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("can't tell which cluster is meant ({why}): give --kubeconfig, set KUBECONFIG, or give files with -f")]
    Config { why: String },
    #[error("can't make a client from the configuration of the cluster: {why}")]
    Client { why: String },
    #[error("{what}: the API server gave no answer in {} s: see whether it is well, and try again", DEADLINE.as_secs())]
    Deadline { what: String },
    #[error("{what}: {why}")]
    Call { what: String, why: String },
    #[error("{what}: it doesn't exist: {remediation}")]
    Missing { what: String, remediation: &'static str },
    #[error("the answer for {what} can't be read")]
    Unreadable {
        what: String,
        #[source]
        source: serde_json::Error,
    },
    #[error(
        "{what} has apiVersion {api_version:?} and kind {kind:?}, which name no kind: put the class' reference right"
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
    /// Makes a client for a context, as kubectl would choose it.
    pub(crate) async fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Self, Error> {
        let config = config(kubeconfig, context).await?;
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
        let remediation = "see kubectl get clusterclasses -A, and give its namespace with -n";
        self.get(&resource, namespace, name, remediation).await
    }

    /// A template, in exactly the version of the reference: only in that one do the class' patches
    /// see it.
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
        let doing = format!("can't find the kind {} of {}", reference.kind, reference.api_version);
        let found = timed(&doing, discovery::pinned_kind(&self.client, &kind)).await?;
        let (resource, _) = found.map_err(|error| Error::Call {
            why: format!("{}: install the provider that brings it", ErrorText(&error)),
            what: doing,
        })?;
        let remediation = "create it, or put the class' reference right";
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
        let what = format!("can't get {object} ({})", resource.api_version);
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
        let what = format!("can't list {}.{}", resource.plural, resource.group);
        let listed = match timed(&what, api.list(&ListParams::default())).await? {
            Ok(listed) => listed,
            Err(error) if is_not_found(&error) => {
                return Err(Error::Call {
                    what,
                    why: "the API server doesn't know them: apply config/crd first".to_owned(),
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

async fn config(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Config, Error> {
    let options = KubeConfigOptions {
        context: context.map(ToOwned::to_owned),
        ..KubeConfigOptions::default()
    };
    let configured = match (kubeconfig, context) {
        (Some(path), _) => match Kubeconfig::read_from(path) {
            Ok(read) => Config::from_custom_kubeconfig(read, &options).await,
            Err(error) => Err(error),
        },
        (None, Some(_)) => Config::from_kubeconfig(&options).await,
        (None, None) => {
            return Config::infer().await.map_err(|error| Error::Config {
                why: ErrorChain(&error).to_string(),
            });
        }
    };
    configured.map_err(|error| Error::Config {
        why: ErrorChain(&error).to_string(),
    })
}
