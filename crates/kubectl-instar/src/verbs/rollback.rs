//! `kubectl instar rollback`.

use clap::Args;
use instar_api::{ClusterUpgradeSpec, Operation, RollbackExtent};
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
    let upgrade = read::current_of(&upgrades, connection, cluster)?;
    let name = upgrade.name_any();
    if upgrade.spec.operation.is_rollback() {
        return Err(Error::Refused(format!(
            "ClusterUpgrade {name} is a rollback itself: delete it to stop it, or upgrade the Cluster again"
        )));
    }
    let rollback = upgrade.status.as_ref().and_then(|status| status.rollback.clone());
    let Some(rollback) = rollback else {
        return Err(Error::Refused(format!(
            "the status of ClusterUpgrade {name} doesn't say yet what of it can be taken back: see that the controller runs, and try again"
        )));
    };
    let (operation, possible) = match (workers, rollback.possible) {
        (false, RollbackExtent::All) => (Operation::Rollback, true),
        (true, RollbackExtent::All | RollbackExtent::Workers) => (Operation::RollbackWorkers, true),
        (false, RollbackExtent::Workers | RollbackExtent::Nothing) => (Operation::Rollback, false),
        (true, RollbackExtent::Nothing) => (Operation::RollbackWorkers, false),
    };
    if !possible {
        let nearest = match rollback.possible {
            RollbackExtent::Workers => ". The workers alone can be taken back: add --workers",
            RollbackExtent::All | RollbackExtent::Nothing => "",
        };
        return Err(Error::Refused(format!(
            "ClusterUpgrade {name} can't be taken back: {}{nearest}",
            rollback.why
        )));
    }
    for step in &rollback.what {
        output::print(&format!("{step}\n"))?;
    }
    let spec = ClusterUpgradeSpec {
        cluster_name: cluster.clone(),
        operation,
        rollback_of: Some(name.clone()),
        ..ClusterUpgradeSpec::default()
    };
    let what = format!("back-from-{name}");
    let back = create::upgrade(&connection.namespace, begin.name.as_deref(), &what, spec, &upgrades);
    write::create(connection, &back, Write::of(begin.dry_run)).await?;
    followed(connection, cluster, begin).await
}
