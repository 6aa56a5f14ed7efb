//! All measurements, and the tables that are printed.

use std::{collections::BTreeMap, fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use instar_benches::process;
use rustls::RootCertStore;

use crate::{
    bodies::Body,
    callgrind,
    client::{Client, Protocol},
    decide, environment, go,
    rounds::{self, Plan, Round, Spread},
    server::{self, Server},
};

/// What to measure.
#[derive(Args)]
pub(crate) struct Run {
    /// How many rounds each server gets with each body
    #[arg(long, default_value_t = 4)]
    rounds: usize,
    /// How long one takes
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Measure only the requests of one body, by its name in the table, for a profiler to look at
    #[arg(long, value_name = "NAME", conflicts_with = "baseline")]
    body: Option<String>,
    /// Write the instructions that were counted as those that later runs are held against
    #[arg(long)]
    baseline: bool,
}

/// The budgets: of which body, microseconds of CPU time for a request, instructions for a decision.
const BUDGETS: [(&str, f64, u64); 2] = [("template, allowed", 25.0, 90_000), ("control plane", 40.0, 200_000)];
/// MiB at most, under the load of bodies that aren't large.
const MEMORY: f64 = 10.0;
/// A body with more bytes is large: it is the Cluster's, and twenty of them at once are the most memory.
const LARGE: usize = 100_000;
/// A server against itself; beyond it the machine is too restless to compare anything.
const CONTROL: std::ops::RangeInclusive<f64> = 0.95..=1.05;
/// How often that is tried.
const CONTROLS: usize = 3;
const RESTLESS: &str = "CPU times and ratios of this run are void: the same server twice did not cost the same; try \
                        again when the machine does nothing else";

fn baseline_file() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("baseline.json")
}

