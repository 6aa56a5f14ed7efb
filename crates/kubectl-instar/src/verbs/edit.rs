//! `kubectl instar pause`, `resume` and `abort`: one field of the upgrade that goes on.

use clap::Args;
use instar_api::ClusterUpgrade;
use instar_report::Invocation;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::write::{self, Write, Written};
use crate::{Error, Exit, connection::Connection, read};

/// What all three take.
#[derive(Args, Debug)]
pub struct EditArgs {
    /// The Cluster
    #[arg(value_name = "CLUSTER")]
    pub(crate) cluster: String,

    /// Ask the API server, admission included, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Which field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    Pause,
    Resume,
    Abort,
}

impl Edit {
    fn spec(self) -> Value {
        match self {
            Self::Pause => json!({ "paused": true }),
            Self::Resume => json!({ "paused": false }),
            Self::Abort => json!({ "operation": "Abort" }),
        }
    }

    const fn done(self) -> &'static str {
        match self {
            Self::Pause => "paused",
            Self::Resume => "resumed",
            Self::Abort => "aborted",
        }
    }

    /// Why it changes nothing, or can't.
    fn refusal(self, upgrade: &ClusterUpgrade, invocation: &Invocation) -> Option<String> {
        let name = upgrade.name_any();
        let cluster = &upgrade.spec.cluster_name;
        match (self, upgrade.finished_phase()) {
            (Self::Pause | Self::Abort, Some(phase)) => Some(format!(
                "ClusterUpgrade {name} is {}: nothing of it goes on. See `{}`",
                phase.as_str(),
                invocation.command(&format!("status {cluster}"), "")
            )),
            (Self::Abort, None) if upgrade.spec.operation.is_rollback() => Some(format!(
                "ClusterUpgrade {name} is a rollback: delete it to stop it where it is, with `kubectl delete clusterupgrade {name}`"
            )),
            (Self::Pause | Self::Abort | Self::Resume, _) => None,
        }
    }
}

/// Writes it.
pub(crate) async fn run(connection: &Connection, args: &EditArgs, edit: Edit) -> Result<Exit, Error> {
    let upgrade = read::current(connection, &args.cluster).await?;
    let written = apply(connection, &upgrade, edit, Write::of(args.dry_run)).await?;
    written.print()?;
    Ok(Exit::Done)
}

/// Writes it into this upgrade.
pub(crate) async fn apply(
    connection: &Connection,
    upgrade: &ClusterUpgrade,
    edit: Edit,
    write: Write,
) -> Result<Written, Error> {
    if let Some(why) = edit.refusal(upgrade, &connection.invocation) {
        return Err(Error::Refused(why));
    }
    write::patch(connection, upgrade, edit.spec(), edit.done(), write).await
}
