//! The controller, from the first list to the end.

use std::{convert::Infallible, pin::pin, sync::Arc};

use futures::{
    FutureExt, StreamExt,
    future::{ready, select_all},
};
use instar_serve::{Metrics, Readiness};
use kube::{
    Client,
    runtime::{
        controller::{Config, applier},
        events::{Recorder, Reporter},
    },
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::sleep,
};

use crate::{
    api::FIELD_MANAGER,
    backoff::Backoffs,
    caches::{Caches, Wake},
    kinds::Kinds,
    lease::{Lease, LeaseError},
    metrics::Counters,
    pace::Paces,
    reconcile::{Context, EventDeduplicator, TemplateGc, failed, reconcile},
    views::Cluster,
};

/// How many Clusters are looked at at once.
const CONCURRENCY: u16 = 16;

/// Why the controller ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lease.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// A watch ended or panicked.
    #[error("a watch ended, so its cache would grow old: please report this")]
    WatchEnded,
    /// The queue ended.
    #[error("the queue of Clusters ended: please report this")]
    QueueEnded,
}

type Ref = kube::runtime::reflector::ObjectRef<Cluster>;

/// Runs until `shutdown`, and then gives the lease back; or until something ends that shouldn't.
/// `lease_namespace` is where the lease is; without one, nobody else must run.
pub async fn run(
    client: Client,
    lease_namespace: Option<&str>,
    metrics: &Metrics,
    readiness: &Readiness,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let counters = Counters::register(metrics);
    let (wake, mut woken) = unbounded_channel();
    let (caches, watches) = Caches::watched(&client, &wake, readiness, metrics);
    let watches = watches.into_iter().map(|watch| tokio::spawn(watch).boxed());
    let mut watches = select_all(watches);

    let mut shutdown = pin!(shutdown);
    let mut lease = Lease::start(&client, lease_namespace).await?;
    let won = async {
        lease.won().await?;
        caches.listed().await;
        Ok::<(), LeaseError>(())
    };
    tokio::select! {
        won = won => won?,
        _ = &mut watches => return Err(Error::WatchEnded),
        () = forget(&mut woken) => return Err(Error::QueueEnded),
        () = &mut shutdown => {
            lease.give_back().await;
            return Ok(());
        }
    }
    counters.leader.set(1);
    tracing::info!("leading");
    for cluster in caches.clusters.state() {
        // The receiver is here.
        let _ = wake.send(Ref::from_obj(cluster.as_ref()));
    }
    caches.wake_asked(&wake);
    let context = Arc::new(Context {
        recorder: Recorder::new(client.clone(), Reporter::from(FIELD_MANAGER)),
        kinds: Kinds::default(),
        leads: lease.leads(),
        counters,
        backoffs: Backoffs::default(),
        paces: Paces::default(),
        said: EventDeduplicator::default(),
        template_gc: TemplateGc::default(),
        caches: Arc::clone(&caches),
        client,
    });
    // A pass begins with the Cluster. What is asked of one that isn't there goes another way.
    let (gone, orphaned) = unbounded_channel();
    let queue = futures::stream::poll_fn(|task| woken.poll_recv(task)).filter_map(|cluster: Ref| {
        let is_there = caches.clusters.get(&cluster).is_some();
        ready(if is_there {
            Some(Ok::<_, Infallible>(cluster))
        } else {
            // The receiver is here.
            let _ = gone.send(cluster);
            None
        })
    });
    let report_missing_cluster = report_missing_cluster(Arc::clone(&context), orphaned, wake.clone());
    let config = Config::default().concurrency(CONCURRENCY);
    let passes = applier(
        |cluster, context| reconcile(cluster, context).boxed(),
        failed,
        context,
        caches.clusters.clone(),
        queue,
        config,
    );
    // What failed was logged where it is known for how long it waits.
    let working = passes.for_each(|_| std::future::ready(()));
    let ended = tokio::select! {
        () = working => Err(Error::QueueEnded),
        () = report_missing_cluster => Err(Error::QueueEnded),
        () = &mut shutdown => Ok(()),
        lost = lease.lost() => Err(lost.into()),
        _ = &mut watches => Err(Error::WatchEnded),
    };
    // All that asks whether this process leads went with the passes.
    lease.give_back().await;
    ended
}

/// Tells those whose Cluster isn't there.
async fn report_missing_cluster(context: Arc<Context>, mut orphaned: UnboundedReceiver<Ref>, wake: Wake) {
    while let Some(cluster) = orphaned.recv().await {
        let Err(error) = context.report_missing_cluster(&cluster).await else {
            context.backoffs.succeeded(&cluster);
            continue;
        };
        let delay = context.backoffs.failed(cluster.clone(), error.class());
        tracing::warn!(cluster = cluster.name, ?delay, "trying again: {error}");
        let wake = wake.clone();
        tokio::spawn(async move {
            sleep(delay).await;
            // The receiver is gone only when the process ends.
            let _ = wake.send(cluster);
        });
    }
}

/// Until this process leads, nobody is woken; then everybody is.
async fn forget(woken: &mut UnboundedReceiver<Ref>) {
    while woken.recv().await.is_some() {}
}
