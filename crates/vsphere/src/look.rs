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

/// How long it may take to log out. A session that isn't ends by itself.
const LOGOUT: Duration = Duration::from_secs(3);

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
    let mut connection = Connection::open(&vcenter.address, &vcenter.thumbprint).await?;
    let content = connection.call(&Call::service_content(), soap::service_content).await?;
    let session_manager = content.session_manager.clone();
    let login = Call::login(&session_manager, credentials);
    connection.call(&login, soap::done).await?;
    let searching = search(&mut connection, content, credentials, wanted);
    let found = timeout(SEARCH, searching).await;
    let found = found.unwrap_or_else(|_| {
        Err(LookError::TooSlow {
            host: vcenter.address.to_string(),
            seconds: SEARCH.as_secs(),
        })
    });
    // What was found counts all the same: the session ends by itself when it was idle for long enough.
    let logout = Call::logout(&session_manager);
    match timeout(LOGOUT, connection.call(&logout, soap::done)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "Not logging out of the vCenter"),
        Err(_) => tracing::debug!(
            host = connection.host(),
            "Not logging out of the vCenter, which is too slow"
        ),
    }
    found
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
