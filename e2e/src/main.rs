//! `mgmt`: a management cluster for people. `make help` shows the shorter way.

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand, ValueEnum};
use instar_e2e::{
    Result,
    cache::Cache,
    choose_tls,
    components::RuntimeSdk,
    failure::describe,
    infrastructure::Infrastructure,
    instar::Setup,
    isolation,
    progress::say,
    rundir::ClusterName,
    status::{self, Status},
    supervisor,
};

/// A real management cluster on this machine, reachable from nowhere else.
#[derive(Debug, Parser)]
#[command(name = "mgmt")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build what the cache lacks.
    Build {
        /// What makes the machines of its Clusters.
        #[arg(long, value_enum, default_value = "in-memory")]
        provider: Infrastructure,
    },
    /// Start a cluster and wait until it is ready.
    Up {
        /// The cluster's name.
        #[arg(long, default_value = ClusterName::DEFAULT)]
        name: ClusterName,
        /// What makes the machines of its Clusters.
        #[arg(long, value_enum, default_value = "in-memory")]
        provider: Infrastructure,
        /// The RuntimeSDK feature gate of Cluster API's core.
        #[arg(long, value_enum, default_value = "on")]
        runtime_sdk: RuntimeSdk,
        /// Install Instar on it, from config/default.
        #[arg(long)]
        instar: bool,
    },
    /// Show what the processes of a cluster do.
    Status {
        /// The cluster's name.
        #[arg(long, default_value = ClusterName::DEFAULT)]
        name: ClusterName,
        /// How to print it.
        #[arg(short, long, value_enum, default_value = "table")]
        output: Output,
    },
    /// Open a shell beside a cluster, with its KUBECONFIG, kubectl and clusterctl.
    Shell {
        /// The cluster's name.
        #[arg(long, default_value = ClusterName::DEFAULT)]
        name: ClusterName,
    },
    /// Run one command beside a cluster: `mgmt run -- kubectl get clusters`.
    Run {
        /// The cluster's name.
        #[arg(long, default_value = ClusterName::DEFAULT)]
        name: ClusterName,
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true)]
        program: Vec<OsString>,
    },
    /// Stop a cluster and remove all of it.
    Down {
        /// The cluster's name.
        #[arg(long, default_value = ClusterName::DEFAULT)]
        name: ClusterName,
    },
    /// Started by `up`, inside.
    #[command(hide = true)]
    Supervise {
        name: ClusterName,
        #[arg(long, value_enum)]
        runtime_sdk: RuntimeSdk,
        #[arg(long)]
        instar: bool,
    },
    /// Started by `status`, inside.
    #[command(hide = true)]
    Probe { name: ClusterName },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
}

#[tokio::main]
async fn main() -> ExitCode {
    choose_tls();
    match run(Arguments::parse().command).await {
        Ok(code) => code,
        Err(error) => {
            say(format!("mgmt: {}", describe(&error)));
            ExitCode::FAILURE
        }
    }
}

const fn setup(instar: bool) -> Setup {
    if instar { Setup::Instar } else { Setup::ClusterApi }
}

async fn run(command: Command) -> Result<ExitCode> {
    let cache = Cache::locate()?;
    match command {
        Command::Build { provider } => {
            isolation::prepare(&cache, provider, &[]).await?;
        }
        Command::Up {
            name,
            provider,
            runtime_sdk,
            instar,
        } => {
            let run = supervisor::up(&cache, &name, provider, runtime_sdk, setup(instar)).await?;
            say("`make shell` opens a shell beside it, `make status` shows its processes, `make down` removes it");
            println!("KUBECONFIG={}", run.kubeconfig().display());
        }
        Command::Status { name, output } => {
            let status = Status::of(&cache, &name).await?;
            match output {
                Output::Table => println!("{status}"),
                Output::Json => println!("{}", serde_json::to_string_pretty(&status)?),
            }
            if !status.is_ready() {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Shell { name } => {
            let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
            supervisor::run(&cache, &name, vec![shell])?;
        }
        Command::Run { name, program } => supervisor::run(&cache, &name, program)?,
        Command::Down { name } => {
            let there_was_one = supervisor::down(&cache, &name).await?;
            let what = if there_was_one { "is gone" } else { "was not there" };
            say(format!("the management cluster `{name}` {what}"));
        }
        Command::Supervise {
            name,
            runtime_sdk,
            instar,
        } => {
            supervisor::supervise(&cache, &name, runtime_sdk, setup(instar)).await?;
        }
        Command::Probe { name } => status::probe(&cache, &name).await?,
    }
    Ok(ExitCode::SUCCESS)
}
