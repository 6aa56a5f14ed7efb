//! The command line.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, builder::StyledStr};
use instar::{CrdArgs, WireArgs};
use tokio::runtime::Builder;

use crate::{
    Error, Exit,
    connection::{Connection, ConnectionArgs},
    verbs::{
        approve::{self, ApproveArgs},
        completion::{self, CompleteArgs, CompletionArgs},
        edit::{self, Edit, EditArgs},
        events::{self, EventsArgs},
        explain::{self, ExplainArgs},
        history::{self, HistoryArgs},
        plan::{self, PlanArgs},
        preflight::{self, PreflightArgs},
        releases::{self, ReleasesArgs},
        rollback::{self, RollbackArgs},
        snapshot::{self, SnapshotArgs},
        status::{self, StatusArgs},
        ui::{self, UiArgs},
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
    Preflight(PreflightArgs),
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
    Ui(UiArgs),
    #[command(after_long_help = WIRE_EXAMPLES)]
    Wire(WireArgs),
    #[command(after_long_help = CRD_EXAMPLES)]
    Crd(CrdArgs),
    Completion(CompletionArgs),
    /// What `kubectl_complete-instar` answers
    #[command(name = "__complete", hide = true)]
    Complete(CompleteArgs),
}

const WIRE_EXAMPLES: &str = "\
Examples:
  # Wire a class in the cluster:
  kubectl instar wire my-class -n fleet | kubectl apply -f -

  # See what a new release would change, before you apply it:
  kubectl instar wire my-class -n fleet -f new-release.yaml --check

Exit codes: 0 done, 1 check failed (--check, --strict), 2 error.";

const CRD_EXAMPLES: &str = "\
Examples:
  # Apply the definitions before a newer Instar is installed:
  kubectl instar crd --apply

Exit codes: 0 done, 2 error.";

/// The command line, for its help and the reference page.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Under which name the program was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// A plugin of kubectl, and any other name.
    Kubectl,
    /// A plugin of clusterctl.
    Clusterctl,
    /// What kubectl asks for completions.
    KubectlComplete,
}

impl Program {
    /// By the path that it was started by.
    #[must_use]
    pub fn of(path: &OsStr) -> Self {
        match Path::new(path).file_stem().and_then(OsStr::to_str) {
            Some("clusterctl-instar") => Self::Clusterctl,
            Some("kubectl_complete-instar") => Self::KubectlComplete,
            Some(_) | None => Self::Kubectl,
        }
    }

    /// The name of its file.
    const fn file(self) -> &'static str {
        match self {
            Self::Kubectl | Self::KubectlComplete => "kubectl-instar",
            Self::Clusterctl => "clusterctl-instar",
        }
    }

    /// The command line, whose help names what is typed.
    #[must_use]
    pub fn command(self) -> clap::Command {
        match self {
            Self::Kubectl | Self::KubectlComplete => command(),
            Self::Clusterctl => renamed(command().name("clusterctl-instar").bin_name(CLUSTERCTL)),
        }
    }

    /// Reads the command line; the first argument is the program. Where it can't be read, or asks for help, the process ends.
    #[must_use]
    pub fn parse(self, arguments: Vec<OsString>) -> Cli {
        let matches = self.command().get_matches_from(self.arguments(arguments));
        Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// What kubectl gives to the program that completes is a command line itself: no flag of it is one of ours.
    fn arguments(self, mut arguments: Vec<OsString>) -> Vec<OsString> {
        if self == Self::KubectlComplete {
            let at = arguments.len().min(1);
            arguments.splice(at..at, ["__complete".into(), "--".into()]);
        }
        arguments
    }
}

const KUBECTL: &str = "kubectl instar";
const CLUSTERCTL: &str = "clusterctl instar";

/// In all that the help says.
fn renamed(mut command: clap::Command) -> clap::Command {
    if let Some(text) = renamed_text(command.get_about()) {
        command = command.about(text);
    }
    if let Some(text) = renamed_text(command.get_long_about()) {
        command = command.long_about(text);
    }
    if let Some(text) = renamed_text(command.get_after_long_help()) {
        command = command.after_long_help(text);
    }
    let command = command.mut_args(|argument| {
        let (short, long) = (
            renamed_text(argument.get_help()),
            renamed_text(argument.get_long_help()),
        );
        let argument = short.into_iter().fold(argument, clap::Arg::help);
        long.into_iter().fold(argument, clap::Arg::long_help)
    });
    command.mut_subcommands(renamed)
}

