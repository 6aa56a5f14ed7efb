//! The demo: a Cluster is upgraded by two minors before one's eyes, and what happened is checked.
//!
//! Everything that is shown as typed is run for real, and everything that is shown as answered
//! is what the API server answered.
//!
//! Nothing outside can reach the management cluster, so [`run`] starts it and then goes on as
//! [`inside`], in a process beside it.

mod catalog;
mod failed;
mod screen;
mod shell;
mod summary;
mod table;
mod watch;

use std::{
    ffi::OsString,
    fs,
    os::unix::process::ExitStatusExt,
    process::{ExitCode, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use futures::FutureExt;
use rustix::process::Signal;
use serde_json::Value;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::interval,
};

use self::{
    catalog::Images,
    screen::Screen,
    shell::{Shell, root},
    summary::{Journey, summary},
    watch::Live,
};
use crate::{
    cache::Cache,
    components::RuntimeSdk,
    failure::told,
    fixtures::COMES_UP,
    gobuild::Built,
    instar, isolation, kubeconfig,
    ledger::Pool,
    manifests,
    mgmt::Setup,
    progress::{say, spoken},
    rundir::{ClusterName, RunDir},
    supervisor::{self, Supervisor},
};

/// The name of the management cluster that the demo starts.
pub const NAME: &str = "demo";

/// Where in the management cluster it happens; the Cluster and its class are called so too.
const NAMESPACE: &str = "demo";
const CLUSTER: &str = "demo";

const CATALOG: &str = "config/samples/catalog-in-memory.yaml";
const CLASS: &str = "e2e/fixtures/demo-class.yaml";
const TOPOLOGY: &str = "e2e/fixtures/demo-cluster.yaml";

const FIRST: &str = "v1.33.5";
const BETWEEN: &str = "v1.34.3";
const LAST: &str = "v1.35.4";
/// What is typed for the last one: the catalog knows which it is.
const PREFIX: &str = "v1.35";

/// How long the upgrade may take; a busy machine takes half of it.
const UPGRADE: Duration = Duration::from_mins(6);

/// How long nothing happens in a log before it says so.
const QUIET: Duration = Duration::from_secs(20);

/// The exit code of a program that was interrupted.
const INTERRUPTED: u8 = 130;

/// The demo from outside: builds, starts the management cluster, and shows the rest from inside.
pub async fn run(cache: &Cache, name: &ClusterName) -> Result<ExitCode> {
    let began = Instant::now();
    let screen = Screen::new()?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;

    let building = screen.stage(1, "Build what the cache lacks")?;
    let program = instar::program()?;
    tokio::select! {
        built = isolation::prepare(cache) => built.map(|_| ())?,
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
    let up = supervisor::up(cache, name, RuntimeSdk::On, Setup::Instar).await;
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
           make shell NAME={name}\n  kubectl get clusters,machines -n {NAMESPACE}\n  kubectl get kr\n\n\
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
        "demo-inside".into(),
        name.to_string().into(),
    ]);
    let mut words = Vec::from(tied());
    words.extend(supervisor.isolation.join(supervisor.inner()?.pid, root(), program));
    let mut command: tokio::process::Command = isolation::command(&words).into();
    command.kill_on_drop(true);
    Ok(command)
}

/// The demo from inside: all that happens on the management cluster.
pub async fn inside(cache: &Cache, name: &ClusterName) -> Result<()> {
    let run = RunDir::of(cache, name);
    let built: Built = serde_json::from_str(&fs::read_to_string(run.built())?)?;
    let shell = Shell::new(run, built);
    let Err(error) = script(&shell).await else {
        return Ok(());
    };
    match failed::dump(&shell, NAMESPACE).await {
        Ok(dir) => bail!("{}\ndump: {}", told(&error), dir.display()),
        Err(why) => bail!("{}\nno dump: {}", told(&error), told(&why)),
    }
}

async fn script(shell: &Shell) -> Result<()> {
    let mut screen = Screen::new()?;
    let images = Images::read(&fs::read_to_string(root().join(CATALOG)).context(CATALOG)?)?;
    let client = kubeconfig::client(&shell.run_dir().kubeconfig()).await?;

    let began = screen.stage(3, "Apply a catalog: one row for each Kubernetes version")?;
    shell.do_kubectl(&screen, &["apply", "-f", CATALOG]).await?;
    shell.do_kubectl(&screen, &["get", "kr"]).await?;
    screen.took(began)?;

    let began = screen.stage(4, "Wire a ClusterClass, so that it renders what a Cluster is pinned to")?;
    shell.do_kubectl(&screen, &["create", "namespace", NAMESPACE]).await?;
    shell
        .do_kubectl(&screen, &["apply", "-n", NAMESPACE, "-f", CLASS])
        .await?;
    let wired = shell
        .apply_from_instar(&screen, &["wire", "demo", "-n", NAMESPACE])
        .await?;
    screen.say(what_was_wired(&wired)?)?;
    screen.took(began)?;

    let title = format!("Create a Cluster at {FIRST}: 3 control plane machines, and two pools of 2");
    let began = screen.stage(5, &title)?;
    screen.say(format!(
        "Its machines exist in memory only and have no image: the {} of\n\
         their VM stands for it, and each row of the catalog sets another one.\n\
         Cluster API takes 30 s to connect to a cluster that is new.",
        images.field()
    ))?;
    let mut live = Live::start(&client, NAMESPACE, CLUSTER).await?;
    shell
        .do_kubectl(&screen, &["apply", "-n", NAMESPACE, "-f", TOPOLOGY])
        .await?;
    watched(&mut screen, &mut live, &images, FIRST, COMES_UP).await?;
    let coming_up = screen.took(began)?;

    let began = screen.stage(
        6,
        &format!("Upgrade it by two minors, in one edit: {FIRST} to {PREFIX}"),
    )?;
    let edit = shell
        .try_kubectl(&screen, &edit_version(PREFIX).each_ref().map(String::as_str))
        .await?;
    ensure!(edit.succeeded, "the edit to {PREFIX} was refused");
    watched(&mut screen, &mut live, &images, LAST, UPGRADE).await?;
    let upgrade = screen.took(began)?;

    let began = screen.stage(7, &format!("Try what is forbidden: back to {FIRST}"))?;
    let edit = shell
        .try_kubectl(&screen, &edit_version(FIRST).each_ref().map(String::as_str))
        .await?;
    ensure!(!edit.succeeded, "the edit back to {FIRST} was not refused");
    screen.took(began)?;

    screen.stage(8, "What happened")?;
    what_happened(&screen, &live, &images)?;
    screen.say(format!("coming up      {}", spoken(coming_up)))?;
    screen.say(format!("the upgrade    {}", spoken(upgrade)))
}

