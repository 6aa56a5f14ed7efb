//! `instar controller`: the upgrade controller and its health port.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use clap::Args;
use instar_controller::{
    AdmissionServer, ExtensionCa, ExtensionServer, Instance, Scope, Timing, WatchFilter, namespaces, watch_filter,
};
use instar_serve::{Metrics, Readiness, health};
use instar_watch::{ConnectError, Namespaces, connect};
use tokio::{net::TcpListener, select};
use tokio_util::sync::CancellationToken;

use crate::{certificates::CertificateArgs, log, signals::stop_on_signals};

/// Runs the upgrade controller
///
/// The controller upgrades classic Clusters, those without spec.topology, to the version that a ClusterUpgrade or the
/// annotation upgrade.cluster.x-k8s.io/version asks for: it creates the machine templates, and points the control
/// plane and the pools at them, one step at a time.
///
/// Cluster API itself upgrades a Cluster of a ClusterClass. For such a Cluster the controller sets
/// spec.topology.version if a ClusterUpgrade asks for it, and creates a ClusterUpgrade as the record of an upgrade
/// that was started by an edit of that field.
///
/// Either way the status of the ClusterUpgrade says how far the upgrade is, and what it waits for.
///
/// The health port serves /healthz, /readyz (503 with one line for each part that is not ready) and /metrics, without
/// TLS.
#[derive(Debug, Args)]
#[command(after_long_help = CONTROLLER_EXAMPLES)]
pub struct ControllerArgs {
    /// The IP address that the health port listens on
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub(crate) bind_address: IpAddr,

    /// The port for /healthz, /readyz and /metrics, without TLS
    #[arg(long, value_name = "PORT", default_value_t = 8081)]
    pub(crate) health_port: u16,

    /// The format of the log, which is written to standard error
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) log_format: log::Format,

    /// Watch objects of this namespace alone; without it, or where it is empty, of all namespaces. ClusterClasses are watched in
    /// all, since a Cluster may name one of another namespace
    #[arg(long, value_name = "NAMESPACE", value_parser = namespaces)]
    pub(crate) namespace: Option<Namespaces>,

    /// Look after the Clusters alone whose label cluster.x-k8s.io/watch-filter has this value; without it, or where it is
    /// empty, after all Clusters, with the label or without
    #[arg(long, value_name = "VALUE", value_parser = watch_filter)]
    pub(crate) watch_filter: Option<WatchFilter>,

    /// The namespace of the Lease. It is named instar-controller, with -VALUE for --watch-filter and .NAMESPACE for
    /// --namespace; the default is the namespace of the pod or of the current context
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) lease_namespace: Option<String>,

    /// The Service of the admission server, in the namespace of the Lease: Cluster API reaches Runtime Hooks by it. Without
    /// it or --extension-url, gates hold no step between two minors of a topology Cluster
    #[arg(long, value_name = "NAME", requires = "extension_ca_secret")]
    pub(crate) extension_service: Option<String>,

    /// The Secret, in the namespace of the Lease, with the CA certificates of the admission server in ca.crt; Cluster API
    /// reads it
    #[arg(long, value_name = "NAME", requires = "extension_service")]
    pub(crate) extension_ca_secret: Option<String>,

    /// The https URL of the admission server, for one outside of the cluster
    #[arg(
        long,
        value_name = "URL",
        conflicts_with = "extension_service",
        requires = "extension_ca_file"
    )]
    pub(crate) extension_url: Option<String>,

    /// A PEM file with the CA certificates of the server at --extension-url; it is read once
    #[arg(long, value_name = "FILE", requires = "extension_url")]
    pub(crate) extension_ca_file: Option<PathBuf>,

    /// For how many seconds each Node has to be Ready before an upgrade is complete
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) node_ready_seconds: u32,

    /// For how many seconds a Machine of a control plane may have no Node before it counts as stuck; in a topology cluster
    /// it is deleted then, if the control plane asks for another release
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(10..))]
    pub(crate) machine_start_seconds: u32,

    /// Run without the Lease; use this only if no other instance of the controller runs
    #[arg(long)]
    pub(crate) no_leader_election: bool,

    #[command(flatten)]
    pub(crate) certificates: CertificateArgs,
}

