//! What a fleet costs: Instar's programs on thousands of classic Clusters, on a real API server. `make bench-fleet`
//! runs it, and docs/benchmarks.md explains it.
//!
//! Nothing of Cluster API runs, so that what is written stays as it is, and only Instar is measured.
#![allow(clippy::cast_precision_loss, reason = "figures are rounded when they are printed")]

mod change;
mod edits;
mod held;
mod measure;
mod objects;
mod plugin;

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use clap::Parser;
use instar_e2e::{
    Result, choose_tls,
    infrastructure::Infrastructure,
    instar::Setup,
    isolation::{self, Place},
    mgmt::Mgmt,
    support::catalog::{SharedRows, patch_ranges},
};

use self::{
    change::{Changed, changed},
    measure::{Program, Started, started},
    objects::Fleet,
    plugin::Verb,
};

/// How many Clusters are changed, one after the other.
const CHANGED: usize = 20;

#[derive(Parser)]
#[command(about = "Measures both programs on a fleet of Clusters, on a real API server")]
struct Arguments {
    /// Its sizes, in Clusters: each is reached by adding to the one before
    #[arg(long, value_delimiter = ',', default_value = "1000,3000,10000")]
    clusters: Vec<usize>,
    /// How many upgrades are then held, by an approval that nobody gives
    #[arg(long, default_value_t = 200)]
    held: usize,
    /// For how many minutes they are looked at
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// How many topology Clusters of one class are written then, whose edits are timed
    #[arg(long, default_value_t = 10_000)]
    topology: usize,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    choose_tls();
    let (run, built) = match isolation::enter("bench-fleet", Infrastructure::InMemory, &[])? {
        Place::Outside(code) => return Ok(code),
        Place::Inside(run, built) => (run, built),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mgmt = Mgmt::start_still(run, built).await?;
        Setup::Instar.install(&mgmt).await?;
        let measured = measure(&mgmt, &arguments).await;
        mgmt.stop().await?;
        measured.map(|()| ExitCode::SUCCESS)
    })
}

async fn measure(mgmt: &Mgmt, arguments: &Arguments) -> Result<()> {
    let rows = patch_ranges(SharedRows::Same, &[false])?.remove(0).rows(0)?;
    for row in rows.all() {
        mgmt.applier().one(serde_json::from_value(row)?, None).await?;
    }
    objects::remove_webhooks(&mgmt.client()).await?;
    let mut fleet = Fleet::new(mgmt.client(), &rows);
    print_heads();
    let (mut changes, mut verbs) = (Vec::new(), Vec::new());
    for size in &arguments.clusters {
        for program in Program::ALL {
            program.stop(mgmt).await?;
        }
        fleet.grow(*size).await?;
        let mut kinds = Vec::new();
        for program in Program::ALL {
            let row = started(mgmt, program).await?;
            print_row(*size, program, &row, fleet.objects());
            kinds.push((program, row.cached));
        }
        Program::Core.stop(mgmt).await?;
        for (program, cached) in kinds {
            print_kinds(program, &cached);
        }
        verbs.push((*size, plugin::measure(mgmt, &fleet).await?));
        changes.push((*size, changed(mgmt, &fleet, CHANGED).await?));
    }
    print_changes(&changes);
    print_verbs(&verbs);
    if arguments.held > 0 {
        held::measure(mgmt, &fleet, arguments.held, Duration::from_mins(arguments.minutes)).await?;
    }
    if arguments.topology > 0 {
        edits::measure(mgmt, &rows, arguments.topology, fleet.objects()).await?;
    }
    Ok(())
}

fn print_heads() {
    println!(
        "\n{:>8} {:>10} {:>8} {:>7} {:>8} {:>7} {:>6} {:>7} {:>9} {:>10} {:>11} {:>13}",
        "Clusters",
        "program",
        "ready s",
        "CPU s",
        "settled",
        "goal",
        "own",
        "peak",
        "peak/set.",
        "KiB/object",
        "idle CPU %",
        "idle requests"
    );
}

fn print_row(size: usize, program: Program, row: &Started, objects: usize) {
    let goal = program
        .goal(size)
        .map_or_else(|| "-".to_owned(), |goal| format!("{goal:.0}"));
    println!(
        "{size:>8} {:>10} {:>8.1} {:>7.1} {:>8.1} {goal:>7} {:>6.1} {:>7.1} {:>9.2} {:>10.2} {:>11.2} {:>13}",
        program.name(),
        row.ready.as_secs_f64(),
        row.cpu.as_secs_f64(),
        row.settled,
        row.own,
        row.peak,
        row.peak / row.settled,
        row.settled * 1024.0 / objects as f64,
        row.idle * 100.0,
        row.idle_requests,
    );
}

fn print_kinds(program: Program, cached: &BTreeMap<String, (f64, f64)>) {
    for (kind, (objects, bytes)) in cached.iter().filter(|(_, (objects, _))| *objects > 0.0) {
        let (name, mib) = (program.name(), bytes / 1024.0 / 1024.0);
        println!(
            "{name:>19} {kind:>22} {objects:>8} objects {mib:>8.1} MiB {:>6.0} bytes each",
            bytes / objects
        );
    }
}

fn print_changes(changes: &[(usize, Changed)]) {
    println!(
        "\n{:>8} {:>7} {:>7} {:>12} {:>8} {:>8} {:>9} {:>9} {:>15}   goals: writes/floor 1.0, the same at every size",
        "Clusters", "reads", "writes", "writes/floor", "reports", "CPU ms", "swap ms", "POST ms", "in round trips"
    );
    for (size, change) in changes {
        println!(
            "{size:>8} {:>7.1} {:>7.1} {:>12.2} {:>8.1} {:>8.1} {:>9.1} {:>9.1} {:>15.1}",
            change.reads,
            change.writes,
            change.writes / change.floor,
            change.reports,
            change.cpu.as_secs_f64() * 1000.0,
            change.swapped.as_secs_f64() * 1000.0,
            change.post.as_secs_f64() * 1000.0,
            change.swapped.as_secs_f64() / change.post.as_secs_f64(),
        );
        for (request, count) in &change.kinds {
            println!("{:>8} {count:>7.1} {request}", "");
        }
    }
}

fn print_verbs(verbs: &[(usize, Vec<Verb>)]) {
    println!(
        "\n{:>8} {:>8} {:>9}   goals: --version 30 ms; of one Cluster less than 1000 ms, and the same requests at every size",
        "Clusters", "ms", "requests"
    );
    for (size, verbs) in verbs {
        for verb in verbs {
            let took = verb.took.as_secs_f64() * 1000.0;
            println!(
                "{size:>8} {took:>8.1} {:>9.1} kubectl instar {}",
                verb.requests, verb.arguments
            );
        }
    }
}
