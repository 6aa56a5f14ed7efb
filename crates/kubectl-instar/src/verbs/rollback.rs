//! `kubectl instar rollback`.

use clap::Args;
use instar_api::{ClusterUpgrade, ClusterUpgradeSpec, Operation, RollbackExtent};
use kube::ResourceExt;

use super::{
    create,
    upgrade::{BeginArgs, followed},
    write::{self, Write},
};
use crate::{Error, Exit, connection::Connection, output, read};

/// Takes the last upgrade of a Cluster back
///
/// First the workers, then the control plane, each to what was there before. What would be done, and what stands in the
/// way, is in the upgrade's own status: --dry-run shows it.
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct RollbackArgs {
    /// The Cluster
    #[arg(value_name = "CLUSTER")]
    pub(crate) cluster: String,

    /// Take the workers alone back; the control plane stays
    #[arg(long)]
    pub(crate) workers: bool,

    #[command(flatten)]
    pub(crate) begin: BeginArgs,
}

const EXAMPLES: &str = "\
Examples:
  # What would happen, and what is not possible:
  kubectl instar rollback my-cluster --dry-run

  # Take it back, and wait until that has ended:
  kubectl instar rollback my-cluster --watch

Exit codes: 0 done or possible, 1 not possible or refused, 2 couldn't tell, 3 still going or timed out.";

/// Says what would happen, and asks for it.
pub(crate) async fn run(connection: &Connection, args: &RollbackArgs) -> Result<Exit, Error> {
    let RollbackArgs {
        cluster,
        workers,
        begin,
    } = args;
    let upgrades = read::upgrades(connection, cluster).await?;
    let part = if *workers { Part::Workers } else { Part::All };
    let back = planned(connection, cluster, &upgrades, part, begin.name.as_deref())?;
    output::print(&output::lines(back.steps))?;
    let written = write::create(connection, &back.upgrade, Write::of(begin.dry_run)).await?;
    written.print()?;
    followed(connection, cluster, begin).await
}

/// What is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The workers, then the control plane.
    All,
    /// The workers alone.
    Workers,
}

/// A way back that the status of an upgrade says is possible.
pub(crate) struct WayBack {
    /// What will be done, as the controller says it.
    pub(crate) steps: Vec<String>,
    /// What is to be created.
    pub(crate) upgrade: ClusterUpgrade,
}

/// The ClusterUpgrade that takes the last one back. `name` is the default's where it is absent.
pub(crate) fn planned(
    connection: &Connection,
    cluster: &str,
    upgrades: &[ClusterUpgrade],
    part: Part,
    name: Option<&str>,
) -> Result<WayBack, Error> {
    let last = read::current_of(upgrades, connection, cluster)?;
    let of = last.name_any();
    if last.spec.operation.is_rollback() {
        return Err(Error::Refused(format!(
            "ClusterUpgrade {of} is a rollback itself: delete it to stop it, or upgrade the Cluster again"
        )));
    }
    let rollback = last.status.as_ref().and_then(|status| status.rollback.clone());
    let Some(rollback) = rollback else {
        return Err(Error::Refused(format!(
            "the status of ClusterUpgrade {of} doesn't say yet what of it can be taken back: see that the controller runs, and try again"
        )));
    };
    let operation = match (part, rollback.possible) {
        (Part::All, RollbackExtent::All) => Operation::Rollback,
        (Part::Workers, RollbackExtent::All | RollbackExtent::Workers) => Operation::RollbackWorkers,
        (Part::All, RollbackExtent::Workers) => {
            return Err(Error::Refused(format!(
                "ClusterUpgrade {of} can't be taken back: {}. The workers alone can be taken back: add --workers",
                rollback.why
            )));
        }
        (Part::All | Part::Workers, RollbackExtent::Nothing) => {
            return Err(Error::Refused(format!(
                "ClusterUpgrade {of} can't be taken back: {}",
                rollback.why
            )));
        }
    };
    let spec = ClusterUpgradeSpec {
        cluster_name: cluster.to_owned(),
        operation,
        rollback_of: Some(of.clone()),
        ..ClusterUpgradeSpec::default()
    };
    let what = format!("back-from-{of}");
    Ok(WayBack {
        steps: rollback.what,
        upgrade: create::upgrade(&connection.namespace, name, &what, spec, upgrades),
    })
}
