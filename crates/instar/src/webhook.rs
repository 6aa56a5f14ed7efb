//! `instar webhook`: the admission server.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use instar_serve::{Metrics, Readiness};
use instar_watch::{ConnectError, connect};
use instar_webhooks::{AdmissionMetrics, Caches, Events, caches};
use tokio::{pin, runtime::Handle, select, task::JoinError, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{log, signals::stop_on_signals};

/// Runs the admission server
///
/// It watches Clusters, ClusterClasses, KubeadmControlPlanes and KubernetesReleases, and answers
/// the API server from what it has seen: it resolves a Cluster's version and writes its pins,
/// refuses what would break an upgrade, keeps machine templates as they are, and keeps the rows
/// of the catalog that are in use. It writes nothing to the API server, so any number of replicas
/// can run.
///
/// The cluster is that of KUBECONFIG, of ~/.kube/config, or, in a pod, the pod's own.
///
/// On the TLS port: /mutate/cluster, /validate/cluster, /validate/machine-template,
/// /validate/kubernetes-release. On the health port, without TLS: /healthz, /readyz (which names
/// what is still awaited), /metrics.
#[derive(Debug, Args)]
#[command(after_long_help = WEBHOOK_EXAMPLES)]
pub struct WebhookArgs {
    /// The address of both ports
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub(crate) bind_address: IpAddr,

    /// The TLS port, for the API server
    #[arg(long, value_name = "PORT", default_value_t = 9443)]
    pub(crate) port: u16,

    /// The port of /healthz, /readyz and /metrics
    #[arg(long, value_name = "PORT", default_value_t = 8081)]
    pub(crate) health_port: u16,

    /// Where tls.crt and tls.key are; they are read again when they change
    #[arg(long, value_name = "DIR", default_value = "/tmp/k8s-webhook-server/serving-certs")]
    pub(crate) cert_dir: PathBuf,

    /// Answer only clients with a certificate that one of the authorities in this file, in PEM, has
    /// signed; it is read again when it changes. The API server shows one where its
    /// --admission-control-config-file names a kubeconfig with one for this server
    #[arg(long, value_name = "FILE")]
    pub(crate) client_ca_file: Option<PathBuf>,

    /// How the log looks, on standard error
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) log_format: log::Format,
}

const WEBHOOK_EXAMPLES: &str = "\
Environment:
  INSTAR_LOG   what is logged, such as info or instar=debug,kube=warn; where it is not set,
               RUST_LOG; else info
  KUBECONFIG   the cluster, where it is not the pod's own

Examples:
  # In a pod, with cert-manager's certificate mounted:
  instar webhook --cert-dir /certs --log-format json

  # On a workstation, against the current context:
  instar webhook --bind-address 127.0.0.1 --cert-dir ./certs

Exit codes: 0 stopped by SIGTERM or SIGINT, 2 error.";

/// How long a process that has answered everything may take to post the Events that wait. With the
/// server's own time to stop it is less than a pod is given.
const PUBLISHING: Duration = Duration::from_secs(5);

/// Why the admission server did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no cluster to talk to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The signals can't be waited for.
    #[error("can't wait for SIGTERM and SIGINT")]
    Signals(#[source] io::Error),
    /// Serving failed.
    #[error(transparent)]
    Serve(#[from] instar_serve::Error),
    /// A watch ended, and no watch ever should.
    #[error("the watch of {kind} ended, so the cache would grow old: please report this")]
    WatchEnded {
        /// The plural of the kind.
        kind: &'static str,
    },
    /// A watch panicked.
    #[error("a watch panicked, so its cache would grow old: please report this")]
    WatchPanicked(#[source] JoinError),
}

/// Watches and serves until SIGTERM or SIGINT. All that talks with the API server runs in `watching`.
pub(crate) async fn run(args: &WebhookArgs, watching: &Handle) -> Result<(), Error> {
    let shutdown = CancellationToken::new();
    stop_on_signals(&shutdown).map_err(Error::Signals)?;
    let (metrics, readiness) = (Metrics::default(), Readiness::default());
    let state = Arc::new(Caches::default());
    let started = {
        let (state, readiness) = (Arc::clone(&state), readiness.clone());
        let metrics = caches::register(&metrics);
        watching.spawn(async move {
            let client = connect().await?;
            let watches = state.start(&client, &readiness, &metrics);
            Ok::<_, Error>((client, watches))
        })
    };
    let (client, mut watches) = started.await.map_err(Error::WatchPanicked)??;
    let (events, publisher) = Events::new(&metrics);
    let served = CancellationToken::new();
    let publishing = watching.spawn(publisher.publish(client, served.clone()));
    let app = instar_webhooks::router(&state, &Arc::new(events), &AdmissionMetrics::register(&metrics));

    let options = instar_serve::Options {
        bind: args.bind_address,
        port: args.port,
        health_port: args.health_port,
        cert_dir: args.cert_dir.clone(),
        client_ca: args.client_ca_file.clone(),
        ..instar_serve::Options::default()
    };
    let serving = instar_serve::serve(app, options, metrics, readiness, shutdown.clone());
    pin!(serving);
    let ended = select! {
        served = &mut serving => {
            served?;
            None
        }
        ended = watches.join_next() => {
            // What was asked is still answered from what is known.
            shutdown.cancel();
            serving.await?;
            ended
        }
    };
    served.cancel();
    if timeout(PUBLISHING, publishing).await.is_err() {
        tracing::warn!("Stopped before every Event about an overridden rule was posted");
    }
    match ended {
        Some(Ok(watches)) => Err(Error::WatchEnded { kind: watches.name() }),
        Some(Err(panicked)) => Err(Error::WatchPanicked(panicked)),
        None => Ok(()),
    }
}
