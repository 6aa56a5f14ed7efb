//! Requests as an API server makes them, while others attack.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use instar_e2e::{Context, Result, wait::wait_for};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::server::Server;

/// An API server waits for the webhooks of Instar that long.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Between two requests of one client.
const PAUSE: Duration = Duration::from_millis(20);

/// Two clients that keep their connections, and one that makes a new one for each request.
const CLIENTS: [Connections; 3] = [Connections::Kept, Connections::Kept, Connections::New];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Connections {
    Kept,
    New,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) took: Vec<Duration>,
    pub(crate) failed: Vec<String>,
}

impl Tally {
    /// The time that half of them took at most.
    pub(crate) fn median(&self) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        took.get(took.len() / 2).copied().unwrap_or_default()
    }

    pub(crate) fn slowest(&self) -> Duration {
        self.took.iter().max().copied().unwrap_or_default()
    }
}

/// Clients that ask without end.
pub(crate) struct Honest {
    tally: Arc<Mutex<Tally>>,
    ends: Arc<AtomicBool>,
    tasks: JoinSet<Result<()>>,
}

impl Honest {
    pub(crate) fn start(server: &Server) -> Result<Self> {
        let mut honest = Self {
            tally: Arc::default(),
            ends: Arc::default(),
            tasks: JoinSet::new(),
        };
        for connections in CLIENTS {
            let authority = reqwest::Certificate::from_pem(server.certificates.authority().as_bytes())?;
            let idle = match connections {
                Connections::Kept => 1,
                Connections::New => 0,
            };
            let client = reqwest::Client::builder()
                .tls_certs_only([authority])
                .pool_max_idle_per_host(idle)
                .timeout(TIMEOUT)
                .no_proxy()
                .build()?;
            let url = format!("https://{}/validate/kubernetes-release", server.tls);
            let (tally, ends) = (Arc::clone(&honest.tally), Arc::clone(&honest.ends));
            honest.tasks.spawn(async move {
                while !ends.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let asked = ask(&client, &url).await;
                    let took = began.elapsed();
                    {
                        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                        match asked {
                            Ok(()) => tally.took.push(took),
                            Err(error) => tally.failed.push(format!("after {took:?}: {error:#}")),
                        }
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                Ok(())
            });
        }
        Ok(honest)
    }

    /// What came since the last look, and no fewer requests than there are clients: some attacks are over
    /// before the first has ended.
    pub(crate) async fn since(&self) -> Result<Tally> {
        wait_for("honest requests to end", TIMEOUT, || async {
            let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
            let ended = tally.took.len() + tally.failed.len();
            if ended < CLIENTS.len() {
                return Err(format!("{ended} of {}", CLIENTS.len()).into());
            }
            Ok(std::mem::take(&mut *tally))
        })
        .await
    }

    pub(crate) async fn stop(mut self) -> Result<()> {
        self.ends.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(())
    }
}

/// A review as the API server sends it, of a size that it often has.
pub(crate) fn review() -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "honest",
            "kind": { "group": "upgrade.cluster.x-k8s.io", "version": "v1alpha1", "kind": "KubernetesRelease" },
            "operation": "DELETE",
            "name": "v1.34.0",
            "userInfo": { "username": "somebody" },
            "oldObject": {
                "apiVersion": "upgrade.cluster.x-k8s.io/v1alpha1",
                "kind": "KubernetesRelease",
                "metadata": { "name": "v1.34.0", "annotations": { "text": "x".repeat(7 * 1024) } },
                "spec": { "version": "v1.34.0" },
            },
        },
    })
}

async fn ask(client: &reqwest::Client, url: &str) -> Result<()> {
    let answer = client.post(url).body(review().to_string()).send().await?;
    let (status, text) = (answer.status(), answer.text().await?);
    let review: Value = serde_json::from_str(&text).with_context(|| format!("{status}: {text}"))?;
    let response = &review["response"];
    anyhow::ensure!(
        response["uid"] == "honest" && response["allowed"] == true,
        "{status}: {text}"
    );
    Ok(())
}
