//! Certificates that are swapped on disk while requests come in.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use instar_e2e::{
    Context, Result, ports,
    support::{
        fixtures::{CLUSTER_CLASS, TopologyCluster},
        journeys::JourneyContext,
        metrics::metric,
        topology::{apply_rows, apply_wired, edit_in_dry_runs},
    },
    wait::wait_for,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// How many pairs are swapped in.
const SWAPS: i32 = 3;

pub(crate) async fn swapped_under_load(scene: JourneyContext) -> Result<()> {
    let rows = scene.rows()?;
    apply_rows(&scene, &rows.all()).await?;
    apply_wired(&scene, CLUSTER_CLASS, &rows.all()).await?;
    let runs = rows.version(34);
    let mut object = TopologyCluster {
        name: "c",
        version: &runs,
        control_planes: 1,
        workers: &[("md-0", 1)],
    }
    .object();
    object["spec"]["paused"] = json!(true);
    scene.apply_object(object).await?;

    let load = Load::start(&scene);
    let swapped = swaps(&scene, &load).await;
    let (calls, handshakes) = load.stop().await?;
    swapped?;
    instar_e2e::progress::say(format!(
        "certificates: {calls} calls by the API server, {handshakes} new connections, {SWAPS} swaps, 0 failed"
    ));
    Ok(())
}

async fn swaps(scene: &JourneyContext, load: &Load) -> Result<()> {
    let directory = scene.mgmt.run().instar_certs();
    for swap in 0..SWAPS {
        let before = metric(scene, "instar_certificate_not_after_seconds").await?;
        scene
            .mgmt
            .certificates()
            .issue_server_for("instar", 30 + swap)?
            .write(&directory)?;
        wait_for("the new certificate to be served", Duration::from_secs(40), || async {
            let now = metric(scene, "instar_certificate_not_after_seconds").await?;
            if now == before {
                Err(format!("the one that ends at {now}").into())
            } else {
                Ok(())
            }
        })
        .await?;
        load.go_on().await?;
    }
    // A certificate with another's key is refused, and the last good pair goes on.
    let refused = "instar_certificate_reloads_total{outcome=\"refused\"}";
    let before = metric(scene, refused).await?;
    let keep = scene.mgmt.certificates().issue_server("instar")?;
    keep.write(&directory)?;
    let other = tempfile::tempdir()?;
    scene.mgmt.certificates().issue_server("other")?.write(other.path())?;
    std::fs::copy(other.path().join("tls.key"), directory.join("tls.key"))?;
    wait_for("the bad pair to be refused", Duration::from_secs(40), || async {
        let now = metric(scene, refused).await?;
        if now > before {
            Ok(())
        } else {
            Err(format!("{now} refused").into())
        }
    })
    .await?;
    load.go_on().await?;
    keep.write(&directory)
}

/// Requests without a pause: through the API server, whose connections stay, and on new connections.
struct Load {
    ends: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    handshakes: Arc<AtomicUsize>,
    tasks: JoinSet<Result<()>>,
}

impl Load {
    fn start(scene: &JourneyContext) -> Self {
        let mut load = Self {
            ends: Arc::default(),
            calls: Arc::default(),
            handshakes: Arc::default(),
            tasks: JoinSet::new(),
        };
        for _ in 0..4 {
            let (scene, ends, calls) = (scene.clone(), load.ends.clone(), load.calls.clone());
            load.tasks.spawn(edit_in_dry_runs(scene, ends, calls));
        }
        for _ in 0..2 {
            let (scene, ends, handshakes) = (scene.clone(), load.ends.clone(), load.handshakes.clone());
            load.tasks.spawn(async move {
                let url = format!("https://127.0.0.1:{}/validate/kubernetes-release", ports::WEBHOOK);
                let review = json!({ "request": { "uid": "u", "operation": "UPDATE" } }).to_string();
                while !ends.load(Ordering::Relaxed) {
                    let client = instar_e2e::mgmt::http_client(scene.mgmt.certificates().authority())?;
                    let answer = client
                        .post(&url)
                        .body(review.clone())
                        .send()
                        .await
                        .context("a call on a new connection")?;
                    let answer: Value = serde_json::from_str(&answer.error_for_status()?.text().await?)?;
                    anyhow::ensure!(answer["response"]["allowed"] == true, "{answer}");
                    handshakes.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            });
        }
        load
    }

    /// Waits until both kinds of requests have gone on for a while.
    async fn go_on(&self) -> Result<()> {
        let seen = || {
            (
                self.calls.load(Ordering::Relaxed),
                self.handshakes.load(Ordering::Relaxed),
            )
        };
        let (calls, handshakes) = seen();
        wait_for("requests to go on", Duration::from_secs(20), || async {
            let now = seen();
            if now.0 > calls + 20 && now.1 > handshakes + 5 {
                Ok(())
            } else {
                Err(format!("{now:?} after {:?}", (calls, handshakes)).into())
            }
        })
        .await
    }

    /// Ends it, and says how many requests there were. One that failed is the error.
    async fn stop(mut self) -> Result<(usize, usize)> {
        self.ends.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok((
            self.calls.load(Ordering::Relaxed),
            self.handshakes.load(Ordering::Relaxed),
        ))
    }
}
