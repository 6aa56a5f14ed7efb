//! `kubectl instar status`.

use std::path::PathBuf;

use clap::Args;
use instar_api::ClusterUpgrade;
use instar_report::{ClusterObjects, Report, text};
use jiff::Timestamp;
use kube::{
    Api,
    api::{ApiResource, DynamicObject},
};

use super::{
    follow::{self, FollowArgs},
    snapshot,
};
use crate::{
    Error, Exit,
    connection::Connection,
    export,
    output::{self, DetailsArg, Format, ValueFormat},
    read,
};

/// Shows what upgrades are at
///
/// With CLUSTER, all of one Cluster: where its upgrade is and what it waits for, the control plane, the pools, the Machines
/// that aren't where they go. Without it, one line for each Cluster of the namespace that has an upgrade.
///
/// Where the upgrade says how long the rest may take, that is measured: by the machines of this very upgrade, from one that
/// is ready to the next.
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct StatusArgs {
    /// The Cluster
    #[arg(value_name = "CLUSTER")]
    pub(crate) cluster: Option<String>,

    /// The Clusters of all namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["namespace", "cluster"])]
    pub(crate) all_namespaces: bool,

    /// Read the objects from a folder that `kubectl instar snapshot` wrote, and no cluster
    #[arg(long, value_name = "DIR", requires = "cluster", conflicts_with_all = ["watch", "wait", "all_namespaces"])]
    pub(crate) from_snapshot: Option<PathBuf>,

    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", value_enum)]
    pub(crate) output: Option<Format>,

    /// How much of the Cluster is shown
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(crate) details: Option<DetailsArg>,

    /// Write the Cluster as one page for a browser into a file, which asks for nothing when it is opened, and print nothing
    #[arg(long, value_name = "FILE", requires = "cluster", conflicts_with_all = ["watch", "wait", "output", "details"])]
    pub(crate) export: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) follow: FollowArgs,
}

const EXAMPLES: &str = "\
Examples:
  # All upgrades of all namespaces:
  kubectl instar status -A

  # One Cluster, until its upgrade has ended:
  kubectl instar status my-cluster --watch

  # In a script: wait until it is done, at most an hour
  kubectl instar status my-cluster --wait --for Completed --timeout 1h

  # One file for a ticket:
  kubectl instar status my-cluster --export my-cluster.html

  # Which Machines have failed:
  kubectl instar status my-cluster -o json | jq -r '.machines[] | select(.phase == \"Failed\") | .name'

Exit codes: 0 done or pass, 1 failed, blocked or refused, 2 couldn't tell (also: a wrong command line), 3 still going or timed out.";

/// Shows it, once or until it ends.
pub(crate) async fn run(connection: &Connection, args: &StatusArgs) -> Result<Exit, Error> {
    let Some(cluster) = &args.cluster else {
        return fleet(connection, args).await;
    };
    if args.follow.is_asked() {
        let show = |report: &Report| one(report, args);
        return follow::until(connection, cluster, &args.follow, show).await;
    }
    let report = read::report(connection, cluster).await?;
    show(&report, args)
}

/// Shows a Cluster of a folder.
pub(crate) fn offline(args: &StatusArgs) -> Result<Exit, Error> {
    let (Some(dir), Some(cluster)) = (&args.from_snapshot, &args.cluster) else {
        return Err(Error::Refused("--from-snapshot is for one Cluster: name it".to_owned()));
    };
    let objects = ClusterObjects::of(cluster, &snapshot::read(dir)?);
    let objects = objects.ok_or_else(|| Error::Refused(format!("{} has no Cluster {cluster}", dir.display())))?;
    let report = Report::of(&objects);
    show(&report, args)
}

/// Prints or writes one Cluster.
fn show(report: &Report, args: &StatusArgs) -> Result<Exit, Error> {
    match &args.export {
        Some(file) => export::write(report, file)?,
        None => output::print(&one(report, args)?)?,
    }
    Ok(Exit::of_report(report))
}

/// One Cluster, as it is asked for.
fn one(report: &Report, args: &StatusArgs) -> Result<String, Error> {
    Ok(match args.output {
        Some(Format::Json) => output::value(report, ValueFormat::Json)?,
        Some(Format::Yaml) => output::value(report, ValueFormat::Yaml)?,
        Some(Format::Name) => report
            .upgrade
            .as_ref()
            .map(|upgrade| read::resource_name(&upgrade.name) + "\n")
            .unwrap_or_default(),
        Some(Format::Wide) | None => {
            text::of_cluster(report, &output::layout(args.details, args.output), Timestamp::now())
        }
    })
}

async fn fleet(connection: &Connection, args: &StatusArgs) -> Result<Exit, Error> {
    if args.follow.is_asked() {
        return Err(Error::Refused(
            "--watch and --wait are for one Cluster: name it".to_owned(),
        ));
    }
    let api = if args.all_namespaces {
        Api::<DynamicObject>::all_with(connection.client.clone(), &ApiResource::erase::<ClusterUpgrade>(&()))
    } else {
        read::dynamic::<ClusterUpgrade>(connection)
    };
    let rows = read::fleet(&api).await?;
    let printed = match args.output {
        Some(Format::Json) => output::value(&rows, ValueFormat::Json)?,
        Some(Format::Yaml) => output::value(&rows, ValueFormat::Yaml)?,
        Some(Format::Name) => output::lines(rows.iter().map(|row| read::resource_name(&row.upgrade))),
        Some(Format::Wide) | None => {
            text::of_fleet(&rows, &output::layout(args.details, args.output), Timestamp::now())
        }
    };
    if rows.is_empty() && args.output.is_none() {
        let where_ = if args.all_namespaces {
            String::new()
        } else {
            format!(" in namespace {}", connection.namespace)
        };
        eprintln!("No upgrades found{where_}.");
    } else {
        output::print(&printed)?;
    }
    // The one that needs somebody most says it for all.
    Ok(rows
        .iter()
        .map(|row| {
            row.phase
                .map_or(Exit::Unknown, |phase| Exit::of(row.observed, row.paused, phase))
        })
        .max()
        .unwrap_or(Exit::Done))
}
