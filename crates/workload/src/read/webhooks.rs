//! The webhook configurations, and the endpoints of the Services that they name.

use std::collections::BTreeSet;

use instar_preflight::workload::{
    Endpoints, Extent as Known, NamespaceView, Service, WebhookConfigurationView, Webhooks,
};
use kube::api::ListParams;
use serde::Deserialize;

use super::name::is_name;
use crate::client::{CallError, Extent, WorkloadClient};

/// How many configurations of each kind are read. The largest clusters have some hundred.
const MOST: usize = 500;

/// How many EndpointSlices of a Service are read: each has up to a hundred endpoints, and one ready endpoint is enough.
const MOST_SLICES: usize = 50;

const KINDS: [(&str, &str); 2] = [
    ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
    ("ValidatingWebhookConfiguration", "validatingwebhookconfigurations"),
];

#[derive(Deserialize)]
struct EndpointSlice {
    endpoints: Option<Vec<Endpoint>>,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(default)]
    conditions: Conditions,
}

#[derive(Deserialize, Default)]
struct Conditions {
    ready: Option<bool>,
}

pub(super) async fn read(client: &WorkloadClient) -> Result<Webhooks, CallError> {
    let kube_system: NamespaceView = client.one("/api/v1/namespaces/kube-system").await?;
    let mut webhooks = Webhooks::none();
    for (kind, plural) in KINDS {
        let path = format!("/apis/admissionregistration.k8s.io/v1/{plural}");
        let add = |configuration: WebhookConfigurationView| webhooks.add(kind, configuration, &kube_system);
        match client.each(&path, MOST, add).await? {
            Extent::Whole => {}
            Extent::Bounded => webhooks.extent = Known::First(MOST),
        }
    }
    let services: BTreeSet<Service> = webhooks
        .unread()
        .filter(|service| is_name(&service.namespace) && is_name(&service.name))
        .cloned()
        .collect();
    for service in services {
        let endpoints = endpoints(client, &service).await?;
        webhooks.resolve(&service, endpoints);
    }
    Ok(webhooks)
}

async fn endpoints(client: &WorkloadClient, service: &Service) -> Result<Endpoints, CallError> {
    let Service { namespace, name } = service;
    let path = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
    let of_service = ListParams::default().labels(&format!("kubernetes.io/service-name={name}"));
    let mut found = Endpoints::None;
    let add = |slice: EndpointSlice| {
        let mut endpoints = slice.endpoints.iter().flatten();
        // Absent means that it isn't known, which counts as ready.
        if endpoints.any(|endpoint| endpoint.conditions.ready.unwrap_or(true)) {
            found = Endpoints::Ready;
        }
    };
    client.each_selected(&path, of_service, MOST_SLICES, add).await?;
    Ok(found)
}
