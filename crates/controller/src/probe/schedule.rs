//! When which workload cluster is read. Time is a value here.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use instar_addons::{GateReading, GateReadings, SnapshotQuery, SnapshotReading, Verdict, WantedGate};
use instar_api::ClusterSide;
use instar_planner::{AddonId, ValueBefore};
use instar_preflight::workload::{Probe, Reading, Readings};
use instar_watch::Key;
use jiff::Timestamp;

use super::Wanted;

/// How soon a cluster is read again while its upgrade waits.
const EVERY: Duration = Duration::from_secs(30);

/// How soon what is settled is read again.
const SELDOM: Duration = Duration::from_mins(10);

/// The same where it waits for add-ons or gates, which come and go by themselves.
const EVERY_GATE: Duration = Duration::from_secs(10);

/// How soon after something was set: an operator may be quick.
const AFTER_SET: Duration = Duration::from_secs(5);

/// So many clusters are read in so long, whatever their number: 67 rounds a second. Ten thousand are then read often
/// enough for no reading to be too old, and the connections cost less than half a core.
const FOR_EACH: Duration = Duration::from_millis(15);

/// How long one that doesn't answer is left alone at most.
const MOST: Duration = Duration::from_mins(5);

/// One that answers takes no longer.
pub(super) const PROMPT: Duration = Duration::from_secs(5);

/// How long a first look may take before what isn't known is told.
const FIRST_LOOK: Duration = Duration::from_mins(1);

/// Of which turns a cluster takes one. Those that answer have turns of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// It was never read.
    New,
    /// It answered soon the last time.
    Prompt,
    /// It didn't.
    Slow,
}

/// What a round came to.
#[derive(Debug)]
pub(super) struct Finished {
    /// Of each probe that was wanted.
    pub(super) readings: Readings,
    /// Of each add-on and gate that was wanted.
    pub(super) gates: BTreeMap<AddonId, Look>,
    /// Of each query that was wanted.
    pub(super) snapshots: Vec<SnapshotReading>,
    pub(super) at: Timestamp,
    pub(super) answer: Answer,
}

/// What a look at an add-on or a gate came to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Look {
    /// Its objects were looked at.
    Judged(Verdict),
    /// Its value was set just now, so that its objects say nothing yet.
    Set(Verdict),
    /// What is in the field that will be set was read, and its objects were not looked at.
    Found(ValueBefore),
}

/// Whether anything answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// After so long, without the time that was spent waiting for a turn.
    After(Duration),
    /// Nothing was asked, since the Secret can't be used.
    NotAsked,
    /// Nothing did.
    None,
}

/// Whether a round found something else than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    Same,
    Changed,
}

/// A round to run.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) cluster: Key,
    pub(super) wanted: Arc<Wanted>,
    pub(super) lane: Lane,
}

/// The clusters that are read.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    clusters: HashMap<Key, Probed>,
    due: BTreeSet<(Instant, Key)>,
}

#[derive(Debug)]
struct Probed {
    /// None where a round still runs of what nobody wants any more.
    wanted: Option<Arc<Wanted>>,
    in_this_pass: InThisPass,
    state: State,
    lane: Lane,
    failures: u32,
    looked: Looked,
    readings: Readings,
    /// When a round began that reads it.
    begun: BTreeMap<Probe, Instant>,
    gates: GateReadings,
    snapshots: Vec<SnapshotReading>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InThisPass {
    Wanted,
    NotWanted,
}

/// Whether a round has found what is wanted, or that it can't be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looked {
    /// None has, and it is wanted since then.
    NotYet(Instant),
    Yes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Due(Instant),
    /// A round runs, and what it finds is still wanted.
    Running,
    /// A round runs, and something else is wanted by now.
    Obsolete,
}

impl Schedule {
    pub(super) fn readings(&self, cluster: &Key) -> Readings {
        self.clusters
            .get(cluster)
            .map_or_else(Readings::new, |probed| probed.readings.clone())
    }

    pub(super) fn gates(&self, cluster: &Key) -> GateReadings {
        self.clusters
            .get(cluster)
            .map_or_else(GateReadings::new, |probed| probed.gates.clone())
    }

    pub(super) fn snapshots(&self, cluster: &Key) -> Vec<SnapshotReading> {
        let probed = self.clusters.get(cluster);
        probed.map_or_else(Vec::new, |probed| probed.snapshots.clone())
    }

    /// Whether the first look at a cluster is still to end, and hasn't taken long.
    pub(super) fn awaits_first_look(&self, cluster: &Key, now: Instant) -> bool {
        self.clusters.get(cluster).is_some_and(|probed| match probed.looked {
            Looked::NotYet(since) => now.duration_since(since) < FIRST_LOOK,
            Looked::Yes => false,
        })
    }

    pub(super) fn begin_pass(&mut self, cluster: &Key) {
        if let Some(probed) = self.clusters.get_mut(cluster) {
            probed.in_this_pass = InThisPass::NotWanted;
        }
    }

