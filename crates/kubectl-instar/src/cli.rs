//! The command line.

use clap::{CommandFactory, Parser, Subcommand};
use tokio::runtime::Builder;

use crate::{
    Error, Exit,
    connection::{Connection, ConnectionArgs},
    verbs::{
        approve::{self, ApproveArgs},
        edit::{self, Edit, EditArgs},
        events::{self, EventsArgs},
        explain::{self, ExplainArgs},
        history::{self, HistoryArgs},
        plan::{self, PlanArgs},
        releases::{self, ReleasesArgs},
        rollback::{self, RollbackArgs},
        snapshot::{self, SnapshotArgs},
        status::{self, StatusArgs},
        upgrade::{self, RefreshArgs, RestartArgs, UpgradeArgs},
    },
};

/// Shows, begins, stops and explains upgrades of Cluster API clusters
///
/// All of it is what kubectl could do with the objects of Instar, under your own rights: nothing is decided here. What is
/// shown is what the controller says of an upgrade, beside the Machines that Cluster API reports.
#[derive(Debug, Parser)]
#[command(name = "kubectl-instar", bin_name = "kubectl instar", version, arg_required_else_help = true, after_help = Exit::HELP)]
pub struct Cli {
    #[command(flatten)]
    connection: ConnectionArgs,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Status(StatusArgs),
    Plan(PlanArgs),
    Upgrade(UpgradeArgs),
    Refresh(RefreshArgs),
    Restart(RestartArgs),
    Approve(ApproveArgs),
    /// Stops the upgrade of a Cluster for a while: nothing is written before it is resumed
    Pause(EditArgs),
    /// Lets a paused upgrade go on
    Resume(EditArgs),
    /// Ends the upgrade of a Cluster where it stands: the step under way ends, and the workers follow it
    Abort(EditArgs),
    Rollback(RollbackArgs),
    History(HistoryArgs),
    Events(EventsArgs),
    Explain(ExplainArgs),
    Releases(ReleasesArgs),
    Snapshot(SnapshotArgs),
}

/// The command line, for its help and the reference page.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Does what the command line says.
///
/// # Errors
/// Where it couldn't.
pub fn run(cli: &Cli) -> Result<Exit, Error> {
    match &cli.command {
        Command::Explain(args) => return explain::run(args),
        Command::Status(args) if args.from_snapshot.is_some() => return status::offline(args),
        Command::Plan(args) => {
            if let Some(dir) = &args.from_snapshot {
                return plan::offline(dir, args);
            }
        }
        _ => {}
    }
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    runtime.block_on(async {
        let connection = Connection::open(&cli.connection).await?;
        dispatch(&connection, &cli.command).await
    })
}

async fn dispatch(connection: &Connection, command: &Command) -> Result<Exit, Error> {
    match command {
        Command::Status(args) => status::run(connection, args).await,
        Command::Plan(args) => Box::pin(plan::run(connection, args)).await,
        Command::Upgrade(args) => upgrade::upgrade(connection, args).await,
        Command::Refresh(args) => upgrade::refresh(connection, args).await,
        Command::Restart(args) => upgrade::restart(connection, args).await,
        Command::Approve(args) => approve::run(connection, args).await,
        Command::Pause(args) => edit::run(connection, args, Edit::Pause).await,
        Command::Resume(args) => edit::run(connection, args, Edit::Resume).await,
        Command::Abort(args) => edit::run(connection, args, Edit::Abort).await,
        Command::Rollback(args) => rollback::run(connection, args).await,
        Command::History(args) => history::run(connection, args).await,
        Command::Events(args) => events::run(connection, args).await,
        Command::Explain(args) => explain::run(args),
        Command::Releases(args) => releases::run(connection, args).await,
        Command::Snapshot(args) => snapshot::run(connection, args).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }
}
