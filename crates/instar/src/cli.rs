//! The command line.

use clap::{CommandFactory, Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use crate::{
    Error, Outcome,
    controller::{self, ControllerArgs},
    crd::{self, CrdArgs},
    log, output,
    release_holds::{self, ReleaseHoldsArgs},
    version::{self, VersionArgs},
    webhook::{self, WebhookArgs},
    wire::{self, WireArgs},
};

/// Upgrades Kubernetes clusters that Cluster API manages, from a catalog of releases
///
/// A KubernetesRelease is one row of the catalog: a Kubernetes version with the machine images and the component tags
/// that belong to it. `instar wire` prepares a ClusterClass for the catalog. `instar webhook` checks edits of versions
/// against the catalog, and adds what has to change together with the version. `instar controller` upgrades clusters
/// without a ClusterClass, and reports the progress of every upgrade. `instar crd` prints or applies the
/// CustomResourceDefinitions of this version. `instar release-holds` lets everything go before Instar is removed.
#[derive(Debug, Parser)]
#[command(name = "instar", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Webhook(WebhookArgs),
    Controller(ControllerArgs),
    Wire(WireArgs),
    Version(VersionArgs),
    Crd(CrdArgs),
    ReleaseHolds(ReleaseHoldsArgs),
}

/// The command line, for its help and the reference page.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
impl Cli {
    /// The arguments of `instar wire`, if it is that.
    pub(crate) fn into_wire(self) -> Option<WireArgs> {
        match self.command {
            Command::Wire(args) => Some(args),
            Command::Webhook(_)
            | Command::Controller(_)
            | Command::Version(_)
            | Command::Crd(_)
            | Command::ReleaseHolds(_) => None,
        }
    }
}

/// Does what the command line says.
pub fn run(cli: &Cli) -> Result<Outcome, Error> {
    match &cli.command {
        Command::Webhook(args) => {
            log::start(args.log_format)?;
            // A flood of requests must not delay the caches.
            let watching = Builder::new_multi_thread().worker_threads(1).enable_all().build();
            let watching = watching.map_err(Error::Runtime)?;
            serving()?.block_on(webhook::run(args, watching.handle()))?;
            Ok(Outcome::Done)
        }
        Command::Controller(args) => {
            log::start(args.log_format)?;
            runtime()?.block_on(controller::run(args))?;
            Ok(Outcome::Done)
        }
        Command::Wire(args) => wire(args),
        Command::Version(args) => {
            print(&version::text(args.output)?)?;
            Ok(Outcome::Done)
        }
        Command::Crd(args) => crd(args),
        Command::ReleaseHolds(args) => {
            log::start(log::Format::Text)?;
            runtime()?.block_on(release_holds::run(args, print))
        }
    }
}

/// `instar wire`, which the kubectl plugin has too.
pub fn wire(args: &WireArgs) -> Result<Outcome, Error> {
    log::start(log::Format::Text)?;
    let answer = runtime()?.block_on(wire::run(args))?;
    for line in answer.notes {
        eprintln!("{line}");
    }
    print(&answer.text)?;
    Ok(answer.outcome)
}

/// `instar crd`, which the kubectl plugin has too.
pub fn crd(args: &CrdArgs) -> Result<Outcome, Error> {
    log::start(log::Format::Text)?;
    runtime()?.block_on(crd::run(args, print))?;
    Ok(Outcome::Done)
}

/// No command needs more.
const MOST_THREADS: usize = 4;

fn runtime() -> Result<Runtime, Error> {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get().min(MOST_THREADS));
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    runtime.map_err(Error::Runtime)
}

/// One thread: an answer takes less time than waking another thread, and each thread needs memory.
fn serving() -> Result<Runtime, Error> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)
}

fn print(text: &str) -> Result<(), Error> {
    output::print(text).map(|_| ()).map_err(Error::Output)
}

#[cfg(test)]
mod tests;
