//! What a fleet costs: Instar's programs on thousands of classic Clusters, on a real API server. `make bench-fleet`
//! runs it, and docs/benchmarks.md explains it.
//!
//! Nothing of Cluster API runs, so that what is written stays as it is, and only Instar is measured.
#![allow(clippy::cast_precision_loss, reason = "figures are rounded when they are printed")]

mod change;
mod measure;
mod objects;

use std::process::ExitCode;

use clap::Parser;
use instar_e2e::{
    Result, choose_tls,
    instar::Setup,
    isolation::{self, Place},
    mgmt::Mgmt,
    support::catalog::{SharedRows, patch_ranges},
};

use self::{
    change::changed,
    measure::{Program, started},
    objects::Fleet,
};

/// How many Clusters are changed, one after the other.
const CHANGED: usize = 20;

#[derive(Parser)]
#[command(about = "Measures both programs on a fleet of Clusters, on a real API server")]
struct Arguments {
    /// Its sizes, in Clusters: each is reached by adding to the one before
    #[arg(long, value_delimiter = ',', default_value = "1000,3000,10000")]
    clusters: Vec<usize>,
}

fn main() -> Result<ExitCode> {
    let sizes = Arguments::parse().clusters;
    choose_tls();
    let (run, built) = match isolation::enter("bench-fleet")? {
        Place::Outside(code) => return Ok(code),
        Place::Inside(run, built) => (run, built),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mgmt = Mgmt::start_still(run, built).await?;
        Setup::Instar.install(&mgmt).await?;
        let measured = measure(&mgmt, &sizes).await;
        mgmt.stop().await?;
        measured.map(|()| ExitCode::SUCCESS)
    })
}

async fn measure(mgmt: &Mgmt, sizes: &[usize]) -> Result<()> {
    let rows = patch_ranges(SharedRows::Same, &[false])?.remove(0).rows(0)?;
    for row in rows.all() {
        mgmt.applier().one(serde_json::from_value(row)?, None).await?;
    }
    objects::remove_webhooks(&mgmt.client()).await?;
    let mut fleet = Fleet::new(mgmt.client(), &rows);
    println!(
        "\n{:>8} {:>10} {:>9} {:>9} {:>9} {:>11} {:>11} {:>12} {:>13}",
        "Clusters", "program", "ready s", "CPU s", "settled", "peak MiB", "KiB/object", "idle CPU %", "idle requests"
    );
    let mut changes = Vec::new();
    for size in sizes {
        for program in Program::ALL {
            program.stop(mgmt).await?;
        }
        fleet.grow(*size).await?;
        for program in Program::ALL {
            let row = started(mgmt, program).await?;
            println!(
                "{size:>8} {:>10} {:>9.1} {:>9.1} {:>9.0} {:>11.0} {:>11.2} {:>12.2} {:>13}",
                program.name(),
                row.ready.as_secs_f64(),
                row.cpu.as_secs_f64(),
                row.settled,
                row.peak,
                row.settled * 1024.0 / fleet.objects() as f64,
                row.idle * 100.0,
                row.idle_requests,
            );
        }
        changes.push((*size, changed(mgmt, &fleet, CHANGED).await?));
    }
    println!(
        "\n{:>8} {:>7} {:>7} {:>11} {:>9} {:>12} {:>14}",
        "Clusters", "reads", "writes", "CPU ms", "swap ms", "POST ms", "in round trips"
    );
    for (size, change) in &changes {
        println!(
            "{size:>8} {:>7.1} {:>7.1} {:>11.1} {:>9.1} {:>12.1} {:>14.1}",
            change.reads,
            change.writes,
            change.cpu.as_secs_f64() * 1000.0,
            change.swapped.as_secs_f64() * 1000.0,
            change.post.as_secs_f64() * 1000.0,
            change.swapped.as_secs_f64() / change.post.as_secs_f64(),
        );
    }
    Ok(())
}
