//! `instar webhook`: the admission server.

use std::{io, sync::Arc, time::Duration};

use instar_serve::{Metrics, Readiness};
use instar_webhooks::AdmissionMetrics;
use kube::{Client, Config};
use tokio::{
    pin,
    runtime::Handle,
    select,
    signal::unix::{SignalKind, signal},
    task::JoinError,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    api::Causes,
    caches::{Caches, WatchMetrics},
    cli::WebhookArgs,
    events::Events,
};

/// Longer than any watch is silent: each is ended after 50 s. A list on a dead connection would
/// otherwise be waited for without end.
const SILENCE: Duration = Duration::from_mins(1);

/// How long a process that has answered everything may take to tell of the rules that were switched
/// off. With the server's own time to stop it is less than a pod is given.
const TELLING: Duration = Duration::from_secs(5);

/// Why the admission server did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
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
    /// The signals can't be waited for.
    #[error("can't wait for SIGTERM and SIGINT")]
    Signals(#[source] io::Error),
    /// Serving failed.
    #[error(transparent)]
    Serve(#[from] instar_serve::Error),
    /// A watch is for good.
    #[error("the watch of {kind} ended, so the cache would grow old: please report this")]
    WatchEnded {
        /// Of what.
        kind: &'static str,
    },
    /// A watch panicked.
    #[error("a watch panicked, so its cache would grow old: please report this")]
    WatchPanicked(#[source] JoinError),
}

/// Watches and serves until SIGTERM or SIGINT. All that talks with the API server runs in `watching`.
pub(crate) async fn run(args: &WebhookArgs, watching: &Handle) -> Result<(), Error> {
    let shutdown = CancellationToken::new();
    stop_on_signals(&shutdown)?;
    let (metrics, readiness) = (Metrics::default(), Readiness::default());
    let caches = Arc::new(Caches::default());
    let started = {
        let (caches, readiness) = (Arc::clone(&caches), readiness.clone());
        let metrics = WatchMetrics::register(&metrics);
        watching.spawn(async move {
            let client = client().await?;
            let watches = caches.start(&client, &readiness, &metrics);
            Ok::<_, Error>((client, watches))
        })
    };
    let (client, mut watches) = started.await.map_err(Error::WatchPanicked)??;
    let (bell, to_tell) = Events::new(&metrics);
    let served = CancellationToken::new();
    let telling = watching.spawn(to_tell.tell(client, served.clone()));
    let app = instar_webhooks::router(&caches, &Arc::new(bell), &AdmissionMetrics::register(&metrics));

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
    if timeout(TELLING, telling).await.is_err() {
        tracing::warn!("stopped before every rule that was switched off was told of");
    }
    match ended {
        Some(Ok(watches)) => Err(Error::WatchEnded { kind: watches.name() }),
        Some(Err(panicked)) => Err(Error::WatchPanicked(panicked)),
        None => Ok(()),
    }
}

pub(crate) async fn client() -> Result<Client, Error> {
    let mut config = Config::infer().await.map_err(|error| Error::Config {
        why: Causes(&error).to_string(),
    })?;
    // The watches have a back-off of their own, and a retry inside would hide the error for minutes.
    config.default_retry = false;
    config.read_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
    tracing::info!(cluster = %config.cluster_url, "watching");
    Client::try_from(config).map_err(|error| Error::Client {
        why: Causes(&error).to_string(),
    })
}

pub(crate) fn stop_on_signals(shutdown: &CancellationToken) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        select! {
            _ = terminate.recv() => tracing::info!("SIGTERM"),
            _ = interrupt.recv() => tracing::info!("SIGINT"),
        }
        shutdown.cancel();
    });
    Ok(())
}
