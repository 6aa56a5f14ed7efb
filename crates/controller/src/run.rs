//! The controller, from the first list to the end.

use std::{pin::pin, sync::Arc};

use futures::{FutureExt, future::select_all};
use instar_serve::{Metrics, Readiness};
use instar_watch::{DEFINITIONS, Definitions, Grace, Key};
use kube::{
    Client,
    runtime::events::{Recorder, Reporter},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::JoinError,
};

use crate::{
    api::FIELD_MANAGER,
    caches::Caches,
    certificates::{CertificateMetrics, Keeper, WebhookCertificates},
    cluster_api::ClusterApi,
    hooks::{ExtensionServer, Hooks},
    kinds::{Kinds, UnusedKinds},
    lease::{Lease, LeaseError},
    memory::Memory,
    metrics::{Counters, register_watches},
    probe::Prober,
    queue::work,
    reconcile::{Context, reconcile},
    scope::Scope,
    timing::Timing,
};

/// How many Clusters are looked at at once.
const CONCURRENCY: usize = 16;

/// Why the controller ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lease.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// A watch ended.
    #[error("the watch of {kind} ended, so its cache would grow old: please report this")]
    WatchEnded {
        /// The plural of the kind.
        kind: &'static str,
    },
    /// A watch panicked.
    #[error("a watch panicked, so its cache would grow old: please report this")]
    WatchPanicked(#[source] JoinError),
    /// The queue ended.
    #[error("the queue of Clusters ended: please report this")]
    QueueEnded,
}

/// What the controller knows of the admission server.
#[derive(Clone, Debug, Default)]
pub struct AdmissionServer {
    /// How Cluster API reaches it; without it, Cluster API is told of no Runtime Hooks.
    pub extension: Option<ExtensionServer>,
    /// Its certificates, where the controller keeps them.
    pub certificates: Option<WebhookCertificates>,
}

/// Which of several controllers this is.
#[derive(Clone, Copy, Debug)]
pub struct Instance<'i> {
    /// Where its Lease is; without one, no other process may run.
    pub lease_namespace: Option<&'i str>,
    /// Which Clusters it looks after.
    pub scope: &'i Scope,
}

/// Runs until `shutdown`, and then gives the lease back; or until something ends that shouldn't.
pub async fn run(
    client: Client,
    instance: Instance<'_>,
    server: AdmissionServer,
    timing: Timing,
    metrics: &Metrics,
    readiness: &Readiness,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let Instance { lease_namespace, scope } = instance;
    let lease_name = scope.lease_name();
    let counters = Counters::register(metrics);
    counters.stands_by(&lease_name);
    let of_certificates = CertificateMetrics::register(metrics);
    let (wake, mut woken) = unbounded_channel();
    let of_watches = register_watches(metrics);
    let (caches, watches) = Caches::watched(&client, &scope.namespaces, &wake, readiness, &of_watches);
    let definitions = Definitions::default();
    let mut fit = definitions.fit();
    let looks = {
        let (client, part) = (client.clone(), readiness.part(DEFINITIONS));
        async move {
            definitions.watch(&client, &part, Grace::None).await;
            DEFINITIONS
        }
    };
    let watches = watches.into_iter().map(|watch| tokio::spawn(watch).boxed());
    let mut watches = select_all(watches.chain([tokio::spawn(looks).boxed()]));

    let mut shutdown = pin!(shutdown);
    let mut lease = Lease::start(&client, lease_namespace, &lease_name).await?;
    let won = async {
        lease.won().await?;
        caches.listed().await;
        // Until then every pass would be put off.
        fit.answered().await;
        Ok::<(), LeaseError>(())
    };
    tokio::select! {
        won = won => won?,
        (ended, ..) = &mut watches => return Err(ended_watch(ended)),
        () = drain(&mut woken) => return Err(Error::QueueEnded),
        () = &mut shutdown => {
            lease.give_back().await;
            return Ok(());
        }
    }
    counters.leads(&lease_name);
    tracing::info!(lease = %lease_name, "Leading");
    caches.wake_all();
    let context = Context {
        recorder: Recorder::new(client.clone(), Reporter::from(FIELD_MANAGER)),
        kinds: Kinds::default(),
        unused_kinds: UnusedKinds::within(&scope.namespaces),
        leads: lease.leads(fit.clone()),
        counters,
        memory: Memory::default(),
        prober: Prober::new(wake),
        hooks: Hooks::new(server.extension, scope),
        cluster_api: ClusterApi::default(),
        timing,
        scope: scope.clone(),
        caches: Arc::clone(&caches),
        client,
    };
    let ended = tokio::select! {
        () = work(woken, CONCURRENCY, |cluster| reconcile(&context, cluster)) => Err(Error::QueueEnded),
        () = context.prober.run(&context.client, &context.leads, &context.counters) => Err(Error::QueueEnded),
        () = context.hooks.run(&context.client, &context.caches, &context.leads) => Err(Error::QueueEnded),
        () = keep(server.certificates.as_ref(), &context, &of_certificates) => Err(Error::QueueEnded),
        () = context.report_definitions(fit) => Err(Error::QueueEnded),
        () = &mut shutdown => Ok(()),
        lost = lease.lost() => Err(lost.into()),
        (ended, ..) = &mut watches => Err(ended_watch(ended)),
    };
    // Nothing may ask any more whether this process leads: the Lease is released once nobody can.
    drop(context);
    lease.give_back().await;
    ended
}

/// Keeps the certificates of the admission server, where that is asked for.
async fn keep(certificates: Option<&WebhookCertificates>, context: &Context, metrics: &CertificateMetrics) {
    let Some(certificates) = certificates else {
        return std::future::pending().await;
    };
    let keeper = Keeper {
        certificates,
        client: &context.client,
        leads: &context.leads,
        recorder: &context.recorder,
        metrics,
    };
    keeper.run().await;
}

fn ended_watch(ended: Result<&'static str, JoinError>) -> Error {
    match ended {
        Ok(kind) => Error::WatchEnded { kind },
        Err(panicked) => Error::WatchPanicked(panicked),
    }
}

/// Until this process leads, nothing is looked at; then everything is.
async fn drain(woken: &mut UnboundedReceiver<Key>) {
    while woken.recv().await.is_some() {}
}
