//! Which resource a provider's kind is, and at which version: as Cluster API finds it, by the labels
//! of its definition. The API server is asked once, however many Clusters want to know at the same time.

mod answers;
mod limit;
mod unused;

use std::sync::Arc;

use futures::FutureExt;
use instar_capi::{Contract, served};
use instar_watch::is_not_found;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt,
    discovery::{ApiGroup, ApiResource, oneshot},
};

pub(crate) use self::unused::UnusedKinds;
use self::{answers::Answers, limit::Limits};
use crate::api::{Error, call};

/// A provider's kind.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    /// The resource, at the version that keeps the contract.
    pub(crate) resource: ApiResource,
    /// The contract.
    pub(crate) contract: Contract,
}

/// What is known of kinds.
#[derive(Default)]
pub(crate) struct Kinds {
    groups: Answers<String, Arc<ApiGroup>>,
    /// By group and kind.
    found: Answers<(String, String), Kind>,
    limits: Limits,
}

const INFRASTRUCTURE: &str = "infrastructure.cluster.x-k8s.io";
const BOOTSTRAP: (&str, &str) = ("bootstrap.cluster.x-k8s.io", "KubeadmConfigTemplate");

impl Kinds {
    /// A kind.
    pub(crate) async fn kind(&self, client: &Client, group: &str, kind: &str) -> Result<Kind, Error> {
        let key = (group.to_owned(), kind.to_owned());
        self.found
            .get(key, || asking(group), || self.ask(client, group, kind).boxed())
            .await
    }

    /// The resource of a kind.
    pub(crate) async fn resource(&self, client: &Client, group: &str, kind: &str) -> Result<ApiResource, Error> {
        Ok(self.kind(client, group, kind).await?.resource)
    }

    /// Makes calls about a kind when it is their turn: so many at once, so that a kind that has no answer leaves room
    /// for passes over Clusters that don't need it.
    pub(crate) async fn in_turn<T>(
        &self,
        group: &str,
        kind: &str,
        calls: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.limits.call(group, kind, calls).await
    }

    /// The kinds of templates that a pool may have, by group and kind: every infrastructure
    /// provider's, as the contract names them, and kubeadm's.
    pub(crate) async fn templates(&self, client: &Client) -> Result<Vec<(String, String)>, Error> {
        let infrastructure = self.group(client, INFRASTRUCTURE).await?;
        let resources = infrastructure.resources_by_stability().into_iter();
        Ok(resources
            .filter(|(resource, _)| resource.kind.ends_with("MachineTemplate"))
            .map(|(resource, _)| (resource.group, resource.kind))
            .chain([(BOOTSTRAP.0.to_owned(), BOOTSTRAP.1.to_owned())])
            .collect())
    }

    /// A kind that the API server doesn't serve as it is known here is asked for again: its provider was removed, or
    /// installed again at other versions. Any other failure says nothing about that.
    pub(crate) fn forget_after(&self, error: &Error, resource: &ApiResource) {
        let is_gone = match error {
            Error::NoKind { .. } => true,
            Error::Call { source, .. } => is_not_found(source),
            Error::Tried { .. }
            | Error::Silence { .. }
            | Error::NoTurn { .. }
            | Error::NoRight { .. }
            | Error::Unlisted { .. }
            | Error::NotListedYet { .. }
            | Error::CacheBehind { .. }
            | Error::NoContract(_)
            | Error::NotServed { .. }
            | Error::NotMinted(_)
            | Error::Violation(_)
            | Error::NotLeader => false,
        };
        if is_gone {
            self.groups.forget(&resource.group);
            self.found.forget(&(resource.group.clone(), resource.kind.clone()));
        }
    }

    async fn group(&self, client: &Client, group: &str) -> Result<Arc<ApiGroup>, Error> {
        let ask = || async {
            let found = call(|| asking(group), oneshot::group(client, group)).await?;
            Ok(Arc::new(found))
        };
        self.groups
            .get(group.to_owned(), || asking(group), || ask().boxed())
            .await
    }

    async fn ask(&self, client: &Client, group: &str, kind: &str) -> Result<Kind, Error> {
        let mut found = self.group(client, group).await?;
        if any_version(&found, kind).is_none() {
            // It may have come since, with others.
            self.groups.forget(&group.to_owned());
            found = self.group(client, group).await?;
        }
        let Some(any) = any_version(&found, kind) else {
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
        let at_version = |group: &ApiGroup| {
            let of_version = group.versioned_resources(served.version);
            of_version.into_iter().find(|(resource, _)| resource.kind == kind)
        };
        let mut resource = at_version(&found);
        if resource.is_none() {
            // The label may be newer than what is known of the group. What is known stays for all other Clusters.
            self.groups.forget(&group.to_owned());
            found = self.group(client, group).await?;
            resource = at_version(&found);
        }
        let Some((resource, _)) = resource else {
            return Err(Error::NotServed {
                label: served.contract.label(),
                version: served.version.to_owned(),
                definition,
            });
        };
        Ok(Kind {
            resource,
            contract: served.contract,
        })
    }
}

/// A kind at whichever version it is served: one provider of a group may lag behind the others, and so behind the version
/// that the API server recommends for all of the group.
fn any_version(group: &ApiGroup, kind: &str) -> Option<ApiResource> {
    let resources = group.resources_by_stability().into_iter();
    resources
        .map(|(resource, _)| resource)
        .find(|resource| resource.kind == kind)
}

fn asking(group: &str) -> String {
    format!("asking for the kinds of {group}")
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Mutex};

    use axum::http::{Request, Response};
    use futures::future::try_join_all;
    use kube::{client::Body, core::Status};
    use serde_json::{Value, json};
    use tokio::task::yield_now;

