//! The place where a cluster runs: network, PID and mount namespaces of its own.
//!
//! The first process in there is its init: when that one ends, the kernel ends all the others.
//! It is killed with `unshare`, its parent outside, and so on up; so nothing is left over,
//! whichever of them somebody kills.

use std::{
    ffi::OsString,
    fs,
    path::Path,
    process::{Command, ExitCode, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    binaries::Binary,
    cache::Cache,
    gobuild::{self, Built},
    infrastructure::Infrastructure,
    ports, prerequisites,
    process::INSIDE,
    procfs,
    progress::say,
    rundir::{ClusterName, RunDir},
};

/// Runs the cluster without namespaces even where they can be made.
pub const NO_NAMESPACE: &str = "INSTAR_E2E_NO_NAMESPACE";

/// How long a process inside has to end by itself after the first signal.
const GRACE: Duration = Duration::from_mins(1);

/// What keeps a cluster apart from the rest of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Isolation {
    /// Namespaces made by root.
    Root,
    /// Namespaces below a user namespace, made by anybody.
    User,
    /// Nothing, for the reason given.
    None(String),
}

impl Isolation {
    /// The best that can be had here.
    #[must_use]
    pub fn available() -> Self {
        if std::env::var_os(NO_NAMESPACE).is_some_and(|value| !value.is_empty()) {
            return Self::None(format!("{NO_NAMESPACE} is set"));
        }
        let mut why = String::new();
        let candidates = if rustix::process::geteuid().is_root() {
            vec![Self::Root, Self::User]
        } else {
            vec![Self::User]
        };
        for candidate in candidates {
            let words = candidate.wrap(["ip", "link", "set", "lo", "up"].map(OsString::from));
            match command(&words).stdin(Stdio::null()).output() {
                Ok(output) if output.status.success() => return candidate,
                Ok(output) => String::from_utf8_lossy(&output.stderr).trim().clone_into(&mut why),
                Err(error) => why = error.to_string(),
            }
        }
        Self::None(why)
    }

    /// The command that runs another one as the first process inside.
    pub fn wrap(&self, program: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
        let unshare: &[&str] = match self {
            Self::Root => &[
                "unshare",
                "--net",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "--",
            ],
            Self::User => &[
                "unshare",
                "--user",
                "--map-root-user",
                "--net",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "--",
            ],
            Self::None(_) => &[],
        };
        unshare.iter().map(OsString::from).chain(program).collect()
    }

    /// The command that runs another one beside the process `inner`, which is inside.
    pub fn join(&self, inner: u32, dir: &Path, program: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
        let namespaces: &[&str] = match self {
            Self::Root => &["--net", "--pid", "--mount"],
            Self::User => &["--user", "--preserve-credentials", "--net", "--pid", "--mount"],
            Self::None(_) => return program.into_iter().collect(),
        };
        let mut words: Vec<OsString> = vec!["nsenter".into(), "-t".into(), inner.to_string().into()];
        words.extend(namespaces.iter().map(OsString::from));
        // Entering a mount namespace leaves the directory that one was in.
        words.extend(["--", "sh", "-c", "cd \"$1\" && shift && exec \"$@\"", "sh"].map(OsString::from));
        words.push(dir.into());
        words.extend(program);
        words
    }

    /// Says plainly what is not protected, and refuses where that can't work.
    pub fn check(&self) -> Result<()> {
        if let Self::None(why) = self {
            say(format!(
                "no network namespace here ({why}): while the cluster runs, the webhook servers of Cluster API \
                 and its simulated clusters listen on every address of this machine (ports {}-{}, {}, {} and up)",
                ports::BOOTSTRAP_WEBHOOKS,
                ports::CORE_WEBHOOKS,
                ports::SIMULATION,
                ports::FIRST_WORKLOAD
            ));
            ports::check_free()?;
        }
        Ok(())
    }
}