    /// Something else than before is read at once.
    pub(super) fn want(&mut self, cluster: &Key, wanted: Wanted, now: Instant) {
        let Some(probed) = self.clusters.get_mut(cluster) else {
            let probed = Probed {
                wanted: Some(Arc::new(wanted)),
                in_this_pass: InThisPass::Wanted,
                state: State::Due(now),
                lane: Lane::New,
                looked: Looked::NotYet(now),
                failures: 0,
                readings: Readings::new(),
                begun: BTreeMap::new(),
                gates: GateReadings::new(),
                snapshots: Vec::new(),
            };
            self.clusters.insert(cluster.clone(), probed);
            self.due.insert((now, cluster.clone()));
            return;
        };
        probed.in_this_pass = InThisPass::Wanted;
        if let Some(before) = probed.wanted.as_deref()
            && before.asks_as(&wanted)
        {
            if before.settled != wanted.settled {
                probed.wanted = Some(Arc::new(wanted));
            }
            return;
        }
        let before = probed.wanted.replace(Arc::new(wanted.clone()));
        let has_same_secret = before.as_ref().is_some_and(|before| before.secret == wanted.secret);
        let is_of_secret = |query: &SnapshotQuery| match query.side() {
            ClusterSide::Management => true,
            ClusterSide::Workload => has_same_secret,
        };
        if has_same_secret {
            probed.readings.retain(|probe, _| wanted.probes.contains(probe));
        } else {
            probed.readings.clear();
        }
        let is_as_before = |id: &AddonId| {
            let mut gates = before.iter().flat_map(|before| &before.gates);
            gates.any(|gate| gate.id == *id && wanted.gates.contains(gate))
        };
        probed.gates.retain(|id, _| is_as_before(id));
        probed
            .snapshots
            .retain(|reading| is_of_secret(&reading.of) && wanted.snapshots.contains(&reading.of));
        probed.state = match probed.state {
            State::Due(at) => {
                self.due.remove(&(at, cluster.clone()));
                self.due.insert((now, cluster.clone()));
                State::Due(now)
            }
            State::Running | State::Obsolete => State::Obsolete,
        };
    }

    pub(super) fn end_pass(&mut self, cluster: &Key) {
        let Some(probed) = self.clusters.get_mut(cluster) else {
            return;
        };
        match (probed.in_this_pass, probed.state) {
            (InThisPass::Wanted, _) => {}
            (InThisPass::NotWanted, State::Due(at)) => {
                self.due.remove(&(at, cluster.clone()));
                self.clusters.remove(cluster);
            }
            (InThisPass::NotWanted, State::Running | State::Obsolete) => {
                probed.wanted = None;
                probed.readings.clear();
                probed.gates.clear();
                probed.snapshots.clear();
                probed.state = State::Obsolete;
            }
        }
    }

    /// The rounds to run now, and when the next one is due.
    pub(super) fn take_due(&mut self, now: Instant) -> (Vec<Job>, Option<Instant>) {
        let mut jobs = Vec::new();
        while let Some((at, cluster)) = self.due.pop_first() {
            if at > now {
                self.due.insert((at, cluster));
                return (jobs, Some(at));
            }
            let Some(probed) = self.clusters.get_mut(&cluster) else {
                continue;
            };
            if let Some(wanted) = probed.begin(now) {
                probed.state = State::Running;
                jobs.push(Job {
                    wanted,
                    lane: probed.lane,
                    cluster,
                });
            }
        }
        (jobs, None)
    }

    /// A round ended.
    pub(super) fn finished(&mut self, cluster: &Key, finished: Finished, now: Instant) -> News {
        let of_all = FOR_EACH.saturating_mul(u32::try_from(self.clusters.len()).unwrap_or(u32::MAX));
        let Some(probed) = self.clusters.get_mut(cluster) else {
            return News::Same;
        };
        let has_gates = probed.wanted.as_ref().is_some_and(|wanted| !wanted.gates.is_empty());
        let every = of_all.max(if has_gates { EVERY_GATE } else { EVERY });
        let (delay, news) = match (probed.state, probed.wanted.clone()) {
            (State::Due(_), _) => return News::Same,
            (State::Running | State::Obsolete, None) => {
                self.clusters.remove(cluster);
                return News::Same;
            }
            (State::Obsolete, Some(_)) => (Duration::ZERO, News::Same),
            (State::Running, Some(wanted)) => {
                let was_set = finished.gates.values().any(|look| matches!(look, Look::Set(_)));
                let delay = probed.take(finished.answer, every);
                let delay = if was_set { AFTER_SET.min(delay) } else { delay };
                let gates = gates(&probed.gates, &wanted.gates, &finished.gates, finished.at);
                let readings = with_settled(&probed.readings, finished.readings, &wanted);
                let is_same = is_same(&probed.readings, &readings)
                    && are_same(&probed.gates, &gates)
                    && say_the_same(&probed.snapshots, &finished.snapshots);
                probed.looked = Looked::Yes;
                probed.readings = readings;
                probed.gates = gates;
                probed.snapshots = finished.snapshots;
                (delay, if is_same { News::Same } else { News::Changed })
            }
        };
        let at = now + delay;
        probed.state = State::Due(at);
        self.due.insert((at, cluster.clone()));
        news
    }
}

