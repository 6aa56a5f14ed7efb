//! `kubectl instar approve`.

use clap::Args;
use instar_api::{Approval, ClusterUpgrade};
use kube::ResourceExt;
use serde_json::json;

use super::write::{self, Write, Written};
use crate::{Error, Exit, connection::Connection, read};

/// Approves what an upgrade waits for
///
/// The approval is for the step that the upgrade names, and for its present target: with another one it doesn't count any
/// more. Who approved it, and when, is written by admission. It takes the verb `approve` on clusterupgrades.
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct ApproveArgs {
    /// The Cluster
    #[arg(value_name = "CLUSTER")]
    pub(crate) cluster: String,

    /// Ask the API server, admission included, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

const EXAMPLES: &str = "\
Examples:
  # See what is asked for, and approve it:
  kubectl instar status my-cluster
  kubectl instar approve my-cluster

Exit codes: 0 approved, 1 nothing waits for an approval, or refused, 2 couldn't tell.";

/// Adds what the rows of health ask for.
pub(crate) async fn run(connection: &Connection, args: &ApproveArgs) -> Result<Exit, Error> {
    let upgrade = read::current(connection, &args.cluster).await?;
    let written = apply(connection, &upgrade, Write::of(args.dry_run)).await?;
    written.print()?;
    Ok(Exit::Done)
}

/// Approves what this upgrade waits for; the answer says what that was.
pub(crate) async fn apply(connection: &Connection, upgrade: &ClusterUpgrade, write: Write) -> Result<Written, Error> {
    let asked = asked(upgrade);
    if asked.is_empty() {
        return Err(Error::Refused(format!(
            "ClusterUpgrade {} waits for no approval: see `{}`",
            upgrade.name_any(),
            connection.command(&format!("status {}", upgrade.spec.cluster_name), "")
        )));
    }
    let approvals: Vec<&Approval> = upgrade.spec.approvals.iter().chain(&asked).collect();
    let done: Vec<String> = asked.iter().map(Approval::entry).collect();
    let done = format!("approved {}", done.join(", "));
    let spec = json!({ "approvals": approvals });
    write::patch(connection, upgrade, spec, &done, write).await
}

/// What the controller asks for, in its own words.
pub(crate) fn asked(upgrade: &ClusterUpgrade) -> Vec<Approval> {
    let health = upgrade.status.as_ref().map(|status| &*status.health);
    instar_report::approvals_asked(health.unwrap_or_default())
}
