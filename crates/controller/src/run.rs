//! The controller, from the first list to the end.

use std::sync::Arc;

use futures::{FutureExt, StreamExt, future::select_all};
use instar_serve::{Metrics, Readiness};
use kube::{
    Client,
    runtime::{
        controller::{Config, applier},
        events::{Recorder, Reporter},
    },
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::{
    api::FIELD_MANAGER,
    backoff::Backoffs,
    caches::Caches,
    kinds::Kinds,
    lease::{Lease, LeaseError},
    metrics::Counters,
    reconcile::{Context, failed, reconcile},
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

/// Runs until something ends that shouldn't. `lease_namespace` is where the lease is; without one,
/// nobody else must run.
pub async fn run(
    client: Client,
    lease_namespace: Option<&str>,
    metrics: &Metrics,
    readiness: &Readiness,
) -> Result<(), Error> {
    let counters = Counters::register(metrics);
    let (wake, mut woken) = unbounded_channel();
    let (caches, watches) = Caches::watched(&client, &wake, readiness, metrics);
    let watches = watches.into_iter().map(|watch| tokio::spawn(watch).boxed());
    let mut watches = select_all(watches);

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
    }
    counters.leader.set(1);
    tracing::info!("leading");
    for cluster in caches.clusters.state() {
        // The receiver is here.
        let _ = wake.send(Ref::from_obj(cluster.as_ref()));
    }
    let context = Arc::new(Context {
        recorder: Recorder::new(client.clone(), Reporter::from(FIELD_MANAGER)),
        kinds: Kinds::default(),
        leads: lease.leads(),
        counters,
        backoffs: Backoffs::default(),
        caches: Arc::clone(&caches),
        client,
    });
    let queue = futures::stream::poll_fn(|task| woken.poll_recv(task)).map(Ok::<_, std::convert::Infallible>);
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
    tokio::select! {
        () = working => Err(Error::QueueEnded),
        lost = lease.lost() => Err(lost.into()),
        _ = &mut watches => Err(Error::WatchEnded),
    }
}

/// Until this process leads, nobody is woken; then everybody is.
async fn forget(woken: &mut UnboundedReceiver<Ref>) {
    while woken.recv().await.is_some() {}
}
