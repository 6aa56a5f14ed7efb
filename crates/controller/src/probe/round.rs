//! One round: what is wanted for one Cluster, read once.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use instar_addons::{SnapshotReading, Verdict, WantedGate};
use instar_planner::{AddonId, Problem};
use instar_preflight::workload::{Facts, Probe, Reading, Readings, WorkloadProbe};
use instar_watch::Key;
use instar_workload::{Kubeconfig, WorkloadClient, read};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::time::{Instant, timeout};

use super::{
    Wanted,
    gates::{self, Sides},
    images,
    lanes::Lanes,
    problem::{self, CLUSTER_LABEL, KEY, SecretProblem},
    schedule::{Answer, Finished, Lane, Look, PROMPT},
    snapshots,
    vcenters::VCenters,
};
use crate::{lease::Leads, metrics::Counters};

/// Whether the workload cluster answers.
enum Reached {
    /// Nothing is wanted of it.
    NotWanted,
    Client {
        client: Box<WorkloadClient>,
        /// How long it took to find out.
        after: Duration,
    },
    Problem {
        problem: Problem,
        answer: Answer,
    },
}

/// What a round found of all that was wanted.
struct RoundFindings {
    readings: Readings,
    gates: BTreeMap<AddonId, Look>,
    snapshots: Vec<SnapshotReading>,
}

/// How long reading a Secret may take.
const SECRET: Duration = Duration::from_secs(5);

/// How long it may take to find out whether a cluster answers.
const REACH: Duration = Duration::from_secs(8);

/// How long all probes and gates of a cluster may take together.
const READ: Duration = Duration::from_secs(45);

/// What runs rounds.
#[derive(Clone)]
pub(super) struct Rounds {
    management: Client,
    leads: Leads,
    counters: Counters,
    vcenters: VCenters,
}

impl Rounds {
    pub(super) fn new(management: &Client, leads: &Leads, counters: &Counters) -> Self {
        Self {
            management: management.clone(),
            leads: leads.clone(),
            counters: counters.clone(),
            vcenters: VCenters::default(),
        }
    }

    /// Looks for the images that are wanted. It takes no turn of a cluster: each vCenter has its own.
    pub(super) async fn look_for_images(&self, cluster: &Key, wanted: &Wanted) -> Finished {
        let began = Instant::now();
        let images = images::look_for(&self.management, &self.vcenters, cluster, wanted).await;
        Finished {
            readings: images.map(|reading| (Probe::Images, reading)).into_iter().collect(),
            gates: BTreeMap::new(),
            snapshots: Vec::new(),
            at: Timestamp::now(),
            answer: Answer::After(began.elapsed()),
        }
    }

    /// Reads what is wanted of the clusters.
    pub(super) async fn run(&self, cluster: &Key, wanted: &Wanted, lanes: &Lanes, lane: Lane) -> Finished {
        let reached = self.reach(cluster, wanted, lanes, lane).await;
        let turn = match &reached {
            Reached::Client { .. } => lanes.read(lane).await,
            Reached::NotWanted | Reached::Problem { .. } => lanes.management().await,
        };
        let (mut began, mut turn) = (Instant::now(), turn);
        let read_all = || self.read_all(&reached, cluster, wanted, lanes);
        let reading = if gives_its_turn(&reached, lane, wanted) {
            if let Ok(found) = timeout(PROMPT, read_all()).await {
                Ok(found)
            } else {
                drop(turn);
                turn = lanes.read(Lane::Slow).await;
                began = Instant::now();
                timeout(READ, read_all()).await
            }
        } else {
            timeout(READ, read_all()).await
        };
        drop(turn);
        let found = reading.unwrap_or_else(|_| {
            let problem = problem::of_round(cluster, READ.as_secs());
            let unknown =
                |gate: &WantedGate| (gate.id.clone(), Look::Judged(Verdict::Unknown(problem.message.clone())));
            let snapshots = wanted.snapshots.iter();
            RoundFindings {
                readings: all(wanted, &problem),
                gates: wanted.gates.iter().map(unknown).collect(),
                snapshots: snapshots
                    .map(|query| snapshots::reading(query, Err(problem.message.clone())))
                    .collect(),
            }
        });
        let RoundFindings {
            readings,
            gates,
            snapshots,
        } = found;
        let answer = match (&reached, began.elapsed() < READ) {
            (Reached::Client { after, .. }, true) => Answer::After(*after + began.elapsed()),
            (Reached::NotWanted, true) => Answer::After(began.elapsed()),
            (Reached::Problem { answer, .. }, true) => *answer,
            (Reached::Client { .. } | Reached::NotWanted | Reached::Problem { .. }, false) => Answer::None,
        };
        Finished {
            readings,
            gates,
            snapshots,
            at: Timestamp::now(),
            answer,
        }
    }

    /// The workload cluster, where it is wanted.
    async fn reach(&self, cluster: &Key, wanted: &Wanted, lanes: &Lanes, lane: Lane) -> Reached {
        let is_wanted = of_workload(wanted).next().is_some()
            || wanted.gates.iter().any(gates::is_in_workload)
            || wanted.snapshots.iter().any(snapshots::is_in_workload);
        let Some(secret) = wanted.secret.as_ref().filter(|_| is_wanted) else {
            return Reached::NotWanted;
        };
        let failed = |problem, answer| Reached::Problem { problem, answer };
        let kubeconfig = match self.kubeconfig(cluster, secret, lanes).await {
            Ok(kubeconfig) => kubeconfig,
            Err(error) => return failed(error.of(cluster, secret), Answer::NotAsked),
        };
        let client = match WorkloadClient::new(&kubeconfig) {
            Ok(client) => client,
            Err(error) => return failed(problem::of_call(cluster, &error), Answer::NotAsked),
        };
        let _turn = lanes.reach(lane).await;
        let began = Instant::now();
        match timeout(REACH, client.reach()).await {
            Ok(Ok(())) => Reached::Client {
                client: Box::new(client),
                after: began.elapsed(),
            },
            Ok(Err(error)) => failed(problem::of_call(cluster, &error), Answer::None),
            Err(_) => failed(problem::of_round(cluster, REACH.as_secs()), Answer::None),
        }
    }