impl Probed {
    /// What is to be read now: all that is wanted, without what is settled and was read a short while ago.
    fn begin(&mut self, now: Instant) -> Option<Arc<Wanted>> {
        let wanted = self.wanted.clone()?;
        let rests = |probe: &&Probe| {
            let begun = self.begun.get(*probe);
            self.readings.contains_key(*probe) && begun.is_some_and(|begun| now.duration_since(*begun) < SELDOM)
        };
        let resting: BTreeSet<Probe> = wanted.settled.iter().filter(rests).copied().collect();
        let read = wanted.probes.difference(&resting).copied();
        let probes: BTreeSet<Probe> = read.collect();
        self.begun.extend(probes.iter().map(|probe| (*probe, now)));
        if probes.len() == wanted.probes.len() {
            return Some(wanted);
        }
        Some(Arc::new(Wanted {
            probes,
            ..(*wanted).clone()
        }))
    }

    /// How soon it is read again.
    fn take(&mut self, answer: Answer, every: Duration) -> Duration {
        match answer {
            Answer::After(took) => {
                self.failures = 0;
                self.lane = if took <= PROMPT { Lane::Prompt } else { Lane::Slow };
                every
            }
            // A user mends the Secret, and then it should go on.
            Answer::NotAsked => {
                self.failures = 0;
                every
            }
            Answer::None => {
                let delay = every.saturating_mul(1 << self.failures.min(8)).min(MOST.max(every));
                self.failures = self.failures.saturating_add(1);
                self.lane = Lane::Slow;
                delay
            }
        }
    }
}

impl Wanted {
    /// Whether both ask for the same, however often.
    fn asks_as(&self, other: &Self) -> bool {
        let Self {
            secret,
            probes,
            settled: _,
            deadlines,
            gates,
            snapshots,
            images,
            vcenters,
        } = self;
        *secret == other.secret
            && *probes == other.probes
            && *deadlines == other.deadlines
            && *gates == other.gates
            && *snapshots == other.snapshots
            && *images == other.images
            && *vcenters == other.vcenters
    }
}

/// What a round found, and what it didn't read.
fn with_settled(before: &Readings, mut found: Readings, wanted: &Wanted) -> Readings {
    for probe in &wanted.settled {
        if let Some(reading) = before.get(probe).filter(|_| wanted.probes.contains(probe)) {
            found.entry(*probe).or_insert_with(|| Arc::clone(reading));
        }
    }
    found
}

/// The times of readings are no news.
fn is_same(before: &Readings, after: &Readings) -> bool {
    let found = |reading: &Arc<Reading>| reading.found.clone();
    before.len() == after.len()
        && before
            .iter()
            .all(|(probe, reading)| after.get(probe).map(found) == Some(found(reading)))
}

fn are_same(before: &GateReadings, after: &GateReadings) -> bool {
    let found = |reading: &Arc<GateReading>| (reading.verdict.clone(), reading.ready, reading.before.clone());
    before.len() == after.len()
        && before
            .iter()
            .all(|(id, reading)| after.get(id).map(found) == Some(found(reading)))
}

fn say_the_same(before: &[SnapshotReading], after: &[SnapshotReading]) -> bool {
    let found = |reading: &SnapshotReading| reading.found.clone();
    before.iter().map(found).eq(after.iter().map(found))
}

/// What is known now: one that was ready before and is so again has been ready all the time.
fn gates(before: &GateReadings, wanted: &[WantedGate], looks: &BTreeMap<AddonId, Look>, at: Timestamp) -> GateReadings {
    let reading = |of: &WantedGate| {
        let (verdict, found) = match looks.get(&of.id)? {
            Look::Judged(verdict) | Look::Set(verdict) => (verdict.clone(), None),
            Look::Found(found) => (Verdict::InProgress("its turn comes".to_owned()), Some(found.clone())),
        };
        let ready = match &verdict {
            Verdict::Ready => before.get(&of.id).and_then(|before| before.ready).or(Some(at)),
            Verdict::InProgress(_) | Verdict::Failed(_) | Verdict::Unknown(_) | Verdict::NotApplicable => None,
        };
        let reading = GateReading {
            of: of.clone(),
            at,
            verdict,
            ready,
            before: found,
        };
        Some((of.id.clone(), Arc::new(reading)))
    };
    wanted.iter().filter_map(reading).collect()
}

#[cfg(test)]
mod tests;
