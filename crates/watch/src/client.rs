//! The client that the watches are made for.

use std::time::Duration;

use kube::{Client, Config};

use crate::ErrorChain;

/// Longer than any watch is silent: each is ended after 50 s. A list on a dead connection would
/// otherwise be waited for without end.
const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no cluster to talk to.
    #[error(
        "can't tell which cluster to watch ({why}): run it in a pod with a ServiceAccount, or set KUBECONFIG to a file with a current context"
    )]
    Config {
        /// What was tried.
        why: String,
    },
    /// The configuration can't be used.
    #[error("can't make a client from the configuration of the cluster: {why}")]
    Client {
        /// What is wrong.
        why: String,
    },
}

/// A client of the cluster of `KUBECONFIG`, of `~/.kube/config`, or of the pod that this runs in.
pub async fn connect() -> Result<Client, ConnectError> {
    let mut config = Config::infer().await.map_err(|error| ConnectError::Config {
        why: ErrorChain(&error).to_string(),
    })?;
    // The watches have a back-off of their own, and a retry inside would hide the error for minutes.
    config.default_retry = false;
    config.read_timeout = Some(READ_TIMEOUT);
    config.reset_reader_on_write = true;
    tracing::info!(cluster = %config.cluster_url, "Connecting");
    Client::try_from(config).map_err(|error| ConnectError::Client {
        why: ErrorChain(&error).to_string(),
    })
}
