//! A cluster for people: started in the background, entered, and taken down again.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    os::unix::process::CommandExt,
    process::Child,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    cache::Cache,
    certificates::replace,
    components::RuntimeSdk,
    gobuild::Built,
    infrastructure::Infrastructure,
    instar::Setup,
    isolation::{self, Isolation},
    manifests::ServedVersions,
    mgmt::Mgmt,
    procfs::{self, Identity},
    progress::{say, spoken},
    rundir::{ClusterName, RunDir},
    wait::wait_for,
    workspace,
};

/// How long a cluster has to become ready; it takes 13 s where nothing else runs.
const READY: Duration = Duration::from_mins(5);

/// How long the kernel has to end all processes of a cluster.
const GONE: Duration = Duration::from_secs(30);

/// Who supervises a cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Supervisor {
    /// The outermost process: `unshare`, or the supervisor itself without namespaces.
    pub outer: Identity,
    /// What keeps the cluster apart.
    pub isolation: Isolation,
}

impl Supervisor {
    /// Of a cluster that runs.
    pub fn of(run: &RunDir) -> Result<Self> {
        if !run.is_live()? {
            bail!(
                "the management cluster `{}` is not running: `make up` starts one",
                run.name()
            );
        }
        let path = run.supervisor();
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let supervisor: Self = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        if !supervisor.outer.is_alive() {
            bail!(
                "the management cluster `{}` runs, but its supervisor (pid {}) cannot be seen from here: \
                 call this from where it was started, not from inside another cluster",
                run.name(),
                supervisor.outer.pid
            );
        }
        Ok(supervisor)
    }

    /// The first process inside, as seen from here.
    pub fn inner(&self) -> Result<Identity> {
        if matches!(self.isolation, Isolation::None(_)) {
            return Ok(self.outer);
        }
        let inner = procfs::children(self.outer.pid).first().map(|stat| stat.identity);
        inner.with_context(|| format!("unshare (pid {}) has no child", self.outer.pid))
    }
}

/// Starts a cluster in the background and waits until it is ready.
pub async fn up(
    cache: &Cache,
    name: &ClusterName,
    infrastructure: Infrastructure,
    runtime_sdk: RuntimeSdk,
    setup: Setup,
) -> Result<RunDir> {
    let run = RunDir::of(cache, name);
    if run.is_live()? {
        bail!(
            "the management cluster `{name}` is already running: `make status` shows it, `make down` stops it, \
               `make up NAME=other` starts another one"
        );
    }
    let built = isolation::prepare(cache, infrastructure, &[]).await?;
    let isolation = Isolation::available();
    isolation.check()?;
    let mut child = spawn(&run, &built, &isolation, runtime_sdk, setup)?;
    let waited = tokio::select! {
        ready = wait_ready(&run, &mut child) => ready,
        error = interrupted() => Err(error),
    };
    if let Err(error) = waited {
        down(cache, name).await.context("taking down what was started")?;
        return Err(error);
    }
    Ok(run)
}

fn spawn(run: &RunDir, built: &Built, isolation: &Isolation, runtime_sdk: RuntimeSdk, setup: Setup) -> Result<Child> {
    let lock = run.create()?;
    fs::write(run.built(), serde_json::to_vec(built)?)?;
    let output = File::create(run.supervisor_log())?;
    let program = workspace::program("mgmt", "instar-e2e")?.into_os_string();
    let gate = match runtime_sdk {
        RuntimeSdk::On => "on",
        RuntimeSdk::Off => "off",
    };
    let mut supervise: Vec<OsString> = vec![
        program,
        "supervise".into(),
        run.name().to_string().into(),
        "--runtime-sdk".into(),
        gate.into(),
    ];
    supervise.extend((setup == Setup::Instar).then(|| "--instar".into()));
    let mut words: Vec<OsString> = vec!["setsid".into()];
    words.extend(isolation.wrap(supervise));
    // The lock goes in as stdin: it is held for as long as the supervisor lives.
    let child = isolation::command(&words)
        .stdin(lock.share()?)
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .context("starting setsid")?;
    let outer = Identity::of(child.id()).context("the supervisor ended at once")?;
    let supervisor = Supervisor {
        outer,
        isolation: isolation.clone(),
    };
    replace(&run.supervisor(), &serde_json::to_string(&supervisor)?)?;
    Ok(child)
}