/// The command of its words.
#[must_use]
pub fn command(words: &[OsString]) -> Command {
    let (program, arguments) = words
        .split_first()
        .map_or((OsString::new(), &[][..]), |(first, rest)| (first.clone(), rest));
    let mut command = Command::new(program);
    command.args(arguments).env_remove(INSIDE);
    command
}

/// Where a program that called [`enter`] finds itself.
#[derive(Debug)]
pub enum Place {
    /// Inside: go on, with a directory of one's own and with all that was built.
    Inside(RunDir, Built),
    /// Outside, and the same program has run inside: end with its code.
    Outside(ExitCode),
}

/// Runs the calling program again inside, with the same arguments, and waits for it.
///
/// To be called first, before threads or connections. Inside it only returns.
/// `beside` are programs that are built too.
pub fn enter(name: &str, infrastructure: Infrastructure, beside: &[Binary]) -> Result<Place> {
    let cache = Cache::locate()?;
    if let Some(name) = std::env::var_os(INSIDE) {
        let name: ClusterName = name.to_string_lossy().parse()?;
        let run = RunDir::of(&cache, &name);
        let built = arrive(&run)?;
        return Ok(Place::Inside(run, built));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let built = prepare(&cache, infrastructure, beside).await?;
        let name: ClusterName = format!("{name}-{}", std::process::id()).parse()?;
        let isolation = Isolation::available();
        isolation.check()?;
        let run = RunDir::of(&cache, &name);
        let status = run_inside(&run, &built, &isolation, &name).await;
        run.remove()?;
        let code = status?.code().and_then(|code| u8::try_from(code).ok());
        Ok(Place::Outside(code.map_or(ExitCode::FAILURE, ExitCode::from)))
    })
}

/// What is to be done outside, where there is a network: checks, builds, cleaning up.
pub async fn prepare(cache: &Cache, infrastructure: Infrastructure, beside: &[Binary]) -> Result<Built> {
    prerequisites::tools()?;
    let built = gobuild::build(cache, infrastructure, beside).await?;
    for name in RunDir::sweep(cache)? {
        say(format!("removed what the killed cluster `{name}` left"));
    }
    Ok(built)
}

/// What is to be done first inside: bring up loopback, read what was built.
pub fn arrive(run: &RunDir) -> Result<Built> {
    // Only the first process of a namespace finds loopback down.
    if std::process::id() == 1 {
        let output = Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .output()
            .context("starting ip")?;
        if !output.status.success() {
            bail!("ip link set lo up: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
    }
    let path = run.built();
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

async fn run_inside(run: &RunDir, built: &Built, isolation: &Isolation, name: &ClusterName) -> Result<ExitStatus> {
    let lock = run.create()?;
    fs::write(run.built(), serde_json::to_vec(built)?)?;
    let program = std::iter::once(std::env::current_exe()?.into_os_string()).chain(std::env::args_os().skip(1));
    let mut words: Vec<OsString> = ["setpriv", "--pdeathsig", "KILL", "--"].map(OsString::from).into();
    words.extend(isolation.wrap(program));
    let mut command: tokio::process::Command = command(&words).into();
    // The lock goes in as stdin: it is held for as long as anybody in there lives.
    let mut child = command
        .env(INSIDE, name.to_string())
        .stdin(lock.share()?)
        .kill_on_drop(true)
        .spawn()
        .context("starting setpriv")?;
    drop(lock);

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        status = child.wait() => return Ok(status?),
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    // `unshare` keeps signals to itself: its child is who can end in good order.
    if let Some(pid) = child.id() {
        let inner = procfs::children(pid).first().map(|stat| stat.identity);
        let inner = inner
            .filter(|_| !matches!(isolation, Isolation::None(_)))
            .or_else(|| procfs::Identity::of(pid));
        if let Some(inner) = inner {
            inner.signal(Signal::TERM)?;
        }
    }
    tokio::select! {
        status = child.wait() => return Ok(status?),
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = tokio::time::sleep(GRACE) => {}
    }
    child.start_kill()?;
    Ok(child.wait().await?)
}
