//! `kubectl instar upgrade`, `refresh` and `restart`: a ClusterUpgrade that begins something.

use clap::Args;
use instar_api::{
    ClusterUpgrade, ClusterUpgradeSpec, Operation, PATH_ANNOTATION, RECORD_ANNOTATION, REQUEST_NUMBER_LABEL,
    UpgradePhase, VERSION_ANNOTATION,
};
use instar_planner::PinnedPath;
use instar_report::{Invocation, Report, text};
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::json;

use super::{
    create,
    follow::{self, FollowArgs},
    write::{self, Write, Written},
};
use crate::{Error, Exit, connection::Connection, output, read};

/// Upgrades a Cluster to a version
///
/// It creates a ClusterUpgrade, which the controller carries out as it does for any other. Asked for a second time, it
/// changes nothing. A target that was taken back begins again with --retry alone.
#[derive(Args, Debug)]
#[command(after_long_help = UPGRADE_EXAMPLES)]
pub struct UpgradeArgs {
    /// The Cluster
    #[arg(value_name = "CLUSTER")]
    pub(crate) cluster: String,

    /// Where to: a version (v1.34.3), a prefix (v1.34), or the name of a KubernetesRelease
    #[arg(long, value_name = "TARGET")]
    pub(crate) to: String,

    /// Give another target to the ClusterUpgrade that goes on
    #[arg(long)]
    pub(crate) retarget: bool,

    /// Begin what was taken back or aborted once more
    #[arg(long)]
    pub(crate) retry: bool,

    #[command(flatten)]
    pub(crate) begin: BeginArgs,
}

/// What all that begin something take.
#[derive(Args, Debug)]
pub struct BeginArgs {
    /// The name of the ClusterUpgrade; the default is made of the Cluster's name and the target
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Ask the API server, admission included, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) follow: FollowArgs,
}

const UPGRADE_EXAMPLES: &str = "\
Examples:
  # See what admission says, and begin nothing:
  kubectl instar upgrade my-cluster --to v1.35 --dry-run

  # Upgrade it, and watch until it has ended:
  kubectl instar upgrade my-cluster --to v1.35 --watch

Exit codes: 0 done or begun, 1 failed, blocked or refused, 2 couldn't tell (also: a wrong command line), 3 still going or timed out.";

/// Brings a Cluster to another release of the version that it runs
///
/// The release is named, forward or back: a rebuilt image, or the one before it.
#[derive(Args, Debug)]
pub struct RefreshArgs {
    /// The Cluster
    #[arg(value_name = "CLUSTER")]
    pub(crate) cluster: String,

    /// The KubernetesRelease
    #[arg(long, value_name = "RELEASE")]
    pub(crate) to: String,

    #[command(flatten)]
    pub(crate) begin: BeginArgs,
}

/// Replaces the machines of a classic Cluster by new ones of the same templates
///
/// No version and no template changes: each machine is made anew, in the order and with the gates of an upgrade.
#[derive(Args, Debug)]
pub struct RestartArgs {
    /// The Cluster
    #[arg(value_name = "CLUSTER")]
    pub(crate) cluster: String,

    #[command(flatten)]
    pub(crate) begin: BeginArgs,
}

/// Begins an upgrade, or changes the one that goes on.
pub(crate) async fn upgrade(connection: &Connection, args: &UpgradeArgs) -> Result<Exit, Error> {
    begin(connection, args).await?.print()?;
    followed(connection, &args.cluster, &args.begin).await
}

/// The same without watching it; the answer says what was done.
pub(crate) async fn begin(connection: &Connection, args: &UpgradeArgs) -> Result<Written, Error> {
    let UpgradeArgs { cluster, to, .. } = args;
    let object = read::cluster(connection, cluster).await?.typed;
    let upgrades = read::upgrades(connection, cluster).await?;
    let path = object.annotations().get(PATH_ANNOTATION);
    let path = path.and_then(|path| PinnedPath::from_annotation(path));
    let plan = plan(&upgrades, path.as_ref(), args, &connection.invocation)?;
    let write = Write::of(args.begin.dry_run);
    match plan {
        Plan::Create { retry } => {
            let spec = ClusterUpgradeSpec {
                retry,
                ..spec(cluster, Operation::Upgrade, to)
            };
            let upgrade = create::upgrade(&connection.namespace, args.begin.name.as_deref(), to, spec, &upgrades);
            write::create(connection, &upgrade, write).await
        }
        Plan::Retarget(upgrade) => {
            let done = format!("goes to {to} now");
            write::patch(connection, upgrade, json!({ "target": to }), &done, write).await
        }
        Plan::Retry(upgrade, spec) => write::patch(connection, upgrade, spec, "is tried again", write).await,
        Plan::Nothing(upgrade) => {
            let name = read::resource_name(&upgrade.name_any());
            Ok(Written::nothing(format!("{name} goes to {to} already\n")))
        }
    }
}

