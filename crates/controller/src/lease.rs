//! Who writes: one process at a time.
//!
//! The lease saves work. What is right rests on names that say what is in them and on writes that
//! compare, so two who both think that they lead do no harm.

use std::time::Duration;

use instar_watch::DefinitionsFit;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease as LeaseObject, LeaseSpec};
use kube::{Api, Client};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle},
    time::timeout,
};

use crate::api::call;

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

/// Whether some process has the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    Somebody,
    Nobody,
}

impl Holder {
    /// As far as it can be read: what fails may be held. Without a namespace there is no Lease.
    pub(crate) async fn read(client: &Client, namespace: Option<&str>, name: &str) -> Self {
        let Some(namespace) = namespace else {
            return Self::Nobody;
        };
        let api: Api<LeaseObject> = Api::namespaced(client.clone(), namespace);
        match call(|| format!("reading Lease {name}"), api.get_opt(name)).await {
            Ok(lease) => Self::of(lease.and_then(|lease| lease.spec).as_ref(), Timestamp::now()),
            Err(error) => {
                tracing::debug!("{error}");
                Self::Somebody
            }
        }
    }

    fn of(spec: Option<&LeaseSpec>, now: Timestamp) -> Self {
        let until = spec.and_then(|spec| {
            spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())?;
            let lasts = SignedDuration::from_secs(spec.lease_duration_seconds?.into());
            spec.renew_time.as_ref()?.0.checked_add(lasts).ok()
        });
        match until {
            Some(until) if now < until => Self::Somebody,
            Some(_) | None => Self::Nobody,
        }
    }
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
    /// Of a process that may write though it hasn't asked for the Lease.
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

    /// Of who writes nothing into objects of our kinds.
    pub(crate) fn leads_whatever_fits(&self) -> Leads {
        self.leads(DefinitionsFit::fitting())
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

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    use super::*;

    #[test]
    fn a_lease_that_was_given_back_or_has_expired_is_nobody_s() {
        let renewed: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let spec = |holder: &str| LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            renew_time: Some(MicroTime(renewed)),
            ..LeaseSpec::default()
        };
        let at = |seconds| renewed + SignedDuration::from_secs(seconds);
        for (spec, now, holder) in [
            (Some(spec("pod-1")), at(14), Holder::Somebody),
            (Some(spec("pod-1")), at(15), Holder::Nobody),
            (Some(spec("")), at(1), Holder::Nobody),
            (None, at(1), Holder::Nobody),
        ] {
            assert_eq!(Holder::of(spec.as_ref(), now), holder, "{spec:?} {now}");
        }
    }
}
