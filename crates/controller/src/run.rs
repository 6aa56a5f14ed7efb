//! The controller, from the first list to the end.

use std::{future::pending, pin::pin, sync::Arc, time::Duration};

use futures::{FutureExt, future::select_all};
use instar_serve::{Metrics, Readiness};
use instar_watch::{DEFINITIONS, Definitions, DefinitionsFit, Grace, Key};
use kube::{
    Client,
    runtime::events::{Recorder, Reporter},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinError,
    time::sleep,
};

use crate::{
    api::FIELD_MANAGER,
    caches::Caches,
    certificates::{CertificateMetrics, Keeper, Told, WebhookCertificates},
    cluster_api::ClusterApi,
    events::Events,
    hooks::{ExtensionServer, Hooks},
    kinds::{Kinds, UnusedKinds},
    lease::{Holder, Leads, Lease, LeaseError},
    memory::Memory,
    metrics::{Counters, register_watches},
    probe::Prober,
    queue::work,
    reconcile::{Context, reconcile, report_definitions},
    release_metrics::ReleaseMetrics,
    scope::Scope,
    timing::Timing,
    upgrade_metrics::{Taken, UpgradeMetrics},
};

/// How many Clusters are looked at at once.
const CONCURRENCY: usize = 16;

/// How long the holder of the Lease keeps it while the definitions don't fit. Whoever applies them with `instar crd` and goes
/// on at once needs less, and a replica that they fit waits no longer.
const GIVES_BACK: Duration = Duration::from_secs(30);

/// How soon a process that waits looks again whether another one still has the Lease.
const HELD: Duration = Duration::from_secs(15);

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

/// Runs until `shutdown`, and then gives the lease back; or until something ends that shouldn't. It asks for the lease only
/// while the definitions fit.
pub async fn run(
    client: Client,
    instance: Instance<'_>,
    server: AdmissionServer,
    timing: Timing,
    metrics: &Metrics,
    readiness: &Readiness,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let scope = instance.scope;
    let lease_name = scope.lease_name();
    let counters = Counters::register(metrics);
    counters.stands_by(&lease_name);
    let of_certificates = CertificateMetrics::register(metrics);
    let (wake, mut woken) = unbounded_channel();
    let of_watches = register_watches(metrics);
    let (caches, watches) = Caches::watched(&client, &scope.namespaces, &wake, readiness, &of_watches);
    UpgradeMetrics::register(
        metrics,
        caches.upgrade_cache(),
        counters.leader(&lease_name),
        Taken::by(&caches, scope),
    );
    ReleaseMetrics::register(
        metrics,
        Arc::clone(&caches),
        counters.leader(&lease_name),
        Taken::by(&caches, scope),
    );
    let definitions = Definitions::default();
    let mut fit = definitions.fit();
    let recorder = Recorder::new(client.clone(), Reporter::from(FIELD_MANAGER));
    let (events, publisher) = Events::new(&recorder, counters.events_dropped.clone());
    let looks = {
        let (client, part) = (client.clone(), readiness.part(DEFINITIONS));
        let reports = report_definitions(recorder.clone(), fit.clone());
        async move {
            tokio::join!(definitions.watch(&client, &part, Grace::None), reports);
            DEFINITIONS
        }
    };
    let watches = watches.into_iter().map(|watch| tokio::spawn(watch).boxed());
    let mut watches = select_all(watches.chain([tokio::spawn(looks).boxed()]));

    if server.certificates.is_some() {
        of_certificates.begin();
    }
    let process = Process {
        client,
        recorder,
        events,
        instance,
        lease_name,
        server,
        timing,
        counters,
        of_certificates,
        caches,
        wake,
    };
    let mut shutdown = pin!(shutdown);
    let ended = loop {
        // One that can write nothing leaves the Lease to one that can.
        tokio::select! {
            () = fit.fits() => {}
            () = process.keep_without_lease() => break Err(Error::QueueEnded),
            (ended, ..) = &mut watches => break Err(ended_watch(ended)),
            () = drain(&mut woken) => break Err(Error::QueueEnded),
            () = &mut shutdown => break Ok(()),
        }
        let mut lease = match Lease::start(&process.client, instance.lease_namespace, &process.lease_name).await {
            Ok(lease) => lease,
            Err(error) => break Err(error.into()),
        };
        let ended = tokio::select! {
            ended = process.lead(&mut lease, &mut woken, &fit) => ended,
            (ended, ..) = &mut watches => Err(ended_watch(ended)),
            () = &mut shutdown => Ok(Ended::Stopped),
        };
        // Nothing may ask any more whether this process leads: the Lease is released once nobody can.
        process.counters.stands_by(&process.lease_name);
        lease.give_back().await;
        match ended {
            Ok(Ended::Stopped) => break Ok(()),
            Ok(Ended::Refused) => tracing::warn!(
                "Gave the Lease back: the CustomResourceDefinitions have not fitted this program for {} s",
                GIVES_BACK.as_secs()
            ),
            Err(error) => break Err(error),
        }
    };
    // The last that could take an Event.
    drop(process);
    publisher.finish().await;
    ended
}