    use super::*;

    const GROUP: &str = "infrastructure.cluster.x-k8s.io";

    /// An API server with two kinds of templates; how often it was asked for each path.
    #[derive(Clone, Default)]
    struct Server(Arc<Mutex<Asked>>);

    #[derive(Default)]
    struct Asked {
        paths: BTreeMap<String, usize>,
        /// Whether the second kind has come.
        both: bool,
    }

    impl Server {
        fn client(&self) -> Client {
            let server = self.clone();
            let answer = move |request: Request<Body>| {
                let server = server.clone();
                async move {
                    // Others ask in the meantime.
                    yield_now().await;
                    let body = server.answer(request.uri().path());
                    let code = body["code"].as_u64().and_then(|code| u16::try_from(code).ok());
                    let response = Response::builder().status(code.unwrap_or(200));
                    Ok::<_, kube::Error>(response.body(axum::body::Body::from(body.to_string())).unwrap())
                }
            };
            Client::new(tower::service_fn(answer), "default")
        }

        fn answer(&self, path: &str) -> Value {
            let mut asked = self.0.lock().unwrap();
            *asked.paths.entry(path.to_owned()).or_default() += 1;
            let version = json!({ "groupVersion": format!("{GROUP}/v1beta2"), "version": "v1beta2" });
            let resource = |kind: &str| {
                json!({ "name": format!("{}s", kind.to_lowercase()), "singularName": "", "kind": kind,
                        "namespaced": true, "verbs": ["list"] })
            };
            match path {
                "/apis" => json!({ "groups": [{ "name": GROUP, "versions": [version], "preferredVersion": version }] }),
                "/apis/infrastructure.cluster.x-k8s.io/v1beta2" => {
                    let mut resources = vec![resource("OneMachineTemplate")];
                    resources.push(resource("NewerMachineTemplate"));
                    resources.extend(asked.both.then(|| resource("OtherMachineTemplate")));
                    json!({ "kind": "APIResourceList", "groupVersion": format!("{GROUP}/v1beta2"), "resources": resources })
                }
                path if path.ends_with("/newermachinetemplates.infrastructure.cluster.x-k8s.io") => json!({
                    "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
                    "metadata": { "name": "any", "labels": { "cluster.x-k8s.io/v1beta2": "v1" } },
                }),
                path if path.contains("/customresourcedefinitions/") => json!({
                    "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
                    "metadata": { "name": "any", "labels": { "cluster.x-k8s.io/v1beta2": "v1beta2" } },
                }),
                _ => json!(Status::failure("no", "NotFound").with_code(404)),
            }
        }

        fn asked(&self) -> Vec<(String, usize)> {
            let paths = std::mem::take(&mut self.0.lock().unwrap().paths);
            let short = |path: String| path.rsplit('/').next().unwrap_or_default().to_owned();
            paths.into_iter().map(|(path, times)| (short(path), times)).collect()
        }
    }

    fn times(expected: &[(&str, usize)]) -> Vec<(String, usize)> {
        expected
            .iter()
            .map(|(path, times)| ((*path).to_owned(), *times))
            .collect()
    }

    #[tokio::test]
    async fn a_hundred_clusters_ask_once_and_a_new_kind_is_found() {
        let (server, kinds) = (Server::default(), Kinds::default());
        let client = server.client();
        let ask = |kind| kinds.kind(&client, GROUP, kind);
        try_join_all((0..100).map(|_| ask("OneMachineTemplate"))).await.unwrap();
        assert_eq!(
            server.asked(),
            times(&[
                ("apis", 1),
                ("onemachinetemplates.infrastructure.cluster.x-k8s.io", 1),
                ("v1beta2", 1)
            ])
        );

        let error = ask("OtherMachineTemplate").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the API server knows no kind OtherMachineTemplate in infrastructure.cluster.x-k8s.io: install its provider"
        );
        assert_eq!(server.asked(), times(&[("apis", 1), ("v1beta2", 1)]));
        server.0.lock().unwrap().both = true;
        let found = ask("OtherMachineTemplate").await.unwrap();
        assert_eq!(found.resource.plural, "othermachinetemplates");
        drop(server.asked());

        // What goes wrong with one kind makes nobody ask for another.
        kinds.forget_after(&error, &found.resource);
        ask("OneMachineTemplate").await.unwrap();
        assert_eq!(server.asked(), []);
        let silence = Error::Silence { doing: String::new() };
        kinds.forget_after(&silence, &ask("OneMachineTemplate").await.unwrap().resource);
        ask("OneMachineTemplate").await.unwrap();
        assert_eq!(server.asked(), []);
        ask("OtherMachineTemplate").await.unwrap();
        assert_eq!(
            server.asked(),
            times(&[
                ("apis", 1),
                ("othermachinetemplates.infrastructure.cluster.x-k8s.io", 1),
                ("v1beta2", 1)
            ])
        );
    }

    #[tokio::test]
    async fn a_version_that_is_not_served_makes_nobody_else_ask() {
        let (server, kinds) = (Server::default(), Kinds::default());
        let client = server.client();
        kinds.kind(&client, GROUP, "OneMachineTemplate").await.unwrap();
        let error = kinds.kind(&client, GROUP, "NewerMachineTemplate").await.unwrap_err();
        assert!(matches!(error, Error::NotServed { .. }), "{error}");
        drop(server.asked());
        kinds.templates(&client).await.unwrap();
        kinds.kind(&client, GROUP, "OneMachineTemplate").await.unwrap();
        assert_eq!(server.asked(), []);
    }
}
