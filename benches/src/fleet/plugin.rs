//! What the kubectl plugin takes for one Cluster among many, as its user waits for it.

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use instar_e2e::{Result, mgmt::Mgmt};
use tokio::process::Command;

use super::objects::Fleet;

/// How often each verb is run: the one in the middle counts.
const RUNS: usize = 5;

/// What a verb takes.
pub(crate) struct Verb {
    /// As it is written behind `kubectl instar`.
    pub(crate) arguments: String,
    /// From its start to its end.
    pub(crate) took: Duration,
    /// What it asks the API server for, but for discovery.
    pub(crate) requests: f64,
}

/// Runs the verbs for a Cluster of the fleet that has no upgrade.
pub(crate) async fn measure(mgmt: &Mgmt, fleet: &Fleet) -> Result<Vec<Verb>> {
    let (namespace, name) = Fleet::cluster(fleet.clusters() / 2);
    let verbs = [
        "--version".to_owned(),
        format!("status {name} -n {namespace}"),
        format!("plan {name} -n {namespace}"),
        format!("plan {name} -n {namespace} --to v1.34"),
        "status -A".to_owned(),
        "releases".to_owned(),
    ];
    let mut measured = Vec::new();
    for arguments in verbs {
        let mut times = Vec::new();
        let before = requests(mgmt).await?;
        for _ in 0..RUNS {
            times.push(run(mgmt, &arguments).await?);
        }
        times.sort_unstable();
        measured.push(Verb {
            took: times[RUNS / 2],
            requests: (requests(mgmt).await? - before) / RUNS as f64,
            arguments: arguments.replace(&name, "CLUSTER").replace(&namespace, "NAMESPACE"),
        });
    }
    Ok(measured)
}

async fn run(mgmt: &Mgmt, arguments: &str) -> Result<Duration> {
    let began = Instant::now();
    let ended = Command::new(plugin()?)
        .args(arguments.split(' '))
        .arg("--kubeconfig")
        .arg(mgmt.run().kubeconfig())
        .stdin(Stdio::null())
        .output()
        .await
        .context("starting kubectl-instar")?;
    let took = began.elapsed();
    // That an upgrade is held, or can't be had, is an answer too.
    let answered = matches!(ended.status.code(), Some(0 | 1));
    ensure!(
        answered,
        "kubectl instar {arguments}: {}: {}",
        ended.status,
        String::from_utf8_lossy(&ended.stderr)
    );
    Ok(took)
}

/// Beside `instar`, which is measured too.
fn plugin() -> Result<PathBuf> {
    let instar = std::env::var_os("INSTAR_BIN").context("INSTAR_BIN isn't set: run make bench-fleet")?;
    Ok(PathBuf::from(instar).with_file_name("kubectl-instar"))
}

/// Those that the API server has answered about objects. Nothing else asks for any meanwhile, but for leases.
async fn requests(mgmt: &Mgmt) -> Result<f64> {
    let metrics = mgmt
        .client()
        .request_text(http::Request::get("/metrics").body(Vec::new())?)
        .await?;
    let counted = metrics.lines().filter(|line| {
        let is_about_objects = !line.contains(r#"resource="""#) && !line.contains(r#"resource="leases""#);
        line.starts_with("apiserver_request_total{") && is_about_objects && !line.contains(r#"verb="WATCH""#)
    });
    counted
        .map(|line| {
            let value = line.rsplit(' ').next().unwrap_or_default();
            value.parse::<f64>().with_context(|| format!("{line} has no count"))
        })
        .sum()
}
