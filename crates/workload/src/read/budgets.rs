//! The PodDisruptionBudgets, the Pods that they may hold, and what the API server says to the eviction of these.

use instar_preflight::workload::{BudgetReader, BudgetView, Budgets, Candidate, Extent as Known, PodView, Verdict};
use kube::api::ListParams;
use serde_json::json;

use super::name::is_name;
use crate::client::{CallError, Extent, WorkloadClient};

const MOST_BUDGETS: usize = 2000;

/// How many Pods are read of a namespace that has a budget which may hold one.
const MOST_PODS: usize = 2000;

/// Of how many namespaces.
const MOST_NAMESPACES: usize = 32;

/// How many evictions are tried.
const MOST_EVICTIONS: usize = 40;

pub(super) async fn read(client: &WorkloadClient) -> Result<Budgets, CallError> {
    let mut budgets = BudgetReader::default();
    let add = |budget: BudgetView| budgets.add(budget);
    if client
        .each("/apis/policy/v1/poddisruptionbudgets", MOST_BUDGETS, add)
        .await?
        == Extent::Bounded
    {
        budgets.bound("PodDisruptionBudgets", Known::First(MOST_BUDGETS));
    }
    let namespaces: Vec<String> = budgets
        .namespaces()
        .filter(|name| is_name(name))
        .map(str::to_owned)
        .collect();
    if namespaces.len() > MOST_NAMESPACES {
        budgets.bound(
            "namespaces with PodDisruptionBudgets that may hold Pods",
            Known::First(MOST_NAMESPACES),
        );
    }
    for namespace in namespaces.iter().take(MOST_NAMESPACES) {
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        // Of others an eviction asks no budget.
        let running = ListParams::default().fields("status.phase=Running,spec.nodeName!=");
        let add = |pod: PodView| budgets.add_pod(namespace, pod);
        if client.each_selected(&path, running, MOST_PODS, add).await? == Extent::Bounded {
            budgets.bound("Pods of a namespace", Known::First(MOST_PODS));
        }
    }
    let candidates = budgets.candidates();
    if candidates.len() > MOST_EVICTIONS {
        budgets.bound("Pods whose budgets may hold them", Known::First(MOST_EVICTIONS));
    }
    for candidate in candidates.into_iter().take(MOST_EVICTIONS) {
        if is_name(&candidate.pod) {
            let verdict = tried(client, &candidate).await?;
            budgets.judge(candidate, verdict);
        }
    }
    Ok(budgets.finish())
}

/// What an eviction would come to. Both places say that it is only tried, and the API server refuses one that says so in
/// one alone.
async fn tried(client: &WorkloadClient, candidate: &Candidate) -> Result<Verdict, CallError> {
    let Candidate { namespace, pod, .. } = candidate;
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/eviction");
    let eviction = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": { "namespace": namespace, "name": pod },
        "deleteOptions": { "dryRun": ["All"] },
    });
    match client.try_write(&path, &eviction).await {
        Ok(()) => Ok(Verdict::Evicted),
        // It may be gone by now; a server without evictions names no Pod.
        Err(CallError::Refused { code: 404, message, .. }) if message.contains(pod.as_str()) => Ok(Verdict::Evicted),
        // Both texts: `pkg/registry/core/pod/storage/eviction.go` of kubernetes.
        Err(CallError::Refused { code: 429, message, .. }) if message.contains("disruption budget") => {
            Ok(Verdict::Held)
        }
        Err(CallError::Refused { code: 500, message, .. }) if message.contains("more than one PodDisruptionBudget") => {
            Ok(Verdict::Held)
        }
        Err(error) => Err(error),
    }
}
