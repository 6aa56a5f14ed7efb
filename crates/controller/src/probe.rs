//! What is read of workload clusters and of vCenters, outside the passes.
//!
//! ```text
//! a pass ── want ──▶ Schedule (pure) ── due ──▶ round: Secret ─▶ kubeconfig ─▶ reach ─▶ read
//!    ▲                   │  ▲                     │
//!    └── readings, wake ─┘  └────── finished ─────┘
//! ```
//!
//! A pass says what it wants to know and takes what is known; it never waits. Images are looked for in rounds of their own,
//! with a Schedule of their own. Invariants: one round of each kind for each Cluster at a time; a round ends by a deadline;
//! what isn't wanted in a pass any more is neither read nor remembered, and no
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
use instar_api::VcenterAccess;
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
    /// Where they may be looked for.
    pub(crate) vcenters: VcenterAccess,
}

/// What is read in rounds of its own, so that one that is slow doesn't hold the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// The workload cluster, and what says of gates on the management cluster.
    Clusters,
    /// Where the provider keeps images.
    Images,
}

impl Target {
    const ALL: [Self; 2] = [Self::Clusters, Self::Images];
}

impl Wanted {
    /// What of it is read of this target, if anything is.
    fn of(&self, target: Target) -> Option<Self> {
        let is_of = |probe: &&Probe| match target {
            Target::Clusters => **probe != Probe::Images,
            Target::Images => **probe == Probe::Images,
        };
        let part = |probes: &BTreeSet<Probe>| probes.iter().filter(is_of).copied().collect::<BTreeSet<Probe>>();
        let (probes, settled) = (part(&self.probes), part(&self.settled));
        match target {
            Target::Clusters => {
                let is_any = !(probes.is_empty() && self.gates.is_empty() && self.snapshots.is_empty());
                is_any.then(|| Self {
                    probes,
                    settled,
                    images: BTreeSet::new(),
                    vcenters: VcenterAccess::Any,
                    ..self.clone()
                })
            }
            Target::Images => (!probes.is_empty()).then(|| Self {
                secret: None,
                probes,
                settled,
                deadlines: self.deadlines.clone(),
                gates: Vec::new(),
                snapshots: Vec::new(),
                images: self.images.clone(),
                vcenters: self.vcenters.clone(),
            }),
        }
    }
}

/// Reads workload clusters for as long as their upgrades wait for it.
#[derive(Debug)]
pub(crate) struct Prober {
    clusters: Mutex<Schedule>,
    images: Mutex<Schedule>,
    /// Something is due that wasn't.
    changed: Notify,
    wake: Wake,
}

impl Prober {
    pub(crate) fn new(wake: Wake) -> Self {
        Self {
            clusters: Mutex::default(),
            images: Mutex::default(),
            changed: Notify::new(),
            wake,
        }
    }

    /// What is known of a workload cluster.
    pub(crate) fn readings(&self, cluster: &Key) -> Readings {
        let mut readings = self.lock(Target::Clusters).readings(cluster);
        readings.extend(self.lock(Target::Images).readings(cluster));
        readings
    }

    /// What is known of its add-ons and gates.
    pub(crate) fn gates(&self, cluster: &Key) -> GateReadings {
        self.lock(Target::Clusters).gates(cluster)
    }

    /// What is known of snapshots of its etcd.
    pub(crate) fn snapshots(&self, cluster: &Key) -> Vec<SnapshotReading> {
        self.lock(Target::Clusters).snapshots(cluster)
    }

    /// Whether what an upgrade waits to know is being looked at for the first time since this process began, or since it
    /// was wanted last.
    pub(crate) fn awaits_first_look(&self, cluster: &Key) -> bool {
        let now = Instant::now().into_std();
        let mut targets = Target::ALL.into_iter();
        targets.any(|target| self.lock(target).awaits_first_look(cluster, now))
    }

    /// A pass over a Cluster begins.
    pub(crate) fn begin_pass(&self, cluster: &Key) {
        for target in Target::ALL {
            self.lock(target).begin_pass(cluster);
        }
    }

    /// The pass waits to know this. Nothing of it is asked at once.
    pub(crate) fn want(&self, cluster: &Key, wanted: &Wanted) {
        let now = Instant::now().into_std();
        for target in Target::ALL {
            if let Some(wanted) = wanted.of(target) {
                self.lock(target).want(cluster, wanted, now);
            }
        }
        self.changed.notify_one();
    }

    /// The pass went well: what it didn't want is forgotten.
    pub(crate) fn end_pass(&self, cluster: &Key) {
        for target in Target::ALL {
            self.lock(target).end_pass(cluster);
        }
    }

    /// Reads what is due, without an end.
    pub(crate) async fn run(&self, client: &Client, leads: &Leads, counters: &Counters) {
        let rounds = Rounds::new(client, leads, counters);
        let lanes = Lanes::default();
        let mut running: JoinSet<Finished> = JoinSet::new();
        let mut rounds_of: HashMap<Id, (Target, Key)> = HashMap::new();
        loop {
            let mut next = None;
            for target in Target::ALL {
                let (due, then) = self.lock(target).take_due(Instant::now().into_std());
                next = next.into_iter().chain(then).min();
                for Job { cluster, wanted, lane } in due {
                    let (rounds, lanes, of) = (rounds.clone(), lanes.clone(), cluster.clone());
                    let round = running.spawn(async move {
                        match target {
                            Target::Clusters => rounds.run(&of, &wanted, &lanes, lane).await,
                            Target::Images => rounds.look_for_images(&of, &wanted).await,
                        }
                    });
                    rounds_of.insert(round.id(), (target, cluster));
                }
            }
            select! {
                () = self.changed.notified() => {}
                () = until(next) => {}
                Some(ended) = running.join_next_with_id() => {
                    let (id, finished) = finished(ended);
                    if let Some((target, cluster)) = rounds_of.remove(&id) {
                        self.ended(target, cluster, finished);
                    }
                }
            }
        }
    }

    fn ended(&self, target: Target, cluster: Key, finished: Finished) {
        let news = self
            .lock(target)
            .finished(&cluster, finished, Instant::now().into_std());
        match news {
            News::Same => {}
            News::Changed => {
                let readings = self.lock(target).readings(&cluster);
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

    fn lock(&self, target: Target) -> MutexGuard<'_, Schedule> {
        let schedule = match target {
            Target::Clusters => &self.clusters,
            Target::Images => &self.images,
        };
        schedule.lock().unwrap_or_else(PoisonError::into_inner)
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
