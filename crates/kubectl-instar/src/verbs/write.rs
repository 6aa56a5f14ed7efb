//! Writes: a patch of a ClusterUpgrade, or a new one, under the user's own rights.

use instar::cluster::call;
use instar_api::ClusterUpgrade;
use kube::{
    ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::Value;

use crate::{Error, connection::Connection, read::resource_name};

/// By which the API server tells what a user did here.
const FIELD_MANAGER: &str = "kubectl-instar";

/// Whether anything is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// It is.
    Made,
    /// The API server says what would become of it, admission included, and keeps nothing.
    DryRun,
}

impl Write {
    pub(crate) const fn of(dry_run: bool) -> Self {
        if dry_run { Self::DryRun } else { Self::Made }
    }

    const fn is_dry_run(self) -> bool {
        match self {
            Self::Made => false,
            Self::DryRun => true,
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::Made => "",
            Self::DryRun => " (server dry run)",
        }
    }
}

/// A merge patch of the spec, against the version that was read: no edit of another client is lost. The answer says what was
/// done.
pub(crate) async fn patch(
    connection: &Connection,
    upgrade: &ClusterUpgrade,
    spec: Value,
    done: &str,
    write: Write,
) -> Result<String, Error> {
    let name = upgrade.name_any();
    let body = serde_json::json!({
        "metadata": { "resourceVersion": upgrade.metadata.resource_version },
        "spec": spec,
    });
    let params = PatchParams {
        dry_run: write.is_dry_run(),
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let api = connection.api::<ClusterUpgrade>();
    let what = || format!("cannot change ClusterUpgrade {name}");
    call(what, api.patch(&name, &params, &Patch::Merge(&body))).await?;
    Ok(format!("{} {done}{}\n", resource_name(&name), write.suffix()))
}

/// A new ClusterUpgrade. The answer says so.
pub(crate) async fn create(connection: &Connection, upgrade: &ClusterUpgrade, write: Write) -> Result<String, Error> {
    let name = upgrade.name_any();
    let params = PostParams {
        dry_run: write.is_dry_run(),
        field_manager: Some(FIELD_MANAGER.to_owned()),
    };
    let api = connection.api::<ClusterUpgrade>();
    call(
        || format!("cannot create ClusterUpgrade {name}"),
        api.create(&params, upgrade),
    )
    .await?;
    Ok(format!("{} created{}\n", resource_name(&name), write.suffix()))
}
