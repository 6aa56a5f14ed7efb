//! What a cluster's processes are doing, for people and for scripts.

use std::{collections::BTreeMap, ffi::OsString, fmt, fs, path::PathBuf, process::Stdio};

use anyhow::{Context, Result, bail};
use futures::future::join_all;
use serde::{Deserialize, Serialize};

use crate::{
    cache::Cache,
    certificates::Certificates,
    components::Component,
    failure::describe,
    isolation::{self, Isolation},
    mgmt::{self, Record},
    procfs::{self, Identity, Stat},
    rundir::{ClusterName, RunDir},
    supervisor::Supervisor,
};

/// Whether a process runs and is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It runs and says that it is ready.
    Ready,
    /// It runs and is not ready, for the reason given.
    NotReady(String),
    /// It has ended by itself.
    Ended,
}

/// A process of a cluster, as seen from outside.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Which one.
    pub component: Component,
    /// Its number, as seen from here.
    pub pid: Option<u32>,
    /// What it does.
    pub state: State,
    /// Its memory, in bytes.
    pub resident: u64,
    /// Its log.
    pub log: PathBuf,
}

/// A cluster, as seen from outside.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// What keeps it apart.
    pub isolation: Isolation,
    /// Who supervises it.
    pub supervisor: Identity,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// Its processes.
    pub processes: Vec<Row>,
}

impl Status {
    /// Of a cluster that runs.
    pub async fn of(cache: &Cache, name: &ClusterName) -> Result<Self> {
        let run = RunDir::of(cache, name);
        let supervisor = Supervisor::of(&run)?;
        let inner = supervisor.inner()?;
        let readiness = readiness(&run, &supervisor, inner.pid).await?;
        let children = procfs::children_by_inner_pid(inner.pid);
        let row = |record: Record| {
            let stat: Option<&Stat> = children.get(&record.process.pid);
            let state = match (stat, readiness.get(&record.component)) {
                (None, _) => State::Ended,
                (Some(_), Some(None)) => State::Ready,
                (Some(_), Some(Some(why))) => State::NotReady(why.clone()),
                (Some(_), None) => State::NotReady("it was not asked".to_owned()),
            };
            Row {
                component: record.component,
                pid: stat.map(|stat| stat.identity.pid),
                state,
                resident: stat.map_or(0, |stat| stat.resident),
                log: record.log,
            }
        };
        Ok(Self {
            name: name.to_string(),
            isolation: supervisor.isolation,
            supervisor: supervisor.outer,
            kubeconfig: run.kubeconfig(),
            processes: records(&run)?.into_iter().map(row).collect(),
        })
    }

    /// Whether all processes are ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.processes.is_empty() && self.processes.iter().all(|row| row.state == State::Ready)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<26} {:>8} {:>8}  {:<9} LOG", "PROCESS", "PID", "MEMORY", "STATE")?;
        for row in &self.processes {
            let pid = row.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            let (state, why) = match &row.state {
                State::Ready => ("ready", ""),
                State::NotReady(why) => ("not ready", why.as_str()),
                State::Ended => ("ended", ""),
            };
            let memory = format!("{} MiB", row.resident >> 20);
            writeln!(
                f,
                "{:<26} {pid:>8} {memory:>8}  {state:<9} {}",
                row.component,
                row.log.display()
            )?;
            if !why.is_empty() {
                writeln!(f, "    {why}")?;
            }
        }
        match &self.isolation {
            Isolation::Root | Isolation::User => {
                writeln!(
                    f,
                    "In a network namespace of its own: `make shell` goes in. Supervisor: pid {}.",
                    self.supervisor.pid
                )?;
            }
            Isolation::None(why) => writeln!(
                f,
                "In no network namespace: {why}. Supervisor: pid {}.",
                self.supervisor.pid
            )?,
        }
        write!(f, "KUBECONFIG={}", self.kubeconfig.display())
    }
}

fn records(run: &RunDir) -> Result<Vec<Record>> {
    let path = run.processes();
    let text = fs::read_to_string(&path)
        .with_context(|| format!("{}: the cluster has just begun to start", path.display()))?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

/// Each process by why it is not ready; asked from inside, where their ports are.
type Readiness = BTreeMap<Component, Option<String>>;

async fn readiness(run: &RunDir, supervisor: &Supervisor, inner: u32) -> Result<Readiness> {
    let probe: [OsString; 3] = [
        std::env::current_exe()?.into_os_string(),
        "probe".into(),
        run.name().to_string().into(),
    ];
    let words = supervisor.isolation.join(inner, run.root(), probe);
    let mut command: tokio::process::Command = isolation::command(&words).into();
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("starting nsenter")?;
    if !output.status.success() {
        bail!(
            "asking for readiness inside: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The inner half of [`Status::of`]: asks all processes, prints JSON.
pub async fn probe(cache: &Cache, name: &ClusterName) -> Result<()> {
    let run = RunDir::of(cache, name);
    let authority = fs::read_to_string(Certificates::authority_in(&run.certs()))?;
    let http = mgmt::http_client(&authority)?;
    let asked = records(&run)?.into_iter().map(|record| {
        let http = &http;
        async move {
            let why = mgmt::probe(http, record.component)
                .await
                .err()
                .map(|error| describe(&error));
            (record.component, why)
        }
    });
    let readiness: Readiness = join_all(asked).await.into_iter().collect();
    println!("{}", serde_json::to_string(&readiness)?);
    Ok(())
}
