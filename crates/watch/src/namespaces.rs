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
pub trait ScopeOf {
    /// Where the kind's objects are, if others are looked at in these namespaces.
    fn within(namespaces: Namespaces) -> Namespaces;
}

impl ScopeOf for NamespaceResourceScope {
    fn within(namespaces: Namespaces) -> Namespaces {
        namespaces
    }
}

impl ScopeOf for ClusterResourceScope {
    fn within(_: Namespaces) -> Namespaces {
        Namespaces::All
    }
}

impl Namespaces {
    /// The client for the objects there.
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
