//! Who the programs of a cluster are to its API server: what they are in a real installation.
//!
//! Instar's admission tells by the user who owns an object or cleans up, so nobody but the
//! administrator is the administrator.

use anyhow::{Context, Result};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams};
use serde_json::json;

use crate::{
    components::Component,
    kubeconfig::{self, Credentials},
    mgmt::Mgmt,
};

/// How long a token lasts: longer than any cluster here.
const TOKEN_SECONDS: i64 = 7 * 24 * 3600;

/// The namespace and the name of a manager's ServiceAccount, as Cluster API's manifests have them.
const fn service_account(manager: Component) -> Option<(&'static str, &'static str)> {
    match manager {
        Component::CapiCore => Some(("capi-system", "capi-manager")),
        Component::Bootstrap => Some(("capi-kubeadm-bootstrap-system", "capi-kubeadm-bootstrap-manager")),
        Component::ControlPlane => Some((
            "capi-kubeadm-control-plane-system",
            "capi-kubeadm-control-plane-manager",
        )),
        Component::Infrastructure => Some(("capd-system", "capd-manager")),
        Component::Vsphere => Some(("capv-system", "capv-manager")),
        Component::Simulator => Some(("vcsim-system", "vcsim-manager")),
        Component::Etcd
        | Component::ApiServer
        | Component::ControllerManager
        | Component::InstarWebhook
        | Component::InstarController => None,
    }
}

impl Mgmt {
    /// Gives kube-controller-manager its certificate, by whose name RBAC knows it.
    pub(crate) fn introduce_controller_manager(&self) -> Result<()> {
        const USER: &str = "system:kube-controller-manager";
        let pair = self.certificates().issue_client(USER, USER)?;
        self.write_kubeconfig(Component::ControllerManager, USER, &Credentials::Certificate(&pair))
    }

    /// Gives each of Cluster API's managers its ServiceAccount. Which rights a manager needs is for
    /// its provider to test, so here it has all of them.
    pub(crate) async fn introduce_managers(&self) -> Result<()> {
        for manager in Component::managers(self.built().infrastructure()).iter().copied() {
            let (namespace, name) = service_account(manager).with_context(|| format!("{manager} has no account"))?;
            let objects = [
                // A cluster that stands still has Cluster API's definitions alone.
                json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } }),
                json!({
                    "apiVersion": "v1", "kind": "ServiceAccount",
                    "metadata": { "namespace": namespace, "name": name },
                }),
                json!({
                    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                    "metadata": { "name": format!("{name}-of-a-test") },
                    "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
                    "subjects": [{ "kind": "ServiceAccount", "namespace": namespace, "name": name }],
                }),
            ];
            for object in objects {
                self.applier().one(serde_json::from_value(object)?, None).await?;
            }
            let token = token(self.client(), namespace, name).await?;
            self.write_kubeconfig(manager, name, &Credentials::Token(&token))?;
        }
        Ok(())
    }

    pub(crate) fn write_kubeconfig(&self, of: Component, user: &str, credentials: &Credentials<'_>) -> Result<()> {
        let path = self.run().kubeconfig_of(of.name());
        kubeconfig::write(&path, self.certificates().authority(), user, credentials)
    }
}

/// A token of a ServiceAccount.
pub(crate) async fn token(client: Client, namespace: &str, service_account: &str) -> Result<String> {
    let api: Api<ServiceAccount> = Api::namespaced(client, namespace);
    let spec = TokenRequestSpec {
        expiration_seconds: Some(TOKEN_SECONDS),
        ..TokenRequestSpec::default()
    };
    let request = TokenRequest {
        spec,
        ..TokenRequest::default()
    };
    let issued = api
        .create_token_request(service_account, &PostParams::default(), &request)
        .await;
    let issued = issued.with_context(|| format!("asking for a token of {namespace}/{service_account}"))?;
    Ok(issued.status.context("the API server issued no token")?.token)
}
