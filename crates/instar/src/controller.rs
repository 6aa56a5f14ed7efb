//! `instar controller`: classic clusters, and the port on which it is looked at.

use std::{io, net::SocketAddr};

use instar_serve::{Metrics, Readiness, health};
use tokio::{net::TcpListener, select};
use tokio_util::sync::CancellationToken;

use crate::{cli::ControllerArgs, webhook};

/// Why the controller did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no cluster to talk to.
    #[error(transparent)]
    Setup(#[from] webhook::Error),
    /// The port is taken.
    #[error("cannot listen on {address} for health: free that port or choose another")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Serving failed.
    #[error("serving health ended")]
    Health(#[source] io::Error),
    /// The controller ended.
    #[error(transparent)]
    Controller(#[from] instar_controller::Error),
}

/// Runs until SIGTERM or SIGINT. What is under way then is found again by the next start.
pub(crate) async fn run(args: &ControllerArgs) -> Result<(), Error> {
    let shutdown = CancellationToken::new();
    webhook::stop_on_signals(&shutdown)?;
    let client = webhook::client().await?;
    let namespace = args.lease_namespace.clone();
    let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
    let namespace = (!args.no_leader_election).then_some(namespace.as_str());

    let (metrics, readiness) = (Metrics::default(), Readiness::default());
    let address = SocketAddr::from((args.bind_address, args.health_port));
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|source| Error::Bind { address, source })?;
    // One that doesn't lead is ready too: it is ready to.
    let router = health::router(metrics.clone(), readiness.clone(), shutdown.clone());
    select! {
        served = axum::serve(listener, router) => served.map_err(Error::Health),
        ended = instar_controller::run(client, namespace, &metrics, &readiness, shutdown.cancelled()) => Ok(ended?),
    }
}
