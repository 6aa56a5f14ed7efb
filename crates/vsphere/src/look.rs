//! One look at a vCenter: in, searched, out.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use instar_preflight::workload::Presence;
use tokio::time::timeout;

use crate::{
    client::Connection,
    credentials::Credentials,
    error::LookError,
    identity::VCenter,
    inventory::Inventory,
    soap::{self, Call, ServiceContent},
};

/// How long a search may take, however much is looked for.
const SEARCH: Duration = Duration::from_secs(20);

/// How long it may take to log out, where the vCenter is slow too. A session that isn't logged out of ends by itself, after
/// 30 minutes by default, and a vCenter has only so many.
const LOGOUT: Duration = Duration::from_secs(15);

/// A VM template, as a machine template names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WantedImage {
    pub image: String,
    /// As the machine template names it; empty where it names none.
    pub datacenter: String,
}

/// Looks for each, in one session.
///
/// # Errors
/// Why nothing was found out.
pub async fn look(
    vcenter: &VCenter,
    credentials: &Credentials,
    wanted: &BTreeSet<WantedImage>,
) -> Result<BTreeMap<WantedImage, Presence>, LookError> {
    look_within(vcenter, credentials, wanted, SEARCH).await
}

/// The same, with a deadline for the search.
pub(crate) async fn look_within(
    vcenter: &VCenter,
    credentials: &Credentials,
    wanted: &BTreeSet<WantedImage>,
    deadline: Duration,
) -> Result<BTreeMap<WantedImage, Presence>, LookError> {
    let mut connection = Connection::open(&vcenter.address, &vcenter.thumbprint).await?;
    let content = connection.call(&Call::service_content(), soap::service_content).await?;
    let session_manager = content.session_manager.clone();
    let login = Call::login(&session_manager, credentials);
    connection.call(&login, soap::done).await?;
    let searching = search(&mut connection, content, credentials, wanted);
    let found = timeout(deadline, searching).await;
    let found = found.unwrap_or_else(|_| {
        Err(LookError::TooSlow {
            host: vcenter.address.to_string(),
            seconds: deadline.as_secs(),
        })
    });
    // What was found counts all the same: the session ends by itself when it was idle for long enough.
    let logout = Call::logout(&session_manager);
    let leaving = log_out(vcenter, &mut connection, &logout, found.as_ref().err());
    match timeout(LOGOUT, leaving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "Not logging out of the vCenter"),
        Err(_) => tracing::debug!(
            host = connection.host(),
            "Not logging out of the vCenter, which is too slow"
        ),
    }
    found
}

/// Logs out: on another connection where this one still waits for an answer, since it takes one call after the other.
async fn log_out(
    vcenter: &VCenter,
    connection: &mut Connection,
    logout: &Call,
    error: Option<&LookError>,
) -> Result<(), LookError> {
    if error.is_some_and(LookError::leaves_an_answer_open) {
        let mut beside = connection.beside(&vcenter.address, &vcenter.thumbprint).await?;
        return beside.call(logout, soap::done).await;
    }
    connection.call(logout, soap::done).await
}

async fn search(
    connection: &mut Connection,
    content: ServiceContent,
    credentials: &Credentials,
    wanted: &BTreeSet<WantedImage>,
) -> Result<BTreeMap<WantedImage, Presence>, LookError> {
    let mut inventory = Inventory::new(connection, content, credentials);
    let mut found = BTreeMap::new();
    for image in wanted {
        let presence = inventory.presence(&image.image, &image.datacenter).await?;
        found.insert(image.clone(), presence);
    }
    Ok(found)
}
