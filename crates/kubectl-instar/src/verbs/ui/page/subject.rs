//! What a page is about, read and rendered.

use std::time::Duration;

use instar_api::ClusterUpgrade;
use instar_report::{
    Report,
    html::{self, Forms, Fragment, Listed, View},
    text::FleetRow,
};
use jiff::Timestamp;
use kube::{
    Api,
    api::{ApiResource, DynamicObject},
};
use tokio::time::timeout;

use crate::{Error, connection::Connection, read};

/// So long a read may take before the page says so.
const PATIENCE: Duration = Duration::from_secs(8);

/// Of which namespaces Clusters are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Of that of the connection.
    Namespace,
    /// Of all.
    All,
}

/// What a page is about.
#[derive(Clone, Debug)]
pub(super) enum Subject {
    /// The Clusters that have upgrades.
    Fleet(Scope),
    /// One of them; the connection's namespace is its own.
    Cluster {
        /// Its name.
        name: String,
        /// Which of its Machines are listed.
        machines: Listed,
    },
}

impl Subject {
    /// How often it is read again: all upgrades of a fleet are many.
    pub(super) const fn every(&self) -> Duration {
        match self {
            Self::Fleet(_) => Duration::from_secs(10),
            Self::Cluster { .. } => Duration::from_secs(2),
        }
    }

    /// Read now, with forms where a page has them.
    pub(super) async fn fragment(&self, connection: &Connection, forms: Forms<'_>) -> Result<Fragment, String> {
        match self {
            Self::Fleet(scope) => {
                let rows = in_time(fleet(connection, *scope)).await?;
                let of = match scope {
                    Scope::All => "All namespaces".to_owned(),
                    Scope::Namespace => format!("Namespace {}", connection.namespace),
                };
                Ok(html::of_fleet(&rows, &of, Timestamp::now(), &connection.invocation))
            }
            Self::Cluster { name, machines } => {
                let report = report(connection, name).await?;
                let view = View {
                    now: Timestamp::now(),
                    machines: *machines,
                    invocation: &connection.invocation,
                    forms,
                };
                Ok(html::of_cluster(&report, view))
            }
        }
    }

    /// What stands there before anything could be read.
    pub(super) fn placeholder(&self, connection: &Connection) -> Fragment {
        match self {
            Self::Fleet(_) => html::unread("Upgrades"),
            Self::Cluster { name, .. } => html::unread(&format!("{}/{name}", connection.namespace)),
        }
    }
}

/// What is to be said of a Cluster, or why that can't be read.
pub(super) async fn report(connection: &Connection, name: &str) -> Result<Report, String> {
    in_time(read::report(connection, name)).await
}

async fn in_time<T>(read: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
    match timeout(PATIENCE, read).await {
        Ok(read) => read.map_err(|error| error.one_line()),
        Err(_) => Err(format!(
            "the API server has not answered within {} s",
            PATIENCE.as_secs()
        )),
    }
}

async fn fleet(connection: &Connection, scope: Scope) -> Result<Vec<FleetRow>, Error> {
    let api: Api<DynamicObject> = match scope {
        Scope::All => Api::all_with(connection.client.clone(), &ApiResource::erase::<ClusterUpgrade>(&())),
        Scope::Namespace => read::dynamic::<ClusterUpgrade>(connection),
    };
    read::fleet(&api).await
}
