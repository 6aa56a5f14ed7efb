//! A client behind the proxy, which tells every error and repeats nothing.

use std::{path::PathBuf, time::Duration};

use instar_e2e::{
    Context, Result,
    kubeconfig::{self, Credentials},
    support::{fault_proxy::FaultProxy, journeys::JourneyContext},
    wait::wait_for,
};
use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    core::v1::{ConfigMap, ServiceAccount},
};
use kube::{
    Api, Client, Config,
    api::{ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;

/// How long the client waits for a word of the server.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// The journey's ServiceAccount, in charge of its namespace.
const WHO: &str = "journey";

/// A running proxy, and a client behind it.
pub(crate) struct Line {
    pub(crate) proxy: FaultProxy,
    /// The ConfigMaps of the journey's namespace, through the proxy.
    pub(crate) maps: Api<ConfigMap>,
    /// The same, past the proxy.
    pub(crate) direct: Api<ConfigMap>,
    pub(crate) client: Client,
}

impl Line {
    pub(crate) async fn start(scene: &JourneyContext) -> Result<Self> {
        let kubeconfig = kubeconfig_with_token(scene).await?;
        let proxy = FaultProxy::start(&scene.mgmt, 0).await?;
        let kubeconfig = Kubeconfig::read_from(proxy.kubeconfig(&kubeconfig)?)?;
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        config.default_retry = false;
        config.read_timeout = Some(PATIENCE);
        config.reset_reader_on_write = true;
        let client = Client::try_from(config)?;
        Ok(Self {
            proxy,
            maps: Api::namespaced(client.clone(), &scene.namespace),
            direct: Api::namespaced(scene.mgmt.client(), &scene.namespace),
            client,
        })
    }

    /// Creates a ConfigMap through the proxy.
    pub(crate) async fn create(&self, name: &str) -> kube::Result<ConfigMap> {
        self.maps.create(&PostParams::default(), &map(name)).await
    }

    /// Whether there is such a ConfigMap.
    pub(crate) async fn exists(&self, name: &str) -> Result<bool> {
        Ok(self.direct.get_opt(name).await?.is_some())
    }
}

/// A ConfigMap with a name, and no more.
pub(crate) fn map(name: &str) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.to_owned());
    map
}

async fn kubeconfig_with_token(scene: &JourneyContext) -> Result<PathBuf> {
    scene
        .apply_object(json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": WHO } }))
        .await?;
    scene
        .apply_object(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": { "name": WHO },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
            "subjects": [{ "kind": "ServiceAccount", "name": WHO, "namespace": scene.namespace }],
        }))
        .await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(scene.mgmt.client(), &scene.namespace);
    let issued = accounts
        .create_token_request(WHO, &PostParams::default(), &TokenRequest::default())
        .await?;
    let token = issued.status.context("no token was issued")?.token;
    let path = scene.mgmt.run().root().join(format!("{}.kubeconfig", scene.namespace));
    kubeconfig::write(
        &path,
        scene.mgmt.certificates().authority(),
        WHO,
        &Credentials::Token(&token),
    )?;
    // The API server's own watch of the bindings takes a moment.
    let maps: Api<ConfigMap> = Api::namespaced(kubeconfig::client(&path).await?, &scene.namespace);
    wait_for("the journey's rights", Duration::from_secs(30), || async {
        maps.list(&ListParams::default()).await?;
        Ok(())
    })
    .await?;
    Ok(path)
}