pub(crate) fn run(run: &Run) -> Result<()> {
    for line in environment::lines() {
        println!("{line}");
    }
    let mut bodies = decide::bodies();
    let table = crate::bodies::all().len();
    let counted = match run.body {
        Some(_) => Vec::new(),
        None => decisions(run, &bodies, table)?,
    };

    let plan = Plan {
        rounds: run.rounds,
        time: Duration::try_from_secs_f64(run.seconds)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    bodies.truncate(table);
    if let Some(name) = &run.body {
        bodies.retain(|body| body.name == name);
    }
    ensure!(!bodies.is_empty(), "--body: no body of the table has this name");
    let (mut missed, is_quiet) = runtime.block_on(requests(&bodies, plan))?;
    missed.extend(counted);
    println!("\nload average at the end: {}", environment::load());
    println!("\nbudgets");
    for (name, figure, budget, unit) in missed {
        let verdict = if figure <= budget { "holds" } else { "MISSED" };
        println!("  {name:<42} {figure:>10.1} of {budget:>8} {unit:<13} {verdict}");
    }
    ensure!(is_quiet, RESTLESS);
    Ok(())
}

/// A budget: of what, the figure, the limit, the unit.
type Held = (String, f64, f64, &'static str);

fn decisions(run: &Run, bodies: &[Body], table: usize) -> Result<Vec<Held>> {
    println!("\ndecisions, in process: instructions of the C library's malloc, serde_json, the rules, the router");
    if callgrind::version().is_none() {
        println!("  {}", callgrind::MISSING);
        return Ok(Vec::new());
    }
    let baseline: BTreeMap<String, u64> = fs::read(baseline_file())
        .ok()
        .map(|text| serde_json::from_slice(&text))
        .transpose()
        .context("benches/baseline.json can't be read")?
        .unwrap_or_default();
    decide::check_all(bodies)?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("body.json");
    let mut counted = BTreeMap::new();
    let mut held = Vec::new();
    println!(
        "  {:<20} {:>8} {:>13} {:>9} {:>10} {:>9} {:>8}",
        "body", "bytes", "instructions", "per byte", "baseline", "us", "per ns"
    );
    for (place, body) in bodies.iter().enumerate() {
        if place == table {
            println!("  growth");
        }
        let bytes = body.text.len();
        let times = if bytes > 40_000 { (10, 60) } else { (100, 1100) };
        let instructions = {
            fs::write(&file, &body.text)?;
            callgrind::instructions(body.route.path(), &file, times)?
        };
        let key = format!("{}, {bytes} bytes", body.name);
        let difference = baseline.get(&key).map_or_else(
            || "none".to_owned(),
            |before| format!("{:+.1} %", (instructions as f64 / *before as f64 - 1.0) * 100.0),
        );
        let time = decide::microseconds(body)?;
        println!(
            "  {:<20} {bytes:>8} {instructions:>13} {:>9.1} {difference:>10} {time:>9.1} {:>8.1}",
            body.name,
            instructions as f64 / bytes as f64,
            instructions as f64 / time / 1e3,
        );
        counted.insert(key, instructions);
        let budget = BUDGETS.iter().find(|(name, ..)| place < table && *name == body.name);
        if let Some((name, _, budget)) = budget {
            held.push((
                format!("{name}: decision"),
                instructions as f64,
                *budget as f64,
                "instructions",
            ));
        }
    }
    if run.baseline {
        fs::write(
            baseline_file(),
            format!("{}\n", serde_json::to_string_pretty(&counted)?),
        )?;
        println!("  written to benches/baseline.json");
    }
    Ok(held)
}

struct Contenders {
    ours: Server,
    again: Server,
    theirs: Vec<(&'static str, Server)>,
}

impl Contenders {
    fn start(directory: &Path) -> Result<Self> {
        let own = || Server::start(Command::new(std::env::current_exe()?).arg("serve").arg(directory));
        let (ours, again) = (own()?, own()?);
        let mut theirs = Vec::new();
        for go::Comparator { name, built } in go::comparators(directory) {
            match built {
                Ok(program) => theirs.push((name, Server::start(Command::new(program).arg(directory))?)),
                Err(why) => println!("\n{name} is left out: {why}"),
            }
        }
        Ok(Self { ours, again, theirs })
    }

    /// The same bytes must get the same verdicts, else there is nothing to compare.
    async fn agree(&self, roots: &RootCertStore, bodies: &[Body]) -> Result<()> {
        for body in bodies {
            let all = [("ours", &self.ours), ("ours, again", &self.again)].into_iter();
            let theirs = self.theirs.iter().map(|(name, server)| (*name, server));
            for (name, server) in all.chain(theirs.filter(|_| body.compared)) {
                let client = Client::new(server.address, Protocol::Http1, roots, body)?;
                decide::check(body, &client.ask().await?).context(name)?;
            }
        }
        Ok(())
    }
}

/// The budgets, and whether the machine was quiet enough for them.
async fn requests(bodies: &[Body], plan: Plan) -> Result<(Vec<Held>, bool)> {
    let directory = tempfile::tempdir()?;
    let roots = server::certificate(directory.path())?;
    let contenders = Contenders::start(directory.path())?;
    let Contenders { ours, again, theirs } = &contenders;
    println!("\nready in {:.0} ms", ours.started_in.as_secs_f64() * 1e3);
    let idle = process::memory(ours.pid())?;
    contenders.agree(&roots, bodies).await?;

    println!(
        "\nrequests: CPU time of the server, us for each; {} rounds of {:?}, there and back",
        plan.rounds, plan.time
    );
    let mut held = Vec::new();
    let first = bodies.get(1).or_else(|| bodies.first()).context("no body")?;
    let is_quiet = control([ours, again], &roots, first, plan).await?;
    if !is_quiet {
        println!("  {RESTLESS}");
    }

    println!(
        "  {:<20} {:>8} {:<22} {:<22} {:>9} {:>9}",
        "body", "bytes", "HTTP/1.1, 8 kept", "HTTP/2, 2 x 10", "1.1 rps", "2 rps"
    );
    let mut compared = Vec::new();
    let mut before_large = None;
    for body in bodies {
        if body.text.len() > LARGE && before_large.is_none() {
            before_large = Some(process::memory(ours.pid())?);
        }
        let mut servers = vec![ours];
        servers.extend(theirs.iter().filter(|_| body.compared).map(|(_, server)| server));
        let mut http1 = rounds::run(&servers, Protocol::Http1, &roots, body, plan)
            .await?
            .into_iter();
        let own = http1.next().context("no rounds")?;
        let http2 = rounds::run(&[ours], Protocol::Http2, &roots, body, plan).await?;
        let (cpu1, cpu2) = (
            spread(&own, |round| round.cpu)?,
            spread(http2.iter().flatten(), |round| round.cpu)?,
        );
        println!(
            "  {:<20} {:>8} {:<22} {:<22} {:>9.0} {:>9.0}",
            body.name,
            body.text.len(),
            figure(&cpu1),
            figure(&cpu2),
            spread(&own, |round| round.per_second)?.median,
            spread(http2.iter().flatten(), |round| round.per_second)?.median,
        );
        if let Some((name, budget, _)) = BUDGETS.iter().find(|(name, ..)| *name == body.name) {
            held.push((format!("{name}: request, HTTP/1.1"), cpu1.median, *budget, "us of CPU"));
            held.push((format!("{name}: request, HTTP/2"), cpu2.median, *budget, "us of CPU"));
        }
        for ((name, _), rounds) in theirs.iter().zip(http1) {
            let cpu = spread(&rounds, |round| round.cpu)?;
            let ratio = rounds::ratio(&own, &rounds).context("no rounds")?;
            compared.push(format!(
                "  {:<20} {name:<20} {:<26} {}",
                body.name,
                figure(&cpu),
                times(&ratio)
            ));
        }
    }
    if !compared.is_empty() {
        println!(
            "\nbeside Go, HTTP/1.1: CPU time, us for each, and how many times ours (pairs of neighbouring rounds)"
        );
        for line in compared {
            println!("{line}");
        }
    }

    println!(
        "\nmemory, resident, MiB: {:<26} {:>6} {:>6} {:>6}",
        "", "idle", "now", "peak"
    );
    let in_the_end = process::memory(ours.pid())?;
    let under_load = before_large.unwrap_or(in_the_end);
    for (name, memory) in [("ours", in_the_end), ("ours, before the large bodies", under_load)] {
        println!(
            "  {name:<46} {:>6.1} {:>6.1} {:>6.1}",
            idle.now, memory.now, memory.peak
        );
    }
    for (name, server) in theirs {
        let memory = process::memory(server.pid())?;
        println!("  {name:<46} {:>6} {:>6.1} {:>6.1}", "", memory.now, memory.peak);
    }
    held.push(("memory under load".to_owned(), under_load.peak, MEMORY, "MiB"));
    Ok((held, is_quiet))
}

/// Measures a server against itself until that gives 1, and says whether it did: a machine is restless
/// for some seconds now and then.
async fn control(servers: [&Server; 2], roots: &RootCertStore, body: &Body, plan: Plan) -> Result<bool> {
    for _ in 0..CONTROLS {
        let rounds = rounds::run(&servers, Protocol::Http1, roots, body, plan).await?;
        let [one, other] = rounds.as_slice() else {
            bail!("two servers, and not two results")
        };
        let ratio = rounds::ratio(one, other).context("no rounds")?;
        println!("  ours against itself: {}", times(&ratio));
        if CONTROL.contains(&ratio.median) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn spread<'a>(rounds: impl IntoIterator<Item = &'a Round>, of: impl Fn(&Round) -> f64) -> Result<Spread> {
    Spread::of(rounds.into_iter().map(of)).context("no rounds")
}

fn figure(spread: &Spread) -> String {
    format!("{:.1} ({:.1}..{:.1})", spread.median, spread.lowest, spread.highest)
}

fn times(spread: &Spread) -> String {
    format!("{:.2} ({:.2}..{:.2})", spread.median, spread.lowest, spread.highest)
}
