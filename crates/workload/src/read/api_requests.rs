//! What each API server counts of requests for deprecated APIs, and who wrote objects by these.
//!
//! Each process counts its own requests, so each is asked, through its Pod. Where none has a Pod, their Leases say how many
//! there are.

use futures::future::join_all;
use instar_preflight::workload::{ApiRequests, ApiResource, ApiServerAnswer, Coverage, MetricsReader, WrittenView};
use jiff::{SignedDuration, Timestamp};
use kube::api::ListParams;
use serde::Deserialize;

use super::name::is_name;
use crate::client::{CallError, Extent, WorkloadClient};

/// As many as any control plane has.
const MOST_SERVERS: usize = 16;

const PODS: &str = "/api/v1/namespaces/kube-system/pods";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";

/// kubeadm labels its static Pods so, and so do distributions.
const POD_LABEL: &str = "component=kube-apiserver";

/// Source: `pkg/controlplane/apiserver/server.go` of kubernetes.
const LEASE_LABEL: &str = "apiserver.kubernetes.io/identity=kube-apiserver";

/// A Lease is renewed every 10 s, and stays for an hour when its process is gone. Clocks differ by less.
const GONE: SignedDuration = SignedDuration::from_mins(5);

/// Where an API server listens that doesn't say it.
const PORT: u16 = 6443;

/// Of how many APIs writers are looked for, and in how many objects of each.
const MOST_APIS: usize = 8;
const MOST_OBJECTS: usize = 200;

#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Deserialize, Default)]
struct PodSpec {
    #[serde(default)]
    containers: Option<Vec<Container>>,
}

#[derive(Deserialize)]
struct Container {
    #[serde(default)]
    command: Option<Vec<String>>,
    #[serde(default)]
    args: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
struct PodStatus {
    #[serde(default)]
    phase: String,
}

impl Pod {
    fn has_ended(&self) -> bool {
        matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    fn port(&self) -> u16 {
        let containers = self.spec.containers.iter().flatten();
        let arguments = containers.flat_map(|container| container.command.iter().chain(&container.args).flatten());
        let mut ports = arguments.filter_map(|argument| argument.strip_prefix("--secure-port=")?.parse().ok());
        ports.next().unwrap_or(PORT)
    }
}

#[derive(Deserialize)]
struct Lease {
    #[serde(default)]
    spec: LeaseSpec,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct LeaseSpec {
    #[serde(default)]
    renew_time: Option<Timestamp>,
}

pub(super) async fn read(client: &WorkloadClient, now: Timestamp) -> Result<ApiRequests, CallError> {
    let mut pods = Vec::new();
    let labelled = ListParams::default().labels(POD_LABEL);
    let add = |pod: Pod| {
        if !pod.has_ended() && is_name(&pod.metadata.name) {
            pods.push(pod);
        }
    };
    let extent = client.each_selected(PODS, labelled, MOST_SERVERS, add).await?;
    let mut requests = if pods.is_empty() {
        at_the_address(client, now).await?
    } else {
        through(client, &pods).await?
    };
    match extent {
        Extent::Whole => {}
        Extent::Bounded => {
            let why = format!("no more than {MOST_SERVERS} are asked");
            requests.answered("of another Pod", ApiServerAnswer::Unread { why });
        }
    }
    let successors = requests.successors();
    for (api, successor) in successors.iter().take(MOST_APIS) {
        add_writers(client, &mut requests, api, successor).await?;
    }
    Ok(requests)
}

async fn through(client: &WorkloadClient, pods: &[Pod]) -> Result<ApiRequests, CallError> {
    let mut requests = ApiRequests::none(Coverage::Pods);
    // One that is silent keeps none of the others waiting.
    let asked = pods.iter().map(|pod| async move {
        let name = pod.metadata.name.as_str();
        let mut metrics = MetricsReader::default();
        let read = client.metrics_of_pod(name, pod.port(), |line| metrics.line(line)).await;
        (name, read.map(|()| metrics))
    });
    for (name, read) in join_all(asked).await {
        match read {
            Ok(metrics) => requests.add(name, metrics),
            // A right that is missing is missing for all of them, and the error says so.
            Err(error @ CallError::Refused { code: 401 | 403, .. }) => return Err(error),
            Err(error) => {
                let why = error.to_string();
                requests.answered(name, ApiServerAnswer::Unread { why });
            }
        }
    }
    Ok(requests)
}

async fn at_the_address(client: &WorkloadClient, now: Timestamp) -> Result<ApiRequests, CallError> {
    let mut running = 0;
    let add = |lease: Lease| {
        let renewed = lease.spec.renew_time;
        running += usize::from(renewed.is_some_and(|renewed| now.duration_since(renewed) < GONE));
    };
    let labelled = ListParams::default().labels(LEASE_LABEL);
    let running = match client.each_selected(LEASES, labelled, MOST_SERVERS, add).await {
        Ok(_) => Some(running).filter(|running| *running > 0),
        Err(CallError::Refused { code: 403 | 404, .. }) => None,
        Err(error) => return Err(error),
    };
    let mut requests = ApiRequests::none(Coverage::Address { running });
    let mut metrics = MetricsReader::default();
    match client.metrics(|line| metrics.line(line)).await {
        Ok(()) => requests.add(client.host(), metrics),
        Err(error @ CallError::Refused { code: 403 | 404, .. }) => {
            let why = error.to_string();
            requests.answered(client.host(), ApiServerAnswer::Refused { why });
        }
        Err(error) => return Err(error),
    }
    Ok(requests)
}

/// Looks for those who wrote by an API in the first objects, at the version that stays. Where that isn't served yet, or may
/// not be listed, they aren't known.
async fn add_writers(
    client: &WorkloadClient,
    requests: &mut ApiRequests,
    api: &ApiResource,
    successor: &ApiResource,
) -> Result<(), CallError> {
    let prefix = if successor.group.is_empty() { "/api" } else { "/apis" };
    let path = format!("{prefix}/{}/{}", successor.group_version(), successor.resource);
    let add = |object: WrittenView| requests.add_writers(api, &object);
    match client.each_metadata(&path, MOST_OBJECTS, add).await {
        Ok(_) | Err(CallError::Refused { .. } | CallError::TooLong { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
