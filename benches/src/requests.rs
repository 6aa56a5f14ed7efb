//! Requests by TLS, beside the servers in Go.

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::{Context, Result, bail};
use instar_benches::process;
use rustls::RootCertStore;

use crate::{
    bodies::Body,
    budgets::{Bound, Budget, MEMORY, RATIOS},
    callgrind,
    client::{Client, Protocol},
    decide, go,
    rounds::{self, Plan, Round, Spread},
    server::{self, Server},
};

/// A body with more bytes is large: it is the Cluster's, and twenty of them at once are the most memory.
const LARGE: usize = 100_000;
/// A server against itself; beyond it the machine is too restless to compare anything.
const CONTROL: std::ops::RangeInclusive<f64> = 0.95..=1.05;
/// How often that is tried.
const CONTROLS: usize = 3;
pub(crate) const RESTLESS: &str = "CPU times and ratios of this run are void: the same server twice did not cost the same; try \
                        again when the machine does nothing else";

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
                for protocol in Protocol::ALL {
                    let client = Client::new(server.address, protocol, roots, body)?;
                    decide::check(body, &client.ask().await?).context(name)?;
                }
            }
        }
        Ok(())
    }
}

/// The budgets, and whether the machine was quiet enough for those of time.
pub(crate) async fn requests(bodies: &[Body], plan: Plan) -> Result<(Vec<Budget>, bool)> {
    let directory = tempfile::tempdir()?;
    let roots = server::certificate(directory.path())?;
    let contenders = Contenders::start(directory.path())?;
    let Contenders { ours, again, theirs } = &contenders;
    println!("\nready in {:.0} ms", ours.started_in.as_secs_f64() * 1e3);
    let idle = process::memory(ours.pid())?;
    contenders.agree(&roots, bodies).await?;
    let counted = instructions(directory.path(), &roots, bodies).await?;

    println!(
        "\nrequests: CPU time of the server, us for each, and how many times ours (pairs of neighbouring rounds); {} rounds of {:?}, there and back",
        plan.rounds, plan.time
    );
    let first = bodies.get(1).or_else(|| bodies.first()).context("no body")?;
    let is_quiet = control([ours, again], &roots, first, plan).await?;
    if !is_quiet {
        println!("  {RESTLESS}");
    }
    println!(
        "  {:<20} {:>8} {:<9} {:<20} {:>12} {:<26} {:<20} {:>8}",
        "body", "bytes", "protocol", "server", "instructions", "us", "times ours", "rps"
    );
    let mut held = Vec::new();
    let mut before_large = None;
    for body in bodies {
        if body.text.len() > LARGE && before_large.is_none() {
            before_large = Some(process::memory(ours.pid())?);
        }
        for protocol in Protocol::ALL {
            let instructions = counted.get(&(body.name, protocol)).copied();
            let ratios = compare(&contenders, &roots, body, protocol, instructions, plan).await?;
            for (name, ratio) in ratios {
                let Some((_, least)) = RATIOS.iter().find(|(server, _)| *server == name) else {
                    continue;
                };
                held.push(Budget {
                    of: format!("{}: {protocol}, {name}", body.name),
                    figure: ratio.median,
                    bound: Bound::AtLeast(*least),
                    unit: "times ours",
                    is_void: !is_quiet,
                });
            }
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
    held.push(Budget {
        of: "memory under load".to_owned(),
        figure: under_load.peak,
        bound: Bound::AtMost(MEMORY),
        unit: "MiB",
        is_void: false,
    });
    Ok((held, is_quiet))
}

/// Instructions of our server for one request, by body and protocol; nothing where valgrind isn't there.
async fn instructions(
    directory: &Path,
    roots: &RootCertStore,
    bodies: &[Body],
) -> Result<BTreeMap<(&'static str, Protocol), u64>> {
    let mut counted = BTreeMap::new();
    if callgrind::version().is_none() {
        return Ok(counted);
    }
    for body in bodies {
        for protocol in Protocol::ALL {
            let instructions = callgrind::request(directory, protocol, roots, body).await?;
            counted.insert((body.name, protocol), instructions);
        }
    }
    Ok(counted)
}

/// Measures one body by one protocol and prints it: how many times ours each of the others takes.
async fn compare(
    contenders: &Contenders,
    roots: &RootCertStore,
    body: &Body,
    protocol: Protocol,
    instructions: Option<u64>,
    plan: Plan,
) -> Result<Vec<(&'static str, Spread)>> {
    let theirs = contenders.theirs.iter().filter(|_| body.compared);
    let servers: Vec<&Server> = [&contenders.ours]
        .into_iter()
        .chain(theirs.clone().map(|(_, server)| server))
        .collect();
    let mut rounds = rounds::run(&servers, protocol, roots, body, plan).await?.into_iter();
    let own = rounds.next().context("no rounds")?;
    let counted = instructions.map_or_else(|| "?".to_owned(), |counted| counted.to_string());
    row(body, protocol, "ours", &counted, &own, "")?;
    let mut ratios = Vec::new();
    for ((name, _), rounds) in theirs.zip(rounds) {
        let ratio = rounds::ratio(&own, &rounds).context("no rounds")?;
        row(body, protocol, name, "", &rounds, &times(&ratio))?;
        ratios.push((*name, ratio));
    }
    Ok(ratios)
}

fn row(body: &Body, protocol: Protocol, server: &str, counted: &str, rounds: &[Round], ratio: &str) -> Result<()> {
    println!(
        "  {:<20} {:>8} {:<9} {server:<20} {counted:>12} {:<26} {ratio:<20} {:>8.0}",
        body.name,
        body.text.len(),
        protocol.to_string(),
        figure(&spread(rounds, |round| round.cpu)?),
        spread(rounds, |round| round.per_second)?.median,
    );
    Ok(())
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