/// With the other name, where it has the one.
fn renamed_text(text: Option<&StyledStr>) -> Option<String> {
    let text = text?.to_string();
    text.contains(KUBECTL).then(|| text.replace(KUBECTL, CLUSTERCTL))
}

/// Does what the command line says.
///
/// # Errors
/// Where it couldn't.
pub fn run(cli: &Cli, program: Program) -> Result<Exit, Error> {
    match &cli.command {
        Command::Completion(args) => return completion::run(args, program.command(), program.file()),
        Command::Complete(args) => return completion::complete(program.command(), &args.words),
        Command::Explain(args) => return explain::run(args),
        Command::Status(args) if args.from_snapshot.is_some() => return status::offline(args),
        Command::Wire(args) => return Ok(instar::cli::wire(args)?.into()),
        Command::Crd(args) => return Ok(instar::cli::crd(args)?.into()),
        Command::Releases(args) => {
            if let Some(done) = releases::offline(args) {
                return done;
            }
        }
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
        Command::Preflight(args) => preflight::run(connection, args).await,
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
        Command::Ui(args) => ui::run(connection, args).await,
        // These have a runtime of their own, or need none.
        Command::Completion(_) | Command::Complete(_) => Ok(Exit::Done),
        Command::Wire(args) => Ok(instar::cli::wire(args)?.into()),
        Command::Crd(args) => Ok(instar::cli::crd(args)?.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
        Program::Clusterctl.command().debug_assert();
    }

    /// Each command of each help's examples, as it would be typed.
    #[test]
    fn each_example_is_read() {
        let mut seen = 0;
        for program in [Program::Kubectl, Program::Clusterctl] {
            let mut command = program.command();
            command.build();
            seen += examples_of(&command, program);
        }
        assert!(seen > 40, "{seen}");
    }

    fn examples_of(command: &clap::Command, program: Program) -> usize {
        let bin_name = match program {
            Program::Kubectl | Program::KubectlComplete => KUBECTL,
            Program::Clusterctl => CLUSTERCTL,
        };
        let help = command
            .get_after_long_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let mut seen = 0;
        for call in help.lines().flat_map(|line| line.split(['|', '(', ')', '`'])) {
            let Some(arguments) = call.trim().strip_prefix(bin_name) else {
                continue;
            };
            let words = shlex::split(arguments.split(" > ").next().unwrap()).unwrap();
            let all = [bin_name.to_owned()].into_iter().chain(words);
            if let Err(error) = program.command().try_get_matches_from(all) {
                panic!("{call}: {error}");
            }
            seen += 1;
        }
        let has_own = matches!(
            command.get_name(),
            "releases" | "lint" | "new" | "from-cluster" | "preflight" | "wire" | "crd"
        );
        assert!(!has_own || seen > 0, "{} has no example", command.get_name());
        command
            .get_subcommands()
            .filter(|below| below.get_name() != "help")
            .fold(seen, |seen, below| seen + examples_of(below, program))
    }

    #[test]
    fn what_is_completed_is_taken_as_it_stands() {
        let words = ["kubectl_complete-instar", "--namespace", "fleet", "status", "--wa"];
        let arguments = Program::KubectlComplete.arguments(words.map(OsString::from).to_vec());
        let cli = Cli::try_parse_from(arguments).unwrap();
        assert!(matches!(cli.command, Command::Complete(args) if args.words == words[1..]));
    }

    #[test]
    fn the_name_of_the_file_says_how_it_is_called() {
        for (path, program) in [
            ("/usr/bin/kubectl-instar", Program::Kubectl),
            ("clusterctl-instar", Program::Clusterctl),
            ("/x/kubectl_complete-instar", Program::KubectlComplete),
            ("kubectl-instar.exe", Program::Kubectl),
        ] {
            assert_eq!(Program::of(OsStr::new(path)), program, "{path}");
        }
        let mut command = Program::Clusterctl.command();
        command.build();
        let help = command
            .find_subcommand_mut("status")
            .unwrap()
            .render_long_help()
            .to_string();
        assert!(help.contains("clusterctl instar status my-cluster --watch"), "{help}");
        assert!(!help.contains("kubectl instar"), "{help}");
    }
}
