//! In which namespaces objects are watched.

use kube::{
    Api, Client, Resource,
    core::{ClusterResourceScope, DynamicResourceScope, NamespaceResourceScope},
    discovery::ApiResource,
};

/// In which namespaces objects are watched. A kind without a namespace is always watched whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Namespaces {
    /// In all of them.
    #[default]
    All,
    /// In this one.
    One(Box<str>),
}

/// The scope of a kind that is known when this is compiled: whether its objects have a namespace.
pub trait ScopeOf<K> {
    /// Of the kind's objects in these namespaces.
    fn api(client: Client, namespaces: &Namespaces) -> Api<K>;
}

impl<K: Resource<DynamicType = (), Scope = Self>> ScopeOf<K> for NamespaceResourceScope {
    fn api(client: Client, namespaces: &Namespaces) -> Api<K> {
        match namespaces {
            Namespaces::All => Api::all(client),
            Namespaces::One(namespace) => Api::namespaced(client, namespace),
        }
    }
}

impl<K: Resource<DynamicType = (), Scope = Self>> ScopeOf<K> for ClusterResourceScope {
    fn api(client: Client, _: &Namespaces) -> Api<K> {
        Api::all(client)
    }
}

impl Namespaces {
    /// Of a kind that is found by references, whose objects have a namespace.
    #[must_use]
    pub fn api<K>(&self, client: Client, resource: &ApiResource) -> Api<K>
    where
        K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
    {
        match self {
            Self::All => Api::all_with(client, resource),
            Self::One(namespace) => Api::namespaced_with(client, namespace, resource),
        }
    }
}
