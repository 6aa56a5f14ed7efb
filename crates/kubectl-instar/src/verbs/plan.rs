//! `kubectl instar plan`.

mod planned;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use instar_controller::{ClusterApiVersion, installed_cluster_api};
use instar_report::{
    Invocation, PlanOutcome,
    text::{self, Layout},
};
use jiff::Timestamp;
use serde_json::Value;

use self::planned::Planned;
use super::snapshot;
use crate::{
    Error, Exit,
    connection::Connection,
    output::{self, DetailsArg, Format, ValueFormat},
    read,
};

/// Tells what an upgrade would do, before anything moves
///
/// The path, what each pool gets, how many machines are replaced and in which order, what holds it on its way, and what the
/// way back is from each step: by the planner's own code, from the objects as they are. Nothing is written. What it can't
/// know is whether machines come up; what is closed now is named where it holds, and taken as open for what comes after it.
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct PlanArgs {
    /// The Cluster
    #[arg(value_name = "CLUSTER")]
    pub(crate) cluster: String,

    /// Where to: a version (v1.34.3), a prefix (v1.34), or the name of a KubernetesRelease. Without it, each version that the
    /// Cluster could go to, with what stands in the way of the others
    #[arg(long, value_name = "TARGET")]
    pub(crate) to: Option<String>,

    /// Read the objects from a folder that `snapshot` has written, and not from the cluster
    #[arg(long, value_name = "DIR")]
    pub(crate) from_snapshot: Option<PathBuf>,

    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", value_enum)]
    pub(crate) output: Option<PlanFormat>,

    /// How much of it is shown
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(crate) details: Option<DetailsArg>,
}

/// How a plan is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    /// Text, with all pools and all values
    Wide,
    /// The whole value as JSON
    Json,
    /// The whole value as YAML
    Yaml,
}

const EXAMPLES: &str = "\
Examples:
  # Where it could go:
  kubectl instar plan my-cluster

  # What the way to the newest v1.35 would be:
  kubectl instar plan my-cluster --to v1.35

  # In a script: only where nothing has to be waited for
  kubectl instar plan my-cluster --to v1.35 -o json | jq -e '.outcome == \"CanGo\"'

  # Without the cluster:
  kubectl instar snapshot my-cluster ./my-cluster
  kubectl instar plan my-cluster --to v1.35 --from-snapshot ./my-cluster

Exit codes: 0 it can go, is there or goes there already, 1 blocked or refused, or a check holds it, 2 couldn't tell (also: a wrong command line).";

/// Reads the Cluster, and tells it.
pub(crate) async fn run(connection: &Connection, args: &PlanArgs) -> Result<Exit, Error> {
    let (read, cluster_api) = tokio::join!(
        Box::pin(read::snapshot(connection, &args.cluster)),
        installed_cluster_api(&connection.client),
    );
    let read::Objects { objects, unread } = read?;
    let place = (&*connection.namespace, &*args.cluster);
    let planned = Planned::read(objects, place, cluster_api, unread, Timestamp::now())?;
    tell(&planned.called(&connection.invocation), args, &connection.invocation)
}

/// The same of a folder.
pub(crate) fn offline(dir: &std::path::Path, args: &PlanArgs) -> Result<Exit, Error> {
    let objects = snapshot::read(dir)?;
    let is = |object: &&Value| {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
        text("/kind") == Some("Cluster") && text("/metadata/name") == Some(&args.cluster)
    };
    let cluster = objects.iter().find(is);
    let missing = || Error::Refused(format!("{} has no Cluster {}", dir.display(), args.cluster));
    let namespace = cluster.ok_or_else(missing)?.pointer("/metadata/namespace");
    let namespace = namespace.and_then(Value::as_str).unwrap_or_default().to_owned();
    let place = (&*namespace, &*args.cluster);
    // No object of a snapshot says it.
    let cluster_api = ClusterApiVersion::NotListed;
    let planned = Planned::read(objects, place, cluster_api, Vec::new(), Timestamp::now())?;
    let invocation = Invocation::PLAIN.in_namespace(&namespace);
    tell(&planned.called(&invocation), args, &invocation)
}

fn tell(planned: &Planned, args: &PlanArgs, invocation: &Invocation) -> Result<Exit, Error> {
    let Some(target) = &args.to else {
        return tell_targets(planned, args, invocation);
    };
    let plan = planned.to(target);
    let printed = match args.output {
        Some(PlanFormat::Json) => output::value(&plan, ValueFormat::Json)?,
        Some(PlanFormat::Yaml) => output::value(&plan, ValueFormat::Yaml)?,
        Some(PlanFormat::Wide) | None => text::of_plan(&plan, &layout(args)),
    };
    output::print(&printed)?;
    Ok(exit(plan.outcome))
}

/// Done where it can go anywhere.
fn tell_targets(planned: &Planned, args: &PlanArgs, invocation: &Invocation) -> Result<Exit, Error> {
    let targets = planned.targets();
    let printed = match args.output {
        Some(PlanFormat::Json) => output::value(&targets, ValueFormat::Json)?,
        Some(PlanFormat::Yaml) => output::value(&targets, ValueFormat::Yaml)?,
        Some(PlanFormat::Wide) | None => text::of_targets(&targets, &layout(args)),
    };
    let Some(best) = targets.iter().map(|target| exit(target.outcome)).min() else {
        if planned.has_releases() {
            eprintln!("The catalog of Cluster {} has no newer version.", args.cluster);
        } else {
            eprintln!(
                "There is no KubernetesRelease, and a Cluster goes to those of its catalog. Write the one that it runs with: {}",
                invocation.command(&format!("releases from-cluster {}", args.cluster), "")
            );
        }
        return Ok(Exit::Done);
    };
    output::print(&printed)?;
    if best == Exit::Done && args.output.is_none() {
        eprintln!(
            "See what one of them takes with: {}",
            invocation.command(&format!("plan {}", args.cluster), "--to VERSION")
        );
    }
    Ok(best)
}

fn layout(args: &PlanArgs) -> Layout {
    let format = match args.output {
        Some(PlanFormat::Wide) => Some(Format::Wide),
        Some(PlanFormat::Json | PlanFormat::Yaml) | None => None,
    };
    output::layout(args.details, format)
}

const fn exit(outcome: PlanOutcome) -> Exit {
    match outcome {
        PlanOutcome::CanGo | PlanOutcome::Waits | PlanOutcome::NothingToDo | PlanOutcome::UnderWay => Exit::Done,
        PlanOutcome::Held | PlanOutcome::Blocked => Exit::Blocked,
        PlanOutcome::Unknown => Exit::Unknown,
    }
}
