//! The cluster that a command of a user talks to: that of kubectl's context, or of the flags.

use std::{path::Path, time::Duration};

use instar_watch::{ErrorChain, ErrorText};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::time::timeout;

/// The deadline of a call. Without one, the client tries for many minutes.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Why a cluster can't be talked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no kubeconfig.
    #[error("cannot find a kubeconfig ({why}): use --kubeconfig, or set KUBECONFIG")]
    Config {
        /// What was tried.
        why: String,
    },
    /// The kubeconfig can't be used.
    #[error("cannot create a client from the kubeconfig: {why}")]
    Client {
        /// What is wrong.
        why: String,
    },
    /// A call had no answer.
    #[error("{what}: the API server did not answer within {} s: check it, and try again", DEADLINE.as_secs())]
    Deadline {
        /// The call.
        what: String,
    },
    /// A call failed.
    #[error("{what}: {}", ErrorText(source))]
    Call {
        /// The call.
        what: String,
        /// The answer.
        #[source]
        source: kube::Error,
    },
}

/// A client for the context that kubectl would use, or for that of the flags.
pub async fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Client, Error> {
    let (client, _) = connect_in_namespace(kubeconfig, context).await?;
    Ok(client)
}

/// The same, with the namespace of that context.
///
/// # Errors
/// Without a kubeconfig, or with one that can't be used.
pub async fn connect_in_namespace(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<(Client, String), Error> {
    let config = config(kubeconfig, context).await;
    let config = config.map_err(|why| Error::Config { why })?;
    let namespace = config.default_namespace.clone();
    let client = Client::try_from(config).map_err(|error| Error::Client {
        why: ErrorChain(&error).to_string(),
    })?;
    Ok((client, namespace))
}

/// Its configuration, or why there is none.
pub async fn config(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Config, String> {
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
            return Config::infer().await.map_err(|error| ErrorChain(&error).to_string());
        }
    };
    configured.map_err(|error| ErrorChain(&error).to_string())
}

/// A call with a deadline. `what` begins the error's text: "cannot ...".
pub async fn call<T>(
    what: impl FnOnce() -> String,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match timeout(DEADLINE, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(Error::Call { what: what(), source }),
        Err(_) => Err(Error::Deadline { what: what() }),
    }
}
