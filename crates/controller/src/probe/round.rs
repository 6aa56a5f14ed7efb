//! One round: what is wanted of one workload cluster, read once.

use std::{sync::Arc, time::Duration};

use instar_planner::Problem;
use instar_preflight::workload::{Facts, Probe, Reading, Readings};
use instar_watch::Key;
use instar_workload::{Kubeconfig, WorkloadClient, read};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::time::{Instant, timeout};

use super::{
    Wanted,
    lanes::Lanes,
    problem::{self, CLUSTER_LABEL, KEY, SecretProblem},
    schedule::{Answer, Finished, Lane},
};

/// How long reading a Secret may take.
const SECRET: Duration = Duration::from_secs(5);

/// How long it may take to find out whether a cluster answers.
const REACH: Duration = Duration::from_secs(8);

/// How long all probes of a cluster that answers may take together.
const READ: Duration = Duration::from_secs(45);

/// What runs rounds.
#[derive(Clone)]
pub(super) struct Rounds {
    management: Client,
}

impl Rounds {
    pub(super) fn new(management: &Client) -> Self {
        Self {
            management: management.clone(),
        }
    }

    pub(super) async fn run(&self, cluster: &Key, wanted: &Wanted, lanes: &Lanes, lane: Lane) -> Finished {
        match self.kubeconfig(cluster, &wanted.secret, lanes).await {
            Ok(kubeconfig) => with(&kubeconfig, cluster, wanted, lanes, lane).await,
            Err(error) => Finished {
                readings: all(wanted, &error.of(cluster, &wanted.secret)),
                answer: Answer::NotAsked,
            },
        }
    }

    async fn kubeconfig(&self, cluster: &Key, secret: &str, lanes: &Lanes) -> Result<Kubeconfig, SecretProblem> {
        let _turn = lanes.secret().await;
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

async fn with(kubeconfig: &Kubeconfig, cluster: &Key, wanted: &Wanted, lanes: &Lanes, lane: Lane) -> Finished {
    let failed = |problem: &Problem, answer| Finished {
        readings: all(wanted, problem),
        answer,
    };
    let client = match WorkloadClient::new(kubeconfig) {
        Ok(client) => client,
        Err(error) => return failed(&problem::of_call(cluster, &error), Answer::NotAsked),
    };
    let reaching = {
        let _turn = lanes.reach(lane).await;
        let began = Instant::now();
        match timeout(REACH, client.reach()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return failed(&problem::of_call(cluster, &error), Answer::None),
            Err(_) => return failed(&problem::of_round(cluster, REACH.as_secs()), Answer::None),
        }
        began.elapsed()
    };
    let _turn = lanes.read(lane).await;
    let began = Instant::now();
    match timeout(READ, read_all(&client, cluster, wanted)).await {
        Ok(readings) => Finished {
            readings,
            answer: Answer::After(reaching + began.elapsed()),
        },
        Err(_) => failed(&problem::of_round(cluster, READ.as_secs()), Answer::None),
    }
}

async fn read_all(client: &WorkloadClient, cluster: &Key, wanted: &Wanted) -> Readings {
    let mut readings = Readings::new();
    for probe in &wanted.probes {
        let found = read(client, *probe, Timestamp::now()).await;
        readings.insert(
            *probe,
            reading(found.map_err(|error| problem::of_call(cluster, &error))),
        );
    }
    readings
}

fn all(wanted: &Wanted, problem: &Problem) -> Readings {
    let of = |probe: &Probe| (*probe, reading(Err(problem.clone())));
    wanted.probes.iter().map(of).collect()
}

fn reading(found: Result<Facts, Problem>) -> Arc<Reading> {
    let at = Timestamp::now();
    Arc::new(Reading { at, found })
}