/// What is to be written.
#[derive(Debug, PartialEq)]
enum Plan<'a> {
    Create {
        retry: u32,
    },
    Retarget(&'a ClusterUpgrade),
    /// With what to change in its spec.
    Retry(&'a ClusterUpgrade, serde_json::Value),
    Nothing(&'a ClusterUpgrade),
}

/// `path` is that of a classic Cluster: the number of tries stands there too, and may be higher than the record's, as of a
/// record that was made anew.
fn plan<'a>(
    upgrades: &'a [ClusterUpgrade],
    path: Option<&PinnedPath>,
    args: &UpgradeArgs,
    invocation: &Invocation,
) -> Result<Plan<'a>, Error> {
    let UpgradeArgs { cluster, to, .. } = args;
    let tries = path.and_then(|path| path.tries_of(to));
    let current = instar_report::current(upgrades);
    let goes_on = current.filter(|upgrade| upgrade.finished_phase().is_none());
    let same_target = || {
        instar_report::newest_first(upgrades)
            .into_iter()
            .find(|upgrade| upgrade.spec.target == *to)
    };
    let Some(upgrade) = goes_on.or_else(same_target) else {
        return match tries {
            Some(tries) if args.retry => Ok(Plan::Create { retry: tries + 1 }),
            Some(_) if path.is_some_and(|path| path.spent_by("", to, 0).is_some()) => Err(Error::Refused(format!(
                "Cluster {cluster} was taken back from {to}, and doesn't go there again by itself: add --retry to try it once more"
            ))),
            Some(_) | None => Ok(Plan::Create { retry: 0 }),
        };
    };
    let name = upgrade.name_any();
    let phase = upgrade.finished_phase();
    let same = upgrade.spec.target == *to;
    match phase {
        None if same => Ok(Plan::Nothing(upgrade)),
        None if args.retarget && is_record(upgrade) => Err(Error::Refused(format!(
            "ClusterUpgrade {name} follows what Cluster {cluster} says: edit its spec.topology.version, or its annotation \
             {VERSION_ANNOTATION} where it has no topology"
        ))),
        None if args.retarget && upgrade.spec.operation == Operation::Upgrade => Ok(Plan::Retarget(upgrade)),
        None => Err(Error::Refused(format!(
            "ClusterUpgrade {name} of Cluster {cluster} goes on ({} {}): wait for it (`{}`), \
             end it (`{}`), or give it the new target with --retarget",
            upgrade.spec.operation.as_str(),
            upgrade.spec.target,
            invocation.command(&format!("status {cluster}"), "--wait"),
            invocation.command(&format!("abort {cluster}"), ""),
        ))),
        Some(UpgradePhase::RollingBack | UpgradePhase::RolledBack) if same && args.retry => {
            let retry = upgrade.spec.retry.max(tries.unwrap_or_default()) + 1;
            Ok(Plan::Retry(upgrade, json!({ "retry": retry })))
        }
        Some(UpgradePhase::Aborted) if same && args.retry => {
            Ok(Plan::Retry(upgrade, json!({ "operation": "Upgrade" })))
        }
        Some(phase @ (UpgradePhase::RollingBack | UpgradePhase::RolledBack | UpgradePhase::Aborted)) if same => {
            Err(Error::Refused(format!(
                "ClusterUpgrade {name} to {to} is {}, and doesn't begin again by itself: add --retry to try it once more",
                phase.as_str()
            )))
        }
        Some(UpgradePhase::Refused | UpgradePhase::Failed) if same => Err(Error::Refused(format!(
            "ClusterUpgrade {name} to {to} is {}: see why with `{}`, and edit it",
            phase.map_or("finished", UpgradePhase::as_str),
            invocation.command(&format!("status {cluster}"), "")
        ))),
        // Since then the Cluster may have gone elsewhere.
        Some(UpgradePhase::Completed) if current == Some(upgrade) => Ok(Plan::Nothing(upgrade)),
        // What is over has this target, or it would not have been looked at.
        Some(_) => Ok(Plan::Create { retry: 0 }),
    }
}

/// Whether it says what something else of the Cluster asks for.
pub(super) fn is_record(upgrade: &ClusterUpgrade) -> bool {
    upgrade.annotations().contains_key(RECORD_ANNOTATION) || upgrade.labels().contains_key(REQUEST_NUMBER_LABEL)
}

/// Begins a Refresh.
pub(crate) async fn refresh(connection: &Connection, args: &RefreshArgs) -> Result<Exit, Error> {
    let RefreshArgs { cluster, to, begin } = args;
    read::cluster(connection, cluster).await?;
    let upgrades = read::upgrades(connection, cluster).await?;
    let spec = spec(cluster, Operation::Refresh, to);
    let upgrade = create::upgrade(&connection.namespace, begin.name.as_deref(), to, spec, &upgrades);
    let written = write::create(connection, &upgrade, Write::of(begin.dry_run)).await?;
    written.print()?;
    followed(connection, cluster, begin).await
}

