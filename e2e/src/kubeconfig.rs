//! Kubeconfig files: with everything inside, so that they can be copied.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use kube::{
    Client, Config,
    client::{ClientBuilder, retry::RetryPolicy},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use tower::{buffer::BufferLayer, retry::RetryLayer};

use crate::{
    certificates::{Pair, replace},
    ports,
};

/// How somebody proves who they are.
#[derive(Debug)]
pub enum Credentials<'a> {
    /// A client's certificate.
    Certificate(&'a Pair),
    /// A ServiceAccount's token.
    Token(&'a str),
}

/// Writes a kubeconfig for the cluster's API server.
pub fn write(path: &Path, authority: &str, user: &str, credentials: &Credentials<'_>) -> Result<()> {
    let encode = |text: &str| BASE64_STANDARD.encode(text);
    let credentials = match credentials {
        Credentials::Certificate(pair) => {
            json!({ "client-certificate-data": encode(&pair.certificate), "client-key-data": encode(&pair.key) })
        }
        Credentials::Token(token) => json!({ "token": token }),
    };
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "instar-e2e", "cluster": {
            "server": format!("https://127.0.0.1:{}", ports::API_SERVER),
            "certificate-authority-data": encode(authority),
        }}],
        "users": [{ "name": user, "user": credentials }],
        "contexts": [{ "name": user, "context": { "cluster": "instar-e2e", "user": user } }],
        "current-context": user,
    });
    // JSON is YAML, and every tool reads it.
    replace(path, &serde_json::to_string_pretty(&config)?)
}

/// The same, acting as another user of a group.
pub async fn client_as(path: &Path, user: &str, group: &str) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(path).with_context(|| path.display().to_string())?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.auth_info.impersonate = Some(user.to_owned());
    config.auth_info.impersonate_groups = Some(vec![group.to_owned()]);
    Ok(Client::try_from(config)?)
}

/// A client with the credentials of a kubeconfig file.
pub async fn client(path: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(path).with_context(|| path.display().to_string())?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    // The default repeats a request for minutes. This one outlasts what the API server asks for
    // when a kind's storage is read for the first time: 429, and a second of patience.
    config.default_retry = false;
    let retry = RetryPolicy::new(Duration::from_millis(100), Duration::from_secs(1), 10, true)?;
    let builder = ClientBuilder::try_from(config).with_context(|| path.display().to_string())?;
    // The buffer only makes the service below something that can be cloned for a repetition.
    Ok(builder
        .with_layer(&BufferLayer::new(1024))
        .with_layer(&RetryLayer::new(retry))
        .build())
}
