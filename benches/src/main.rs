//! What the admission server costs: instructions for a decision, CPU time for a request, memory; beside
//! servers in Go that hold the same rules. `make bench` runs it, and docs/benchmarks.md explains it.
//!
//! One program in three parts: `serve` is the server that is measured and `decide` what is counted under
//! valgrind, both started by `run`, which is the client and prints the table.
#![allow(clippy::cast_precision_loss, reason = "figures are rounded when they are printed")]

mod bodies;
mod budgets;
mod callgrind;
mod client;
mod decide;
mod environment;
mod go;
mod report;
mod requests;
mod rounds;
mod serve;
mod server;
mod world;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures the admission server")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure everything and print the tables
    Run(report::Run),
    /// Decide one body so many times, in process
    Decide {
        /// The path that it is posted to
        path: String,
        /// The file that it is in
        body: PathBuf,
        /// How often
        times: u32,
    },
    /// Serve until killed
    Serve {
        /// Where tls.crt and tls.key are
        cert_dir: PathBuf,
    },
    /// Write the bodies as files
    Bodies {
        /// Where to
        directory: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Run(run) => report::run(&run)?,
        Command::Decide { path, body, times } => decide::run(&path, &body, times)?,
        Command::Serve { cert_dir } => serve::run(cert_dir)?,
        Command::Bodies { directory } => {
            for (place, body) in decide::bodies().into_iter().enumerate() {
                std::fs::write(directory.join(format!("{place}.json")), body.text)?;
            }
        }
    }
    Ok(())
}