/// Passes on what the supervisor says, until it is ready or gone.
async fn wait_ready(run: &RunDir, child: &mut Child) -> Result<()> {
    let began = Instant::now();
    let mut output = Tail::open(&run.supervisor_log())?;
    loop {
        let ended = child.try_wait()?;
        for line in output.lines()? {
            say(line);
        }
        if let Some(status) = ended {
            bail!("the supervisor of `{}` ended ({status}); it said why above", run.name());
        }
        if run.ready().exists() {
            return Ok(());
        }
        if began.elapsed() > READY {
            bail!(
                "the management cluster `{}` is not ready after {}; the logs were in {}",
                run.name(),
                spoken(READY),
                run.logs().display()
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn interrupted() -> anyhow::Error {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    anyhow::anyhow!("interrupted")
}

/// The life of the supervisor, inside: the cluster's start, and its end on a signal.
pub async fn supervise(cache: &Cache, name: &ClusterName, runtime_sdk: RuntimeSdk, setup: Setup) -> Result<()> {
    let run = RunDir::of(cache, name);
    let built = isolation::arrive(&run)?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mgmt = Mgmt::start(run, built, runtime_sdk, ServedVersions::All).await?;
    setup.install(&mgmt).await?;
    replace(&mgmt.run().ready(), "")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    mgmt.stop().await
}

/// Ends a cluster and removes what it left; says whether there was one.
pub async fn down(cache: &Cache, name: &ClusterName) -> Result<bool> {
    let run = RunDir::of(cache, name);
    if run.is_live()? {
        let supervisor = Supervisor::of(&run)?;
        let all = procfs::descendants(supervisor.outer.pid);
        // All the others are tied to this one by the kernel: this is also what a crash does.
        supervisor.outer.signal(Signal::KILL)?;
        wait_for("the cluster's processes to end", GONE, || async {
            match all.iter().find(|stat| stat.identity.is_alive()) {
                Some(stat) => Err(format!("pid {} runs", stat.identity.pid).into()),
                None if run.is_live()? => Err("the lock is still held".into()),
                None => Ok(()),
            }
        })
        .await?;
    } else if !run.root().is_dir() {
        return Ok(false);
    }
    run.remove()?;
    Ok(true)
}

/// Replaces this process by a command beside the cluster; returns only if that fails.
pub fn run(cache: &Cache, name: &ClusterName, program: Vec<OsString>) -> Result<()> {
    let run = RunDir::of(cache, name);
    let supervisor = Supervisor::of(&run)?;
    let built: Built = serde_json::from_str(&fs::read_to_string(run.built())?)?;
    let words = supervisor
        .isolation
        .join(supervisor.inner()?.pid, &std::env::current_dir()?, program);
    let mut command = isolation::command(&words);
    command
        .env("KUBECONFIG", run.kubeconfig())
        .env("PATH", built.path_variable()?);
    Err(command.exec()).with_context(|| {
        format!(
            "starting {}",
            words
                .first()
                .map_or_else(String::new, |word| word.display().to_string())
        )
    })
}

/// A file that grows, line by line.
struct Tail {
    file: File,
    position: u64,
    rest: String,
}

impl Tail {
    fn open(path: &std::path::Path) -> Result<Self> {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        Ok(Self {
            file,
            position: 0,
            rest: String::new(),
        })
    }

    /// The whole lines that have come since the last call.
    fn lines(&mut self) -> Result<Vec<String>> {
        self.file.seek(SeekFrom::Start(self.position))?;
        let mut bytes = Vec::new();
        self.position += u64::try_from(self.file.read_to_end(&mut bytes)?)?;
        self.rest.push_str(&String::from_utf8_lossy(&bytes));
        let Some(end) = self.rest.rfind('\n') else {
            return Ok(Vec::new());
        };
        let rest = self.rest.split_off(end + 1);
        let whole = std::mem::replace(&mut self.rest, rest);
        Ok(whole.lines().map(ToOwned::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_tail_gives_whole_lines_once() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut tail = Tail::open(file.path()).unwrap();
        write!(file, "one\ntw").unwrap();
        assert_eq!(tail.lines().unwrap(), ["one"]);
        writeln!(file, "o").unwrap();
        assert_eq!(tail.lines().unwrap(), ["two"]);
        assert!(tail.lines().unwrap().is_empty());
    }
}
