//! What is known of a workload cluster: what the checks need, folded from what its API server lists.
//!
//! What is kept is small, however large the cluster, and says nothing that changes by itself, such as the time of a
//! heartbeat: another reading of a cluster that has not changed is equal.

mod api_requests;
mod authorities;
mod budgets;
mod nodes;
mod text;
mod webhooks;

use std::{collections::BTreeMap, sync::Arc};

use instar_addons::SnapshotReading;
use instar_api::WorkloadAccess;
use instar_planner::Problem;
use jiff::{SignedDuration, Timestamp};

pub use api_requests::{ApiRequests, ApiServer, ApiServerAnswer, Coverage, MetricsReader, Requested, WrittenView};
pub use authorities::{Authorities, AuthoritySource};
pub use budgets::{BudgetReader, BudgetView, Budgets, Candidate, PodView, Verdict};
pub use nodes::{Few, ManagedNode, NodeView, Nodes, NotReady};
pub use webhooks::{
    Backend, Danger, Endpoints, NamespaceView, Service, WebhookConfigurationView, WebhookEffect, Webhooks,
};

pub use crate::{
    cluster_api::ClusterApiVersion,
    images::{ImageAt, Images, Missing, Presence, near_names},
    removed_apis::ApiResource,
};

/// What is read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Probe {
    /// The Nodes of a workload cluster.
    Nodes,
    /// Its webhook configurations.
    Webhooks,
    /// The Pods that its PodDisruptionBudgets hold.
    Budgets,
    /// Its certificate authorities.
    Authorities,
    /// What its API servers count of requests for deprecated APIs.
    ApiRequests,
    /// Where the provider keeps images, such as a vCenter, whether those on the way are there.
    Images,
}

impl Probe {
    /// What is read of the workload cluster for it; absent where something else is.
    #[must_use]
    pub const fn of_workload_cluster(self) -> Option<WorkloadProbe> {
        Some(match self {
            Self::Nodes => WorkloadProbe::Nodes,
            Self::Webhooks => WorkloadProbe::Webhooks,
            Self::Budgets => WorkloadProbe::Budgets,
            Self::Authorities => WorkloadProbe::Authorities,
            Self::ApiRequests => WorkloadProbe::ApiRequests,
            Self::Images => return None,
        })
    }

    /// Whether it reads megabytes, or logs in: once it lets the upgrade begin, it is read every 10 minutes and not twice a
    /// minute.
    #[must_use]
    pub const fn is_heavy(self) -> bool {
        match self {
            Self::Nodes | Self::Webhooks | Self::Budgets | Self::Authorities => false,
            Self::ApiRequests | Self::Images => true,
        }
    }
}

/// A [`Probe`] of a workload cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkloadProbe {
    Nodes,
    Webhooks,
    Budgets,
    Authorities,
    ApiRequests,
}

/// How long looks may take, where a policy says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deadlines {
    pub probes: BTreeMap<Probe, SignedDuration>,
    /// Of all that reports snapshots of etcd together.
    pub snapshots: Option<SignedDuration>,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Facts {
    Nodes(Nodes),
    Webhooks(Webhooks),
    Budgets(Budgets),
    Authorities(Authorities),
    ApiRequests(ApiRequests),
    Images(Images),
}

/// Whether the whole of a list was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    Whole,
    /// There are more than so many, and only these were read.
    First(usize),
}

/// What a probe found, or why it found nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// When it was read.
    pub at: Timestamp,
    pub found: Result<Facts, Problem>,
}

/// What is known of each probe. One that isn't there has not been answered yet.
pub type Readings = BTreeMap<Probe, Arc<Reading>>;

/// What is known of a workload cluster, of the images on its way, of what reports snapshots of its etcd, wherever that is,
/// and of Cluster API.
#[derive(Debug, Clone, Copy)]
pub struct Workload<'a> {
    pub access: &'a WorkloadAccess,
    pub readings: &'a Readings,
    pub snapshots: &'a [SnapshotReading],
    pub cluster_api: &'a ClusterApiVersion,
}

impl Facts {
    /// What was read of Nodes.
    pub(crate) const fn nodes(&self) -> Option<&Nodes> {
        match self {
            Self::Nodes(nodes) => Some(nodes),
            Self::Webhooks(_) | Self::Budgets(_) | Self::Authorities(_) | Self::ApiRequests(_) | Self::Images(_) => {
                None
            }
        }
    }

    /// What was read of webhooks.
    pub(crate) const fn webhooks(&self) -> Option<&Webhooks> {
        match self {
            Self::Webhooks(webhooks) => Some(webhooks),
            Self::Nodes(_) | Self::Budgets(_) | Self::Authorities(_) | Self::ApiRequests(_) | Self::Images(_) => None,
        }
    }

    /// What was read of budgets.
    pub(crate) const fn budgets(&self) -> Option<&Budgets> {
        match self {
            Self::Budgets(budgets) => Some(budgets),
            Self::Nodes(_) | Self::Webhooks(_) | Self::Authorities(_) | Self::ApiRequests(_) | Self::Images(_) => None,
        }
    }

    /// What was read of requests for deprecated APIs.
    pub(crate) const fn api_requests(&self) -> Option<&ApiRequests> {
        match self {
            Self::ApiRequests(requests) => Some(requests),
            Self::Nodes(_) | Self::Webhooks(_) | Self::Budgets(_) | Self::Authorities(_) | Self::Images(_) => None,
        }
    }

    /// What was read of certificate authorities.
    pub(crate) const fn authorities(&self) -> Option<&Authorities> {
        match self {
            Self::Authorities(authorities) => Some(authorities),
            Self::Nodes(_) | Self::Webhooks(_) | Self::Budgets(_) | Self::ApiRequests(_) | Self::Images(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
