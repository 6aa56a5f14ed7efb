//! What happens on the management cluster, from the catalog to the summary.

use std::{
    collections::BTreeSet,
    fmt, fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::time::interval;

use crate::{
    NAMESPACE,
    catalog::Images,
    clusters::{FIRST, LAST, PREFIX, Subject, pool_paths},
    failed, kube_ovn,
    screen::Screen,
    shell::{Shell, root},
    summary::summary,
    watch::{Live, Look},
};
use instar_e2e::{
    cache::Cache,
    failure::describe,
    gobuild::Built,
    kubeconfig, manifests,
    progress::spoken,
    rundir::{ClusterName, RunDir},
    support::{fixtures::COMES_UP, ledger::Pool},
};

const CATALOG: &str = "config/samples/catalog-in-memory.yaml";
const CLASS: &str = "demo/fixtures/class.yaml";

/// A pool of the classic Cluster whose machine never starts.
const SICK_POOL: &str = "demo/fixtures/sick.yaml";
const SICK: &str = "sick";
const SICK_TEMPLATE: &str = "classic-sick";

/// What an upgrade says that a check holds.
const HELD: &str = "check cluster-available failed";

/// How long the upgrades may take; a busy machine takes half of it.
const UPGRADE: Duration = Duration::from_mins(6);

/// How long nothing happens in a log before it says so.
const QUIET: Duration = Duration::from_secs(20);

/// The demo from inside: all that happens on the management cluster.
pub async fn inside(cache: &Cache, name: &ClusterName) -> Result<()> {
    let run = RunDir::of(cache, name);
    let built: Built = serde_json::from_str(&fs::read_to_string(run.built())?)?;
    let shell = Shell::new(run, built);
    let Err(error) = script(&shell).await else {
        return Ok(());
    };
    match failed::dump(&shell, NAMESPACE).await {
        Ok(dir) => bail!("{}\ndump: {}", describe(&error), dir.display()),
        Err(why) => bail!("{}\nno dump: {}", describe(&error), describe(&why)),
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

    let title = format!("Create two Clusters at {FIRST}, each of 3 control plane machines and two pools of 2");
    let began = screen.stage(5, &title)?;
    screen.say(format!(
        "{} is of that class; every object of {} was written by hand.\n\
         Their machines exist in memory only and have no image: the {} of\n\
         their VM stands for it, and each row of the catalog sets another one.\n\
         Cluster API takes 30 s to connect to a cluster that is new.",
        Subject::Topology.name(),
        Subject::Classic.name(),
        images.field()
    ))?;
    let mut live = Live::start(&client, NAMESPACE).await?;
    for subject in Subject::BOTH {
        shell
            .do_kubectl(&screen, &["apply", "-n", NAMESPACE, "-f", subject.file()])
            .await?;
    }
    watched(&mut screen, &mut live, &images, Until::At(FIRST), COMES_UP).await?;
    let coming_up = screen.took(began)?;
    let surplus = surplus(&live)?;

    let title = format!(
        "A release that takes the network plugin of {} along",
        Subject::Classic.name()
    );
    let began = screen.stage(6, &title)?;
    let _operator = kube_ovn::install(shell, &screen, &client).await?;
    screen.took(began)?;

    let began = screen.stage(
        7,
        &format!("A sick cluster is not upgraded: {FIRST} to {PREFIX}, and one machine never starts"),
    )?;
    sick(shell, &mut screen, &mut live, &images).await?;
    screen.took(began)?;

    let began = screen.stage(
        8,
        &format!("Upgrade both by two minors, in one edit each: {FIRST} to {PREFIX}"),
    )?;
    screen.say(format!(
        "{} was edited already. It begins by itself when it is mended.",
        Subject::Classic.name()
    ))?;
    shell
        .do_kubectl(&screen, &["delete", "machinedeployment", SICK, "-n", NAMESPACE])
        .await?;
    let edited = edit(shell, &screen, Subject::Topology, PREFIX).await?;
    ensure!(
        edited,
        "the edit of {} to {PREFIX} was refused",
        Subject::Topology.name()
    );
    watched(&mut screen, &mut live, &images, Until::At(LAST), UPGRADE).await?;
    let upgrade = screen.took(began)?;

    let began = screen.stage(9, &format!("Try what is forbidden: back to {FIRST}"))?;
    let edit = edit(shell, &screen, Subject::Topology, FIRST).await?;
    ensure!(!edit, "the edit back to {FIRST} was not refused");
    screen.took(began)?;

    screen.stage(10, "What happened")?;
    for subject in Subject::BOTH {
        what_happened(&screen, &live, &images, subject, &surplus)?;
    }
    kube_ovn::what_happened(shell, &screen, &client, &live).await?;
    shell
        .do_kubectl(&screen, &["get", "clusterupgrades", "-n", NAMESPACE])
        .await?;
    screen.say(format!("coming up      {}", spoken(coming_up)))?;
    screen.say(format!("the upgrades   {}", spoken(upgrade)))
}

/// Asks for an upgrade of the classic Cluster while a machine of it never starts, until Instar says what holds it.
async fn sick(shell: &Shell, screen: &mut Screen, live: &mut Live, images: &Images) -> Result<()> {
    let classic = Subject::Classic;
    let cluster = format!("cluster/{}", classic.name());
    shell
        .do_kubectl(screen, &["apply", "-n", NAMESPACE, "-f", SICK_POOL])
        .await?;
    let unavailable = "--for=condition=Available=False";
    shell
        .do_kubectl(
            screen,
            &["wait", &cluster, "-n", NAMESPACE, unavailable, "--timeout=50s"],
        )
        .await?;
    let edited = edit(shell, screen, classic, PREFIX).await?;
    ensure!(edited, "the edit of {} to {PREFIX} was refused", classic.name());
    watched(screen, live, images, Until::Held, COMES_UP).await?;
    let why = "jsonpath={.items[*].status.health[0].message}{\"\\n\"}";
    shell
        .do_kubectl(screen, &["get", "clusterupgrades", "-n", NAMESPACE, "-o", why])
        .await
}

/// Asks for a version, as one would type it; whether the API server took it.
async fn edit(shell: &Shell, screen: &Screen, subject: Subject, version: &str) -> Result<bool> {
    let words = subject.edit(NAMESPACE, version);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Ok(shell.try_kubectl(screen, &words).await?.succeeded)
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

/// How long it is watched what happens.
#[derive(Debug, Clone, Copy)]
enum Until {
    /// Both Clusters are at a version.
    At(&'static str),
    /// A check holds an upgrade.
    Held,
}

impl Until {
    fn is_over(self, live: &Live, now: &Look) -> Result<bool> {
        match self {
            Self::At(version) => live.is_done(now, version),
            Self::Held => Ok(now.upgrades.iter().any(|line| line.contains(HELD))),
        }
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(version) => write!(f, "the Clusters are not at {version}"),
            Self::Held => f.write_str("no check holds the upgrade"),
        }
    }
}

/// Shows the machines and the upgrades until something is so.
async fn watched(
    screen: &mut Screen,
    live: &mut Live,
    images: &Images,
    until: Until,
    deadline: Duration,
) -> Result<()> {
    let began = Instant::now();
    let mut before = live.look(images)?;
    let mut spoke = began;
    // The clock below the table goes on when nothing else does.
    let mut second = interval(Duration::from_secs(1));
    loop {
        let now = live.look(images)?;
        screen.show(&before, &now, began.elapsed(), images.field())?;
        if until.is_over(live, &now)? {
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
                .rows
                .iter()
                .map(|row| format!("{} ({}, {})", row.machine, row.version, row.phase))
                .collect();
            bail!(
                "{until} after {}; {}; their machines: {}",
                spoken(deadline),
                now.upgrades.join("; "),
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

/// The machines that are gone before anything is upgraded: in a hurry, Cluster API makes one too many
/// for a new cluster, and takes it away again.
fn surplus(live: &Live) -> Result<BTreeSet<String>> {
    let mut surplus = BTreeSet::new();
    for subject in Subject::BOTH {
        let machines = live.ledger().machines_ever(subject.name())?.into_iter();
        surplus.extend(machines.filter(|machine| machine.deleted).map(|machine| machine.name));
    }
    Ok(surplus)
}

/// Tells what happened, and fails if it should not have.
fn what_happened(
    screen: &Screen,
    live: &Live,
    images: &Images,
    subject: Subject,
    surplus: &BTreeSet<String>,
) -> Result<()> {
    let name = subject.name();
    let mut machines = live.ledger().machines_ever(name)?;
    // The pool that was sick ran nothing.
    let sick = Pool::Workers(SICK.to_owned());
    machines.retain(|machine| !surplus.contains(&machine.name) && machine.pool != sick);
    let mut templates = live.ledger().templates_ever(name)?;
    templates.retain(|template| template.name != SICK_TEMPLATE);
    let image =
        |template: &instar_e2e::support::ledger::TemplateRecord| images.of(&template.spec).map(ToOwned::to_owned);
    let summary = summary(&machines, &templates, &pool_paths(), &images.by_version, image);
    screen.say(name)?;
    for line in &summary.lines {
        screen.say(format!("  {line}"))?;
    }
    ensure!(
        summary.problems.is_empty(),
        "it should not have happened to {name} like this: {}",
        summary.problems.join("; ")
    );
    Ok(())
}