    async fn read_all(&self, reached: &Reached, cluster: &Key, wanted: &Wanted, lanes: &Lanes) -> RoundFindings {
        let not_wanted = Problem {
            kind: "Cluster".to_owned(),
            name: cluster.name().to_owned(),
            message: "no UpgradePolicy lets the workload cluster be read".to_owned(),
        };
        let workload = match reached {
            Reached::Client { client, .. } => Ok(&**client),
            Reached::Problem { problem, .. } => Err(problem),
            Reached::NotWanted => Err(&not_wanted),
        };
        let readings = match workload {
            Ok(client) => read_probes(client, cluster, wanted).await,
            Err(problem) => all(wanted, problem),
        };
        let management = WorkloadClient::of_management(self.management.clone());
        let sides = Sides {
            management: &management,
            workload,
            leads: &self.leads,
            counters: &self.counters,
        };
        if wanted.gates.is_empty() && wanted.snapshots.is_empty() {
            return RoundFindings {
                readings,
                gates: BTreeMap::new(),
                snapshots: Vec::new(),
            };
        }
        let read = gates::read_cluster(&management, cluster).await;
        RoundFindings {
            readings,
            gates: gates::look_at_all(sides, cluster, &read, &wanted.gates, lanes).await,
            snapshots: match wanted.deadlines.snapshots {
                None => snapshots::look_at_all(sides, cluster, &read, &wanted.snapshots, lanes).await,
                Some(deadline) => {
                    let looking = snapshots::look_at_all(sides, cluster, &read, &wanted.snapshots, lanes);
                    let in_time = timeout(deadline.unsigned_abs(), looking).await;
                    in_time.unwrap_or_else(|_| snapshots::too_slow(&wanted.snapshots, deadline))
                }
            },
        }
    }

    async fn kubeconfig(&self, cluster: &Key, secret: &str, lanes: &Lanes) -> Result<Kubeconfig, SecretProblem> {
        let _turn = lanes.management().await;
        let secrets: Api<Secret> = Api::namespaced(self.management.clone(), cluster.namespace());
        let answer = timeout(SECRET, secrets.get_opt(secret)).await;
        let answer = answer.map_err(|_| SecretProblem::Silence {
            seconds: SECRET.as_secs(),
        })?;
        let secret = match answer {
            Ok(found) => found.ok_or(SecretProblem::Missing)?,
            Err(kube::Error::Api(status)) if status.is_forbidden() => {
                return Err(SecretProblem::Forbidden {
                    account_namespace: self.management.default_namespace().to_owned(),
                });
            }
            Err(error) => return Err(SecretProblem::Call(error)),
        };
        kubeconfig_in(&secret, cluster)
    }
}

/// Whether a cluster that turns out to be slow leaves its turn to those that may be quick, and is read again from the begin
/// among the slow ones. What sets something is not begun twice.
fn gives_its_turn(reached: &Reached, lane: Lane, wanted: &Wanted) -> bool {
    match (reached, lane) {
        (Reached::Client { .. }, Lane::New | Lane::Prompt) => wanted.gates.is_empty(),
        (Reached::Client { .. }, Lane::Slow) | (Reached::NotWanted | Reached::Problem { .. }, _) => false,
    }
}

/// A Secret's name alone doesn't say whose it is: a Cluster's own name could end in that of another.
fn kubeconfig_in(secret: &Secret, cluster: &Key) -> Result<Kubeconfig, SecretProblem> {
    let labels = secret.metadata.labels.as_ref();
    let owner = labels.and_then(|labels| labels.get(CLUSTER_LABEL));
    if owner.map(String::as_str) != Some(cluster.name()) {
        return Err(SecretProblem::NotOfCluster);
    }
    let data = secret.data.as_ref().and_then(|data| data.get(KEY));
    let data = data.ok_or(SecretProblem::NoKey)?;
    Kubeconfig::read(&data.0).map_err(SecretProblem::Invalid)
}

/// What is wanted of the workload cluster.
fn of_workload(wanted: &Wanted) -> impl Iterator<Item = (Probe, WorkloadProbe)> {
    let probes = wanted.probes.iter();
    probes.filter_map(|probe| Some((*probe, probe.of_workload_cluster()?)))
}

async fn read_probes(client: &WorkloadClient, cluster: &Key, wanted: &Wanted) -> Readings {
    let mut readings = Readings::new();
    for (probe, of_workload) in of_workload(wanted) {
        let looking = async {
            let found = read(client, of_workload, Timestamp::now()).await;
            found.map_err(|error| problem::of_call(cluster, &error))
        };
        let found = match wanted.deadlines.probes.get(&probe) {
            None => looking.await,
            Some(deadline) => {
                let in_time = timeout(deadline.unsigned_abs(), looking).await;
                in_time.unwrap_or_else(|_| Err(problem::of_look(cluster, *deadline)))
            }
        };
        readings.insert(probe, reading(found));
    }
    readings
}

fn all(wanted: &Wanted, problem: &Problem) -> Readings {
    let of = |(probe, _)| (probe, reading(Err(problem.clone())));
    of_workload(wanted).map(of).collect()
}

fn reading(found: Result<Facts, Problem>) -> Arc<Reading> {
    let at = Timestamp::now();
    Arc::new(Reading { at, found })
}
