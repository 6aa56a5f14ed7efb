//! The objects of the management cluster that say which vCenter a Cluster has, and who may ask it.

use std::{collections::BTreeMap, time::Duration};

use instar_capi::Cluster;
use instar_watch::{ErrorText, is_not_found};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams},
    discovery::ApiResource,
};
use tokio::time::timeout;

/// How long reading one of them may take.
const READ: Duration = Duration::from_secs(5);

/// Where Cluster API Provider vSphere is, where clusterctl hasn't written it down.
const PROVIDER: &str = "capv-system";

/// A kind of the provider's.
#[derive(Clone, Copy)]
pub(super) struct Resource {
    pub(super) group: &'static str,
    pub(super) kind: &'static str,
    plural: &'static str,
    scope: Scope,
}

#[derive(Clone, Copy)]
enum Scope {
    Namespace,
    Cluster,
}

const GROUP: &str = "infrastructure.cluster.x-k8s.io";

/// All that is read of these is the same in both.
const VERSIONS: [&str; 2] = ["v1beta2", "v1beta1"];

pub(super) const CLUSTERS: Resource = Resource {
    group: GROUP,
    kind: "VSphereCluster",
    plural: "vsphereclusters",
    scope: Scope::Namespace,
};

pub(super) const MACHINE_TEMPLATES: Resource = Resource {
    group: GROUP,
    kind: "VSphereMachineTemplate",
    plural: "vspheremachinetemplates",
    scope: Scope::Namespace,
};

pub(super) const IDENTITIES: Resource = Resource {
    group: GROUP,
    kind: "VSphereClusterIdentity",
    plural: "vsphereclusteridentities",
    scope: Scope::Cluster,
};

/// Why an object wasn't read.
#[derive(Debug)]
pub(super) enum ReadError {
    Forbidden,
    Missing,
    /// In words, without anything of the object.
    Other(String),
}

/// Reads them for the Clusters of a namespace.
pub(super) struct VSphereObjects<'a> {
    management: &'a Client,
    namespace: &'a str,
}

impl<'a> VSphereObjects<'a> {
    pub(super) const fn new(management: &'a Client, namespace: &'a str) -> Self {
        Self { management, namespace }
    }

    pub(super) const fn namespace(&self) -> &'a str {
        self.namespace
    }

    /// Where the controller's account is.
    pub(super) fn account_namespace(&self) -> &str {
        self.management.default_namespace()
    }

    /// The group, the kind and the name of a Cluster's infrastructure.
    pub(super) async fn infrastructure(&self, cluster: &str) -> Result<(String, String, String), ReadError> {
        let resource = ApiResource::erase::<Cluster>(&());
        let clusters: Api<DynamicObject> = Api::namespaced_with(self.management.clone(), self.namespace, &resource);
        let cluster = read(clusters.get(cluster)).await?;
        let reference = &cluster.data["spec"]["infrastructureRef"];
        let field = |name: &str| reference[name].as_str().map(str::to_owned);
        let of = || Some((field("apiGroup")?, field("kind")?, field("name")?));
        of().ok_or_else(|| ReadError::Other("it has no spec.infrastructureRef".to_owned()))
    }

    /// An object of the provider's, at the version that is served.
    pub(super) async fn get(&self, of: Resource, name: &str) -> Result<DynamicObject, ReadError> {
        for version in VERSIONS {
            let resource = ApiResource {
                group: of.group.to_owned(),
                version: version.to_owned(),
                api_version: format!("{}/{version}", of.group),
                kind: of.kind.to_owned(),
                plural: of.plural.to_owned(),
            };
            let client = self.management.clone();
            let api: Api<DynamicObject> = match of.scope {
                Scope::Namespace => Api::namespaced_with(client, self.namespace, &resource),
                Scope::Cluster => Api::all_with(client, &resource),
            };
            match read(api.get(name)).await {
                // It may be served at the other one.
                Err(ReadError::Missing) => {}
                Err(error) => return Err(error),
                Ok(object) => return Ok(object),
            }
        }
        Err(ReadError::Missing)
    }

    pub(super) async fn secret(&self, namespace: &str, name: &str) -> Result<Secret, ReadError> {
        let secrets: Api<Secret> = Api::namespaced(self.management.clone(), namespace);
        read(secrets.get(name)).await
    }

    pub(super) async fn namespace_labels(&self) -> Result<BTreeMap<String, String>, ReadError> {
        let namespaces: Api<Namespace> = Api::all(self.management.clone());
        let named = ListParams::default().fields(&format!("metadata.name={}", self.namespace));
        let list = read(namespaces.list(&named)).await?;
        let namespace = list.items.into_iter().next().ok_or(ReadError::Missing)?;
        Ok(namespace.labels().clone())
    }

    /// The namespace of the provider, in which the Secrets of identities are.
    pub(super) async fn provider_namespace(&self) -> Result<String, ReadError> {
        let resource = ApiResource {
            group: "clusterctl.cluster.x-k8s.io".to_owned(),
            version: "v1alpha3".to_owned(),
            api_version: "clusterctl.cluster.x-k8s.io/v1alpha3".to_owned(),
            kind: "Provider".to_owned(),
            plural: "providers".to_owned(),
        };
        let providers: Api<DynamicObject> = Api::all_with(self.management.clone(), &resource);
        let providers = match read(providers.list(&ListParams::default())).await {
            Ok(list) => list.items,
            Err(ReadError::Missing) => Vec::new(),
            Err(error) => return Err(error),
        };
        let is_it = |provider: &&DynamicObject| {
            provider.data["type"] == "InfrastructureProvider" && provider.data["providerName"] == "vsphere"
        };
        let namespace = providers.iter().find(is_it).and_then(ResourceExt::namespace);
        Ok(namespace.unwrap_or_else(|| PROVIDER.to_owned()))
    }
}

async fn read<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, ReadError> {
    match timeout(READ, call).await {
        Err(_) => Err(ReadError::Other(format!("no answer in {} s", READ.as_secs()))),
        Ok(Ok(read)) => Ok(read),
        Ok(Err(kube::Error::Api(status))) if status.is_forbidden() => Err(ReadError::Forbidden),
        Ok(Err(error)) if is_not_found(&error) => Err(ReadError::Missing),
        // The text of an object that can't be decoded may be a part of it.
        Ok(Err(kube::Error::SerdeError(_))) => Err(ReadError::Other("it can't be decoded".to_owned())),
        Ok(Err(error)) => Err(ReadError::Other(ErrorText(&error).to_string())),
    }
}
