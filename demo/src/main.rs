//! The demo: two Clusters, one of a ClusterClass and a classic one, are upgraded by two minors at the
//! same time before one's eyes, and what happened is checked.
//!
//! Everything that is shown as typed is run for real, and everything that is shown as answered
//! is what the API server answered.
//!
//! Nothing outside can reach the management cluster, so [`run`] starts it and then goes on as
//! [`script::inside`], in a process beside it.

mod catalog;
mod clusters;
mod failed;
mod kube_ovn;
mod screen;
mod script;
mod shell;
mod summary;
mod table;
mod watch;

use std::{
    ffi::OsString,
    os::unix::process::ExitStatusExt,
    process::{ExitCode, ExitStatus},
    time::Instant,
};

use anyhow::{Context, Result};
use futures::FutureExt;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use crate::{screen::Screen, shell::root};
use clap::Parser;
use instar_e2e::{
    cache::Cache,
    choose_tls,
    components::RuntimeSdk,
    failure::describe,
    infrastructure::Infrastructure,
    instar::{self, Setup},
    isolation,
    progress::{say, spoken},
    rundir::{ClusterName, RunDir},
    supervisor::{self, Supervisor},
};

/// Upgrade two real Clusters by two minors before your eyes.
#[derive(Debug, Parser)]
#[command(name = "demo")]
struct Arguments {
    /// The management cluster's name; one that runs is taken down first.
    #[arg(long, default_value = "demo")]
    name: ClusterName,
    /// Set by the program for the half of itself that runs beside the management cluster.
    #[arg(long, hide = true)]
    inside: bool,
}

/// Where in the management cluster it happens; the Cluster of a class and its class are called so too.
const NAMESPACE: &str = "demo";

/// The exit code of a program that was interrupted.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    choose_tls();
    match start(Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            say(format!("demo: {}", describe(&error)));
            ExitCode::FAILURE
        }
    }
}

async fn start(Arguments { name, inside }: Arguments) -> Result<ExitCode> {
    let cache = Cache::locate()?;
    if inside {
        script::inside(&cache, &name).await?;
        return Ok(ExitCode::SUCCESS);
    }
    run(&cache, &name).await
}

/// The demo from outside: builds, starts the management cluster, and shows the rest from inside.
async fn run(cache: &Cache, name: &ClusterName) -> Result<ExitCode> {
    let began = Instant::now();
    let screen = Screen::new()?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;

    let building = screen.stage(1, "Build what the cache lacks")?;
    let program = instar::program()?;
    tokio::select! {
        built = isolation::prepare(cache, Infrastructure::InMemory, &[]) => built.map(|_| ())?,
        _ = interrupt.recv() => return interrupted("interrupted: what is built stays in the cache, and nothing runs"),
        _ = terminate.recv() => return interrupted("terminated: what is built stays in the cache, and nothing runs"),
    }
    screen.say(format!("Instar: {}", program.display()))?;
    screen.took(building)?;

    let starting = screen.stage(
        2,
        "Start a management cluster: Kubernetes, Cluster API, and Instar from config/default",
    )?;
    if RunDir::of(cache, name).is_live()? {
        screen.say(format!(
            "`{name}` runs from before: it is taken down first, with all that is on it"
        ))?;
        supervisor::down(cache, name).await?;
    }
    let up = supervisor::up(cache, name, Infrastructure::InMemory, RuntimeSdk::On, Setup::Instar).await;
    let stopped = interrupt.recv().now_or_never().is_some() || terminate.recv().now_or_never().is_some();
    match up {
        Err(_) if stopped => return interrupted("interrupted: the management cluster was taken down again"),
        Ok(_) if stopped => return interrupted(how_to_go_on(name, "interrupted")),
        up => up?,
    };
    screen.took(starting)?;

    let mut inside = beside(cache, name)?.spawn().context("starting nsenter")?;
    let ended = tokio::select! {
        ended = inside.wait() => Some(ended?),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    let Some(status) = ended.filter(|status| !was_interrupted(*status)) else {
        // It may have had the same signal from the terminal.
        let _ = inside.kill().await;
        return interrupted(how_to_go_on(name, "interrupted"));
    };
    if !status.success() {
        say(how_to_go_on(name, "the demo failed"));
        return Ok(ExitCode::FAILURE);
    }
    screen.say(format!("the whole demo   {}", spoken(began.elapsed())))?;
    screen.say(format!(
        "\nThe management cluster `{name}` still runs. To look around:\n\n  \
           make shell NAME={name}\n  kubectl get clusters,clusterupgrades,machines -n {NAMESPACE}\n  kubectl get kr\n\n\
         To remove all of it:\n\n  make down NAME={name}"
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn how_to_go_on(name: &ClusterName, what: &str) -> String {
    format!(
        "{what}: the management cluster `{name}` still runs; `make shell NAME={name}` opens a shell beside it, \
         `make down NAME={name}` removes it"
    )
}

#[expect(clippy::unnecessary_wraps, reason = "it is what its callers return")]
fn interrupted(what: impl std::fmt::Display) -> Result<ExitCode> {
    // Behind the `^C` that the terminal writes.
    say(format!("\n{what}"));
    Ok(ExitCode::from(INTERRUPTED))
}

fn was_interrupted(status: ExitStatus) -> bool {
    let signals = [Signal::INT, Signal::TERM].map(Signal::as_raw);
    status.signal().is_some_and(|signal| signals.contains(&signal))
}

/// The second half, as a command that runs beside the cluster and ends with this process.
fn beside(cache: &Cache, name: &ClusterName) -> Result<tokio::process::Command> {
    let run = RunDir::of(cache, name);
    let supervisor = Supervisor::of(&run)?;
    let tied = || ["setpriv", "--pdeathsig", "KILL", "--"].map(OsString::from);
    let mut program = Vec::from(tied());
    program.extend([
        std::env::current_exe()?.into_os_string(),
        "--inside".into(),
        "--name".into(),
        name.to_string().into(),
    ]);
    let mut words = Vec::from(tied());
    words.extend(supervisor.isolation.join(supervisor.inner()?.pid, root(), program));
    let mut command: tokio::process::Command = isolation::command(&words).into();
    command.kill_on_drop(true);
    Ok(command)
}
