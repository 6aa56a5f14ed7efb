//! What is asked of a workload cluster for each probe.

mod api_requests;
mod authorities;
mod budgets;
mod name;
mod nodes;
mod webhooks;

use instar_preflight::workload::{Facts, WorkloadProbe};
use jiff::Timestamp;

use crate::client::{CallError, WorkloadClient};

/// Reads what a probe asks for. `now` is what times in the cluster are compared with.
///
/// # Errors
/// The first call that failed.
pub async fn read(client: &WorkloadClient, probe: WorkloadProbe, now: Timestamp) -> Result<Facts, CallError> {
    match probe {
        WorkloadProbe::Nodes => nodes::read(client, now).await.map(Facts::Nodes),
        WorkloadProbe::Authorities => authorities::read(client).await.map(Facts::Authorities),
        WorkloadProbe::Budgets => budgets::read(client).await.map(Facts::Budgets),
        WorkloadProbe::ApiRequests => api_requests::read(client, now).await.map(Facts::ApiRequests),
        WorkloadProbe::Webhooks => webhooks::read(client).await.map(Facts::Webhooks),
    }
}

#[cfg(test)]
mod tests;