/// Why a process doesn't lead any more, though nothing failed.
enum Ended {
    /// It was asked to stop.
    Stopped,
    /// The definitions don't fit it.
    Refused,
}

/// What a process has, whether it leads or not.
struct Process<'a> {
    client: Client,
    recorder: Recorder,
    events: Events,
    instance: Instance<'a>,
    lease_name: String,
    server: AdmissionServer,
    timing: Timing,
    counters: Counters,
    of_certificates: CertificateMetrics,
    caches: Arc<Caches>,
    wake: UnboundedSender<Key>,
}

impl Process<'_> {
    /// Waits for the Lease, and does all that its holder does, until that ends.
    async fn lead(
        &self,
        lease: &mut Lease,
        woken: &mut UnboundedReceiver<Key>,
        fit: &DefinitionsFit,
    ) -> Result<Ended, Error> {
        tokio::select! {
            won = lease.won() => won?,
            () = drain(woken) => return Err(Error::QueueEnded),
        }
        let of_lease = lease.leads_whatever_fits();
        let leads = lease.leads(fit.clone());
        let mut fit = fit.clone();
        tokio::select! {
            () = self.reconcile(woken, leads) => Err(Error::QueueEnded),
            // What serves needs a certificate, whether all kinds can be listed and whatever fits.
            () = self.keep(&of_lease) => Err(Error::QueueEnded),
            () = fit.refused_for(GIVES_BACK) => Ok(Ended::Refused),
            lost = lease.lost() => Err(lost.into()),
        }
    }

    async fn reconcile(&self, woken: &mut UnboundedReceiver<Key>, leads: Leads) {
        // Until then every pass would be put off.
        tokio::select! {
            () = self.caches.listed() => {}
            () = drain(woken) => return,
        }
        self.counters.leads(&self.lease_name);
        tracing::info!(lease = %self.lease_name, "Leading");
        self.caches.wake_all();
        let context = Context {
            events: self.events.clone(),
            kinds: Kinds::default(),
            unused_kinds: UnusedKinds::within(&self.instance.scope.namespaces),
            leads,
            counters: self.counters.clone(),
            memory: Memory::default(),
            prober: Prober::new(self.wake.clone()),
            hooks: Hooks::new(self.server.extension.clone(), self.instance.scope),
            cluster_api: ClusterApi::default(),
            timing: self.timing,
            scope: self.instance.scope.clone(),
            caches: Arc::clone(&self.caches),
            client: self.client.clone(),
        };
        tokio::select! {
            () = work(woken, CONCURRENCY, |cluster| reconcile(&context, cluster)) => {}
            () = context.prober.run(&context.client, &context.leads, &context.counters) => {}
            () = context.hooks.run(&context.client, &context.caches, &context.leads) => {}
        }
    }

    /// Keeps the certificates of the admission server, where that is asked for.
    async fn keep(&self, leads: &Leads) {
        match self.keeper(leads) {
            Some(keeper) => keeper.run().await,
            None => pending().await,
        }
    }

    /// The same while this process doesn't ask for the Lease, and nobody has it: the admission server starts before there
    /// are definitions that fit. Several processes may do so at once, since each write compares.
    async fn keep_without_lease(&self) {
        let leads = Leads::alone();
        let Some(keeper) = self.keeper(&leads) else {
            return pending().await;
        };
        let mut told = Told::default();
        loop {
            let next = match Holder::read(&self.client, self.instance.lease_namespace, &self.lease_name).await {
                Holder::Nobody => keeper.round(&mut told).await,
                Holder::Somebody => HELD,
            };
            sleep(next).await;
        }
    }

    fn keeper<'a>(&'a self, leads: &'a Leads) -> Option<Keeper<'a>> {
        let certificates = self.server.certificates.as_ref()?;
        Some(Keeper {
            certificates,
            client: &self.client,
            leads,
            recorder: &self.recorder,
            metrics: &self.of_certificates,
        })
    }
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

#[cfg(test)]
mod tests;
