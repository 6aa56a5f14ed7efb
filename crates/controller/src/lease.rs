//! Who writes: one process at a time.
//!
//! The lease saves work. What is right rests on names that say what is in them and on writes that
//! compare, so two who both think that they lead do no harm.

use std::time::Duration;

use instar_watch::DefinitionsFit;
use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle},
    time::timeout,
};

/// The Lease's name, of a controller that looks after every Cluster; the names of others begin with it.
pub const NAME: &str = "instar-controller";
/// How long the Lease is valid after a renewal.
const SECONDS: u64 = 15;
/// How long before its end the Lease is renewed.
const GRACE_SECONDS: u64 = 5;

/// How long releasing the Lease may take.
const GIVE_BACK: Duration = Duration::from_secs(5);

/// Why this process can't be the leader.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error("cannot use the Lease {name} in the namespace {namespace}")]
    Start {
        name: String,
        namespace: String,
        source: LeaseManagerError,
    },
    #[error("renewing the Lease ended")]
    Ended(#[source] LeaseManagerError),
    #[error("renewing the Lease ended without an error: please report this")]
    Quiet,
    #[error("renewing the Lease panicked: please report this")]
    Panicked(#[source] JoinError),
    #[error("another process holds the Lease")]
    Lost,
}

/// Whether this process leads.
#[derive(Debug)]
pub(crate) struct Lease {
    leads: watch::Receiver<bool>,
    renewing: Option<JoinHandle<kube_lease_manager::Result<LeaseManager>>>,
    /// Held where there is no lease, so that the channel stays open.
    _alone: Option<watch::Sender<bool>>,
}

/// Asked before every write: whether this process leads, and whether what it writes would be kept.
#[derive(Clone, Debug)]
pub(crate) struct Leads {
    leads: watch::Receiver<bool>,
    definitions: DefinitionsFit,
}

impl Leads {
    /// Of a process that is alone, and stays so.
    #[cfg(test)]
    pub(crate) fn alone() -> Self {
        Self {
            leads: watch::channel(true).1,
            definitions: DefinitionsFit::fitting(),
        }
    }

    /// Of a process that doesn't lead.
    #[cfg(test)]
    pub(crate) fn lost() -> Self {
        Self {
            leads: watch::channel(false).1,
            definitions: DefinitionsFit::fitting(),
        }
    }

    pub(crate) fn now(&self) -> bool {
        *self.leads.borrow() && self.definitions.now()
    }

    /// Whether our CustomResourceDefinitions fit this program.
    pub(crate) fn definitions_fit(&self) -> bool {
        self.definitions.now()
    }
}

impl Lease {
    /// Takes part in the election for a Lease in this namespace. Without a namespace this process is the leader.
    pub(crate) async fn start(client: &Client, namespace: Option<&str>, name: &str) -> Result<Self, LeaseError> {
        let Some(namespace) = namespace else {
            let (alone, leads) = watch::channel(true);
            return Ok(Self {
                leads,
                renewing: None,
                _alone: Some(alone),
            });
        };
        let lease = LeaseManagerBuilder::new(client.clone(), name)
            .with_namespace(namespace)
            .with_duration(SECONDS)
            .with_grace(GRACE_SECONDS)
            .build()
            .await
            .map_err(|source| LeaseError::Start {
                name: name.to_owned(),
                namespace: namespace.to_owned(),
                source,
            })?;
        let (leads, renewing) = lease.watch().await;
        Ok(Self {
            leads,
            renewing: Some(renewing),
            _alone: None,
        })
    }

    pub(crate) fn leads(&self, definitions: DefinitionsFit) -> Leads {
        Leads {
            leads: self.leads.clone(),
            definitions,
        }
    }

    /// Waits until this process leads.
    pub(crate) async fn won(&mut self) -> Result<(), LeaseError> {
        if self.leads.wait_for(|leads| *leads).await.is_ok() {
            return Ok(());
        }
        Err(self.ended().await)
    }

    /// Waits until this process is not the leader any more.
    pub(crate) async fn lost(&mut self) -> LeaseError {
        if self.leads.wait_for(|leads| !*leads).await.is_ok() {
            return LeaseError::Lost;
        }
        self.ended().await
    }

    /// Releases the Lease, so that the next process needn't wait until it has expired. Drop every [`Leads`]
    /// before.
    pub(crate) async fn give_back(self) {
        let Self { leads, renewing, .. } = self;
        drop(leads);
        let Some(renewing) = renewing else { return };
        match timeout(GIVE_BACK, renewing).await {
            Ok(Ok(Ok(_))) => tracing::info!("Released the Lease"),
            Ok(Ok(Err(error))) => tracing::warn!(%error, "Cannot release the Lease"),
            Ok(Err(error)) => tracing::warn!(%error, "Cannot release the Lease"),
            Err(_) => tracing::warn!("Cannot release the Lease within {} s", GIVE_BACK.as_secs()),
        }
    }

    async fn ended(&mut self) -> LeaseError {
        let Some(renewing) = self.renewing.take() else {
            return LeaseError::Quiet;
        };
        match renewing.await {
            Ok(Ok(_)) => LeaseError::Quiet,
            Ok(Err(error)) => LeaseError::Ended(error),
            Err(panicked) => LeaseError::Panicked(panicked),
        }
    }
}