/// The words of the edit, after `kubectl`.
fn edit_version(version: &str) -> [String; 8] {
    let patch = format!(r#"{{"spec":{{"topology":{{"version":"{version}"}}}}}}"#);
    let words = [
        "patch",
        "cluster",
        CLUSTER,
        "-n",
        NAMESPACE,
        "--type=merge",
        "-p",
        &patch,
    ];
    words.map(ToOwned::to_owned)
}

/// What a wired class has that the class had not.
fn what_was_wired(class: &str) -> Result<String> {
    let documents = manifests::documents(class)?;
    let class = documents.first().context("`instar wire` printed nothing")?;
    let list = |pointer: &str| {
        let found = class.pointer(pointer).and_then(Value::as_array);
        found.into_iter().flatten()
    };
    let names = |pointer: &str| {
        let names = list(pointer).filter_map(|item| item.as_str().or_else(|| item["name"].as_str()));
        names.collect::<Vec<_>>().join(", ")
    };
    let (patches, versions) = (names("/spec/patches"), names("/spec/kubernetesVersions"));
    ensure!(
        !patches.is_empty() && !versions.is_empty(),
        "`instar wire` wired nothing"
    );
    Ok(format!(
        "wired: the patches {patches}\nversions to choose a path from: {versions}"
    ))
}

/// Shows the machines until all of them run at a version.
async fn watched(
    screen: &mut Screen,
    live: &mut Live,
    images: &Images,
    version: &str,
    deadline: Duration,
) -> Result<()> {
    let began = Instant::now();
    let mut before = live.rows(images)?;
    let mut spoke = began;
    let machines = journeys().iter().map(|journey| journey.replicas).sum();
    // The clock below the table goes on when nothing else does.
    let mut second = interval(Duration::from_secs(1));
    loop {
        let now = live.rows(images)?;
        screen.machines(&before, &now, began.elapsed(), images.field())?;
        if live.is_done(&now, version, machines)? {
            screen.leave();
            return Ok(());
        }
        if before != now {
            spoke = Instant::now();
        } else if spoke.elapsed() > QUIET {
            spoke = Instant::now();
            screen.still(&format!("waiting; {}", spoken(began.elapsed())))?;
        }
        if began.elapsed() > deadline {
            let seen: Vec<_> = now
                .iter()
                .map(|row| format!("{} ({}, {})", row.machine, row.version, row.phase))
                .collect();
            bail!(
                "the Cluster is not at {version} after {}; its machines: {}",
                spoken(deadline),
                seen.join(", ")
            );
        }
        before = now;
        tokio::select! {
            changed = live.changed() => changed?,
            _ = second.tick() => {}
            () = screen.resized() => {}
        }
    }
}

/// What is to happen to each pool of the Cluster.
fn journeys() -> [Journey; 3] {
    let workers = |name: &str| Journey {
        pool: Pool::Workers(name.to_owned()),
        replicas: 2,
        stops: &[FIRST, LAST],
    };
    let control_plane = Journey {
        pool: Pool::ControlPlane,
        replicas: 3,
        stops: &[FIRST, BETWEEN, LAST],
    };
    [control_plane, workers("md-0"), workers("md-1")]
}

/// Tells what happened, and fails if it should not have.
fn what_happened(screen: &Screen, live: &Live, images: &Images) -> Result<()> {
    let machines = live.ledger().machines_ever(CLUSTER)?;
    let templates = live.ledger().templates_ever(CLUSTER)?;
    let image = |template: &crate::ledger::TemplateRecord| images.of(&template.spec).map(ToOwned::to_owned);
    let summary = summary(&machines, &templates, &journeys(), &images.by_version, image);
    for line in &summary.lines {
        screen.say(line)?;
    }
    ensure!(
        summary.problems.is_empty(),
        "it should not have happened like this: {}",
        summary.problems.join("; ")
    );
    Ok(())
}