const CONTROLLER_EXAMPLES: &str = "\
Environment:
  INSTAR_LOG   the log filter, such as info or instar=debug,kube=warn; the default is the value
               of RUST_LOG, else info
  KUBECONFIG   the kubeconfig file; the default is ~/.kube/config, else the pod's service account

Examples:
  # In a pod:
  instar controller --log-format json

  # One of several controllers, for the Clusters with the label cluster.x-k8s.io/watch-filter=a:
  instar controller --watch-filter a

  # On a workstation, against the current context:
  instar controller --bind-address 127.0.0.1 --no-leader-election

Exit codes: 0 stopped by SIGTERM or SIGINT, 2 error, or the Lease was lost.";

/// Why the controller did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no client for the cluster.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The signals can't be waited for.
    #[error("cannot listen for SIGTERM and SIGINT")]
    Signals(#[source] io::Error),
    /// The port can't be bound.
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
    /// The file with the authority of the hooks can't be read.
    #[error("cannot read --extension-ca-file {}", path.display())]
    ExtensionCa {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The controller ended.
    #[error(transparent)]
    Controller(#[from] instar_controller::Error),
}

/// Runs until SIGTERM or SIGINT. The next start finds the state of every upgrade in the cluster.
pub(crate) async fn run(args: &ControllerArgs) -> Result<(), Error> {
    let shutdown = CancellationToken::new();
    stop_on_signals(&shutdown).map_err(Error::Signals)?;
    let client = connect().await?;
    let namespace = args.lease_namespace.clone();
    let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
    let (service, secret) = (args.extension_service.as_ref(), args.extension_ca_secret.as_ref());
    let admission = AdmissionServer {
        extension: extension(args, &namespace)?,
        certificates: args.certificates.kept(&namespace, service, secret),
    };
    let scope = Scope {
        namespaces: args.namespace.clone().unwrap_or_default(),
        filter: args.watch_filter.clone().unwrap_or_default(),
    };
    let instance = Instance {
        lease_namespace: (!args.no_leader_election).then_some(namespace.as_str()),
        scope: &scope,
    };

    let (metrics, readiness) = (Metrics::default(), Readiness::default());
    let address = SocketAddr::from((args.bind_address, args.health_port));
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|source| Error::Bind { address, source })?;
    // A process that is not the leader is ready too: it can become the leader at any time.
    let router = health::router(metrics.clone(), readiness.clone(), shutdown.clone());
    select! {
        served = axum::serve(listener, router) => served.map_err(Error::Health),
        ended = instar_controller::run(
            client,
            instance,
            admission,
            Timing::in_seconds(args.node_ready_seconds, args.machine_start_seconds),
            &metrics,
            &readiness,
            shutdown.cancelled(),
        ) => Ok(ended?),
    }
}

/// How Cluster API reaches the admission server.
fn extension(args: &ControllerArgs, namespace: &str) -> Result<Option<ExtensionServer>, Error> {
    if let (Some(name), Some(secret)) = (&args.extension_service, &args.extension_ca_secret) {
        return Ok(Some(ExtensionServer::Service {
            namespace: namespace.to_owned(),
            name: name.clone(),
            ca: ExtensionCa::Secret {
                namespace: namespace.to_owned(),
                name: secret.clone(),
            },
        }));
    }
    let (Some(url), Some(path)) = (&args.extension_url, &args.extension_ca_file) else {
        return Ok(None);
    };
    let bundle = fs::read_to_string(path).map_err(|source| Error::ExtensionCa {
        path: path.clone(),
        source,
    })?;
    Ok(Some(ExtensionServer::Url {
        url: url.clone(),
        ca: ExtensionCa::Bundle(bundle),
    }))
}