/// Begins a Restart, of the version that the Cluster has.
pub(crate) async fn restart(connection: &Connection, args: &RestartArgs) -> Result<Exit, Error> {
    let RestartArgs { cluster, begin } = args;
    let report = read::report(connection, cluster).await?;
    let version = report.cluster.version;
    if version.is_empty() {
        return Err(Error::Refused(format!(
            "cannot tell the version of Cluster {cluster}: {}",
            report.unread.join("; ")
        )));
    }
    let spec = spec(cluster, Operation::Restart, &version);
    // Another restart on the same day is another wish.
    let what = format!("restart-{}", Timestamp::now().strftime("%Y%m%d-%H%M%S"));
    let upgrade = create::upgrade(&connection.namespace, begin.name.as_deref(), &what, spec, &[]);
    let written = write::create(connection, &upgrade, Write::of(begin.dry_run)).await?;
    written.print()?;
    followed(connection, cluster, begin).await
}

fn spec(cluster: &str, operation: Operation, target: &str) -> ClusterUpgradeSpec {
    ClusterUpgradeSpec {
        cluster_name: cluster.to_owned(),
        operation,
        target: target.to_owned(),
        ..ClusterUpgradeSpec::default()
    }
}

/// What was begun, watched where that is asked for.
pub(super) async fn followed(connection: &Connection, cluster: &str, begin: &BeginArgs) -> Result<Exit, Error> {
    if begin.dry_run {
        return Ok(Exit::Done);
    }
    if !begin.follow.is_asked() {
        let watch = connection.command(&format!("status {cluster}"), "--watch");
        eprintln!("Watch it with: {watch}");
        return Ok(Exit::Done);
    }
    let show = |report: &Report| Ok(text::of_cluster(report, &output::layout(None, None), Timestamp::now()));
    follow::until(connection, cluster, &begin.follow, show).await
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: UpgradeArgs,
    }

    fn args(retry: bool) -> UpgradeArgs {
        let line = ["x", "prod", "--to", "v1.35"]
            .into_iter()
            .chain(retry.then_some("--retry"));
        Line::parse_from(line).args
    }

    /// A record that the Cluster's path says was taken back, `tried` times by then.
    fn path(tried: u32) -> PinnedPath {
        let by = serde_json::json!({ "name": "back" });
        serde_json::from_value(serde_json::json!({
            "upgrade": by, "target": "", "from": "v1.34.3", "releases": [],
            "takesBack": { "upgrade": { "name": "prod-v1.35" }, "target": "v1.35", "retry": tried, "by": by, "scope": "All" },
        }))
        .unwrap()
    }

    fn taken_back(retry: u32) -> ClusterUpgrade {
        let mut upgrade = ClusterUpgrade::new(
            "prod-v1.35",
            ClusterUpgradeSpec {
                retry,
                ..spec("prod", Operation::Upgrade, "v1.35")
            },
        );
        let marker = (instar_api::FINISHED_ANNOTATION.to_owned(), "RolledBack".to_owned());
        upgrade.metadata.annotations = Some([marker].into());
        upgrade
    }

    #[test]
    fn the_higher_of_both_numbers_counts() {
        for (record, of_path, next) in [(0, 0, 1), (1, 3, 4), (5, 3, 6)] {
            let upgrades = [taken_back(record)];
            let planned = plan(&upgrades, Some(&path(of_path)), &args(true), Invocation::PLAIN).unwrap();
            assert_eq!(planned, Plan::Retry(&upgrades[0], json!({ "retry": next })));
            assert!(plan(&upgrades, Some(&path(of_path)), &args(false), Invocation::PLAIN).is_err());
        }
        let upgrades = [taken_back(2)];
        let planned = plan(&upgrades, None, &args(true), Invocation::PLAIN).unwrap();
        assert_eq!(planned, Plan::Retry(&upgrades[0], json!({ "retry": 3 })));
    }

    #[test]
    fn a_record_that_is_gone_leaves_its_number_on_the_cluster() {
        assert_eq!(
            plan(&[], None, &args(false), Invocation::PLAIN).unwrap(),
            Plan::Create { retry: 0 }
        );
        assert_eq!(
            plan(&[], None, &args(true), Invocation::PLAIN).unwrap(),
            Plan::Create { retry: 0 }
        );
        assert_eq!(
            plan(&[], Some(&path(2)), &args(true), Invocation::PLAIN).unwrap(),
            Plan::Create { retry: 3 }
        );
        let refused = plan(&[], Some(&path(2)), &args(false), Invocation::PLAIN)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("add --retry"), "{refused}");
    }
}
