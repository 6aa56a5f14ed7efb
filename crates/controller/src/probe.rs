//! What is read of workload clusters and of vCenters, outside the passes.
//!
//! ```text
//! a pass ── want ──▶ Schedule (pure) ── due ──▶ round: Secret ─▶ kubeconfig ─▶ reach ─▶ read
//!    ▲                   │  ▲                     │
//!    └── readings, wake ─┘  └────── finished ─────┘
//! ```
//!
//! A pass says what it wants to know and takes what is known; it never waits. Invariants: one round for each Cluster at a
//! time; a round ends by a deadline; what isn't wanted in a pass any more is neither read nor remembered, and no
//! kubeconfig is remembered at all; a cluster or a vCenter that is slow or gone takes no turn from one that answers.

mod gates;
mod images;
mod lanes;
mod problem;
mod round;
mod schedule;
mod snapshots;
mod vcenters;
mod vsphere_objects;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use instar_addons::{GateReadings, SnapshotQuery, SnapshotReading, WantedGate};
use instar_preflight::workload::{Deadlines, ImageAt, Probe, Reading, Readings};
use instar_watch::Key;
use jiff::Timestamp;
use kube::Client;
use tokio::{
    select,
    sync::Notify,
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep_until},
};

use crate::{caches::Wake, lease::Leads, metrics::Counters};
use lanes::Lanes;
use round::Rounds;
use schedule::{Answer, Finished, Job, News, Schedule};

/// What a Cluster's upgrade waits to know.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wanted {
    /// The Secret with the kubeconfig, in the Cluster's namespace; absent where the workload cluster may not be read.
    pub(crate) secret: Option<String>,
    pub(crate) probes: BTreeSet<Probe>,
    /// Those of them that are read seldom, since what they found lets the upgrade begin.
    pub(crate) settled: BTreeSet<Probe>,
    pub(crate) deadlines: Deadlines,
    /// The add-ons and gates, with what is set for them.
    pub(crate) gates: Vec<WantedGate>,
    /// What reports snapshots of etcd.
    pub(crate) snapshots: Vec<SnapshotQuery>,
    /// What [`Probe::Images`] looks for.
    pub(crate) images: BTreeSet<ImageAt>,
}

/// Reads workload clusters for as long as their upgrades wait for it.
#[derive(Debug)]
pub(crate) struct Prober {
    schedule: Mutex<Schedule>,
    /// Something is due that wasn't.
    changed: Notify,
    wake: Wake,
}

impl Prober {
    pub(crate) fn new(wake: Wake) -> Self {
        Self {
            schedule: Mutex::default(),
            changed: Notify::new(),
            wake,
        }
    }

    /// What is known of a workload cluster.
    pub(crate) fn readings(&self, cluster: &Key) -> Readings {
        self.lock().readings(cluster)
    }

    /// What is known of its add-ons and gates.
    pub(crate) fn gates(&self, cluster: &Key) -> GateReadings {
        self.lock().gates(cluster)
    }

    /// What is known of snapshots of its etcd.
    pub(crate) fn snapshots(&self, cluster: &Key) -> Vec<SnapshotReading> {
        self.lock().snapshots(cluster)
    }

    /// Whether what an upgrade waits to know is being looked at for the first time since this process began, or since it
    /// was wanted last.
    pub(crate) fn awaits_first_look(&self, cluster: &Key) -> bool {
        self.lock().awaits_first_look(cluster, Instant::now().into_std())
    }

    /// A pass over a Cluster begins.
    pub(crate) fn begin_pass(&self, cluster: &Key) {
        self.lock().begin_pass(cluster);
    }

    /// The pass waits to know this. Nothing of it is asked at once.
    pub(crate) fn want(&self, cluster: &Key, wanted: Wanted) {
        self.lock().want(cluster, wanted, Instant::now().into_std());
        self.changed.notify_one();
    }

    /// The pass went well: what it didn't want is forgotten.
    pub(crate) fn end_pass(&self, cluster: &Key) {
        self.lock().end_pass(cluster);
    }

    /// Reads what is due, without an end.
    pub(crate) async fn run(&self, client: &Client, leads: &Leads, counters: &Counters) {
        let rounds = Rounds::new(client, leads, counters);
        let lanes = Lanes::default();
        let mut running: JoinSet<Finished> = JoinSet::new();
        let mut clusters: HashMap<Id, Key> = HashMap::new();
        loop {
            let (due, next) = self.lock().take_due(Instant::now().into_std());
            for Job { cluster, wanted, lane } in due {
                let (rounds, lanes, of) = (rounds.clone(), lanes.clone(), cluster.clone());
                let round = running.spawn(async move { rounds.run(&of, &wanted, &lanes, lane).await });
                clusters.insert(round.id(), cluster);
            }
            select! {
                () = self.changed.notified() => {}
                () = until(next) => {}
                Some(ended) = running.join_next_with_id() => {
                    let (id, finished) = finished(ended);
                    if let Some(cluster) = clusters.remove(&id) {
                        self.ended(cluster, finished);
                    }
                }
            }
        }
    }

    fn ended(&self, cluster: Key, finished: Finished) {
        let news = self.lock().finished(&cluster, finished, Instant::now().into_std());
        match news {
            News::Same => {}
            News::Changed => {
                let readings = self.readings(&cluster);
                let problem = |(probe, reading): (&Probe, &Arc<Reading>)| {
                    let problem = reading.found.as_ref().err()?;
                    Some((probe.of_workload_cluster(), problem.message.clone()))
                };
                match readings.iter().find_map(problem) {
                    Some((Some(_), message)) => tracing::warn!(%cluster, "Not reading the workload cluster: {message}"),
                    Some((None, message)) => tracing::warn!(%cluster, "Not looking for images: {message}"),
                    None => {}
                }
                // The receiver is gone only when the process ends.
                drop(self.wake.send(cluster));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A round that panicked found nothing, which holds the upgrade, and is run again.
fn finished(ended: Result<(Id, Finished), JoinError>) -> (Id, Finished) {
    ended.unwrap_or_else(|panicked| {
        tracing::error!("Reading a workload cluster panicked, please report this: {panicked}");
        let finished = Finished {
            readings: Readings::new(),
            gates: BTreeMap::new(),
            snapshots: Vec::new(),
            at: Timestamp::now(),
            answer: Answer::None,
        };
        (panicked.id(), finished)
    })
}

async fn until(time: Option<std::time::Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
