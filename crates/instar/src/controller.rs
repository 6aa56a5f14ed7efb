//! `instar controller`: classic clusters, and the port on which it is looked at.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use clap::Args;
use instar_serve::{Metrics, Readiness, health};
use instar_watch::{ConnectError, connect};
use tokio::{net::TcpListener, select};
use tokio_util::sync::CancellationToken;

use crate::{log, signals::stop_on_signals};

/// Runs the controller of upgrades
///
/// Of a Cluster without spec.topology, a classic one, a ClusterUpgrade or the annotation
/// upgrade.cluster.x-k8s.io/version says where it goes; the controller mints the machine templates
/// and points the control plane and the pools at them, step by step. Of a Cluster of a class, Cluster
/// API does that; a ClusterUpgrade edits its version, and an edited version makes a ClusterUpgrade.
/// Either way the ClusterUpgrade's status says where it is, and what it waits for.
///
/// The cluster is that of KUBECONFIG, of ~/.kube/config, or, in a pod, the pod's own.
///
/// On the health port, without TLS: /healthz, /readyz (which names what is still awaited),
/// /metrics.
#[derive(Debug, Args)]
#[command(after_long_help = CONTROLLER_EXAMPLES)]
pub struct ControllerArgs {
    /// The address of the health port
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub(crate) bind_address: IpAddr,

    /// The port of /healthz, /readyz and /metrics
    #[arg(long, value_name = "PORT", default_value_t = 8081)]
    pub(crate) health_port: u16,

    /// How the log looks, on standard error
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) log_format: log::Format,

    /// Where the Lease instar-controller is; by default the pod's or the context's own namespace
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) lease_namespace: Option<String>,

    /// Write without holding the Lease
    #[arg(long)]
    pub(crate) no_leader_election: bool,
}

const CONTROLLER_EXAMPLES: &str = "\
Environment:
  INSTAR_LOG   what is logged, such as info or instar=debug,kube=warn; where it is not set,
               RUST_LOG; else info
  KUBECONFIG   the cluster, where it is not the pod's own

Examples:
  # In a pod:
  instar controller --log-format json

  # On a workstation, against the current context:
  instar controller --bind-address 127.0.0.1 --no-leader-election

Exit codes: 0 stopped by SIGTERM or SIGINT, 2 error, which the loss of the Lease is too.";

/// Why the controller did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no cluster to talk to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The signals can't be waited for.
    #[error("can't wait for SIGTERM and SIGINT")]
    Signals(#[source] io::Error),
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
    stop_on_signals(&shutdown).map_err(Error::Signals)?;
    let client = connect().await?;
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
