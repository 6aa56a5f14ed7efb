//! Writes: a patch of a ClusterUpgrade, or a new one, under the user's own rights.

mod warnings;

use instar::cluster::call;
use instar_api::ClusterUpgrade;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::Value;

use self::warnings::Warnings;
use crate::{Error, connection::Connection, output, read::resource_name};

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

/// What was done, and what the API server warned of meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// What was done: lines, each with its break.
    pub(crate) done: String,
    /// The warnings in the order in which they came. Admission gives a long one in several.
    pub(crate) warnings: Vec<String>,
}

impl Written {
    /// Nothing was, and why.
    pub(crate) fn nothing(why: String) -> Self {
        Self {
            done: why,
            warnings: Vec::new(),
        }
    }

    /// As kubectl does: the warnings on standard error.
    pub(crate) fn print(&self) -> Result<(), Error> {
        for warning in &self.warnings {
            eprintln!("Warning: {warning}");
        }
        output::print(&self.done)
    }
}

/// A merge patch of the spec, against the version that was read: no edit of another client is lost.
pub(crate) async fn patch(
    connection: &Connection,
    upgrade: &ClusterUpgrade,
    spec: Value,
    done: &str,
    write: Write,
) -> Result<Written, Error> {
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
    let (api, warnings) = heard(connection);
    let what = || format!("cannot change ClusterUpgrade {name}");
    call(what, api.patch(&name, &params, &Patch::Merge(&body))).await?;
    Ok(Written {
        done: format!("{} {done}{}\n", resource_name(&name), write.suffix()),
        warnings: warnings.take(),
    })
}

/// A new ClusterUpgrade.
pub(crate) async fn create(connection: &Connection, upgrade: &ClusterUpgrade, write: Write) -> Result<Written, Error> {
    let name = upgrade.name_any();
    let params = PostParams {
        dry_run: write.is_dry_run(),
        field_manager: Some(FIELD_MANAGER.to_owned()),
    };
    let (api, warnings) = heard(connection);
    call(
        || format!("cannot create ClusterUpgrade {name}"),
        api.create(&params, upgrade),
    )
    .await?;
    Ok(Written {
        done: format!("{} created{}\n", resource_name(&name), write.suffix()),
        warnings: warnings.take(),
    })
}

/// The ClusterUpgrades of the namespace, and what the API server warns of when one is written.
fn heard(connection: &Connection) -> (Api<ClusterUpgrade>, Warnings) {
    let (client, warnings) = Warnings::heard_by(&connection.client);
    (Api::namespaced(client, &connection.namespace), warnings)
}
