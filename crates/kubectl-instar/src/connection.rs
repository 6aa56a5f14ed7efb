//! The cluster and the namespace of kubectl's context, or of the flags.

use std::path::PathBuf;

use clap::Args;
use instar::cluster;
use kube::{Api, Client, Resource, core::NamespaceResourceScope};

use crate::Error;

/// What kubectl has under the same names.
#[derive(Args, Clone, Debug, Default)]
pub struct ConnectionArgs {
    /// The namespace; the default is that of the context
    #[arg(short, long, value_name = "NAMESPACE", global = true)]
    pub(crate) namespace: Option<String>,

    /// The kubeconfig file
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// The context in the kubeconfig file
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) context: Option<String>,
}

/// A client, and the namespace that a verb is about.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

impl Connection {
    pub(crate) async fn open(args: &ConnectionArgs) -> Result<Self, Error> {
        let (client, namespace) =
            cluster::connect_in_namespace(args.kubeconfig.as_deref(), args.context.as_deref()).await?;
        Ok(Self {
            client,
            namespace: args.namespace.clone().unwrap_or(namespace),
        })
    }

    /// The objects of a kind in the namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}
