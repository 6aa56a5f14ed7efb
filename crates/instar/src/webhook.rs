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
use instar_watch::{ConnectError, DEFINITIONS, Definitions, Grace, connect};
use instar_webhooks::{AdmissionMetrics, Caches, Events, HookRoute, Route, caches, rbac::Watched};
use tokio::{pin, runtime::Handle, select, task::JoinError, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{log, signals::stop_on_signals};

/// Runs the admission server
#[derive(Debug, Args)]
#[command(long_about = long_about(), after_long_help = WEBHOOK_EXAMPLES)]
pub struct WebhookArgs {
    /// The IP address that both ports listen on
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub(crate) bind_address: IpAddr,

    /// The TLS port, for the API server
    #[arg(long, value_name = "PORT", default_value_t = 9443)]
    pub(crate) port: u16,

    /// The port for /healthz, /readyz and /metrics, without TLS
    #[arg(long, value_name = "PORT", default_value_t = 8081)]
    pub(crate) health_port: u16,

    /// The directory with tls.crt and tls.key; the server reloads them when they change
    #[arg(long, value_name = "DIR", default_value = "/tmp/k8s-webhook-server/serving-certs")]
    pub(crate) cert_dir: PathBuf,

    /// A PEM file with CA certificates: the server answers only clients whose certificate is signed by one of them,
    /// and reloads the file when it changes. The API server sends a client certificate if its
    /// --admission-control-config-file names a kubeconfig with one for this server
    #[arg(long, value_name = "FILE")]
    pub(crate) client_ca_file: Option<PathBuf>,

    /// The format of the log, which is written to standard error
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) log_format: log::Format,
}

/// The long help. What is watched and which endpoints there are comes from the code that watches and serves.
fn long_about() -> String {
    let watched = Watched::ALL.map(|watched| {
        let rule = watched.rule();
        format!("  {}.{}\n", rule.resource, rule.api_group)
    });
    let routes: Vec<String> = Route::all().map(|route| format!("  {}\n", route.path())).collect();
    let hooks: Vec<String> = HookRoute::all().map(|route| format!("  {}\n", route.path())).collect();
    format!(
        "\
Runs the admission server

The server watches the objects that its rules depend on, and answers the API server's admission requests from its \
caches. It resolves a Cluster's version and writes the Cluster's pins, refuses edits that would break an upgrade, and \
protects templates and releases that are in use. It writes nothing to the API server but an Event for each rule that \
was switched off for an edit, so any number of replicas can run.

Watched resources:
{}  the machine templates and bootstrap templates that objects of these kinds refer to

Endpoints on the TLS port:
{}
Endpoints on the TLS port for Cluster API's Runtime Hooks:
{}
Endpoints on the health port:
  /healthz
  /readyz   503 with one line for each part that is not ready
  /metrics",
        watched.concat(),
        routes.concat(),
        hooks.concat()
    )
}

const WEBHOOK_EXAMPLES: &str = "\
Environment:
  INSTAR_LOG   the log filter, such as info or instar=debug,kube=warn; the default is the value
               of RUST_LOG, else info
  KUBECONFIG   the kubeconfig file; the default is ~/.kube/config, else the pod's service account

Examples:
  # In a pod, with cert-manager's certificate mounted:
  instar webhook --cert-dir /certs --log-format json

  # On a workstation, against the current context:
  instar webhook --bind-address 127.0.0.1 --cert-dir ./certs

Exit codes: 0 stopped by SIGTERM or SIGINT, 2 error.";

/// How long posting the queued Events may take after the last answer. Together with the server's own time to stop
/// it is less than a pod's termination grace period.
const PUBLISHING: Duration = Duration::from_secs(5);

/// How long a server that was ready goes on answering while our CustomResourceDefinitions don't fit it: an upgrade of Instar
/// applies them first, and edits would be refused until the new servers are there. While they are newer there is no limit.
const DEFINITIONS_GRACE: Grace = Grace::For(Duration::from_mins(5));

/// Why the admission server did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no client for the cluster.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The signals can't be waited for.
    #[error("cannot listen for SIGTERM and SIGINT")]
    Signals(#[source] io::Error),
    /// Serving failed.
    #[error(transparent)]
    Serve(#[from] instar_serve::Error),
    /// A watch ended, which is a bug.
    #[error("the watch of {kind} ended, so its cache would become stale: please report this")]
    WatchEnded {
        /// The plural of the kind.
        kind: &'static str,
    },
    /// A watch panicked.
    #[error("a watch panicked, so its cache would become stale: please report this")]
    WatchPanicked(#[source] JoinError),
}

/// Watches and serves until SIGTERM or SIGINT. All calls of the API server run in `watching`.
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
            let (looks, part) = (client.clone(), readiness.part(DEFINITIONS));
            tokio::spawn(async move { Definitions::default().watch(&looks, &part, DEFINITIONS_GRACE).await });
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
            // Open requests are still answered, from the caches as they are.
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
