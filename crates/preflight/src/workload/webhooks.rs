//! The webhooks of a workload cluster that an upgrade meets: those that could refuse what a new machine and the
//! control plane write.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};
use serde::Deserialize;

use super::{Extent, text::quoted};

/// How many are kept, the worst first.
const MOST: usize = 64;

/// Longer than this, and a request that waits for it is ended before it is: the API server's own clients give up.
const LONG: i64 = 15;

const KUBE_SYSTEM: &str = "kube-system";

/// What a machine can't join, or a control plane can't work without. Source: Gardener's list of problematic webhooks
/// (`pkg/gardenlet/operation/botanist/matchers/matcher.go` of gardener/gardener).
const CRITICAL: [(&str, &str, Scope); 13] = [
    ("", "nodes", Scope::Cluster),
    ("", "nodes/status", Scope::Cluster),
    ("", "namespaces", Scope::Cluster),
    ("", "pods", Scope::Namespaced),
    ("", "pods/status", Scope::Namespaced),
    ("", "configmaps", Scope::Namespaced),
    ("", "secrets", Scope::Namespaced),
    ("", "serviceaccounts", Scope::Namespaced),
    ("", "endpoints", Scope::Namespaced),
    ("coordination.k8s.io", "leases", Scope::Namespaced),
    ("certificates.k8s.io", "certificatesigningrequests", Scope::Cluster),
    ("rbac.authorization.k8s.io", "clusterroles", Scope::Cluster),
    ("rbac.authorization.k8s.io", "clusterrolebindings", Scope::Cluster),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Cluster,
    Namespaced,
}

/// What is read of a `ValidatingWebhookConfiguration` or a `MutatingWebhookConfiguration`.
#[derive(Debug, Clone, Deserialize)]
pub struct WebhookConfigurationView {
    metadata: Metadata,
    #[serde(default)]
    webhooks: Option<Vec<WebhookView>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WebhookView {
    name: String,
    #[serde(default)]
    failure_policy: Option<String>,
    #[serde(default)]
    timeout_seconds: Option<i64>,
    #[serde(default)]
    client_config: ClientConfig,
    #[serde(default)]
    rules: Option<Vec<Rule>>,
    #[serde(default)]
    namespace_selector: Option<LabelSelector>,
    #[serde(default)]
    object_selector: Option<LabelSelector>,
    #[serde(default)]
    match_conditions: Option<Vec<serde::de::IgnoredAny>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct ClientConfig {
    #[serde(default)]
    service: Option<Service>,
}

/// The Service that answers for a webhook.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Service {
    pub namespace: String,
    pub name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    api_groups: Vec<String>,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    operations: Vec<String>,
    #[serde(default)]
    scope: Option<String>,
}

/// A webhook that an upgrade meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookEffect {
    /// The kind and the name of the configuration.
    pub kind: &'static str,
    pub configuration: String,
    pub webhook: String,
    /// What it is asked about first: "pods in kube-system".
    pub resource: String,
    pub danger: Danger,
    pub backend: Backend,
}

/// What it does to a request while its server doesn't answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Danger {
    /// Refuses it.
    Refuses,
    /// Lets it through after so many seconds.
    Delays { seconds: i64 },
}

/// Who answers for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// A URL, which nothing is known of.
    Url,
    /// A Service with ready endpoints.
    Ready(Service),
    /// A Service without any: the webhook fails now.
    Dead(Service),
    /// A Service whose endpoints were not read.
    Unread(Service),
}

/// What is read of the namespace kube-system.
#[derive(Debug, Clone, Deserialize)]
pub struct NamespaceView {
    metadata: NamespaceMetadata,
}

#[derive(Debug, Clone, Deserialize)]
struct NamespaceMetadata {
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

/// The webhooks that an upgrade meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhooks {
    pub found: Vec<WebhookEffect>,
    /// How many there are beside those.
    pub more: usize,
    pub extent: Extent,
}

impl Webhooks {
    /// Webhooks, of which none was seen yet.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            found: Vec::new(),
            more: 0,
            extent: Extent::Whole,
        }
    }

    /// Adds those of a configuration that an upgrade meets.
    pub fn add(&mut self, kind: &'static str, configuration: WebhookConfigurationView, kube_system: &NamespaceView) {
        let none = BTreeMap::new();
        let kube_system = kube_system.metadata.labels.as_ref().unwrap_or(&none);
        let name = quoted(&configuration.metadata.name);
        for webhook in configuration.webhooks.into_iter().flatten() {
            let Some((danger, resource)) = webhook.meets(kube_system) else {
                continue;
            };
            if self.found.len() == MOST {
                self.more += 1;
                continue;
            }
            self.found.push(WebhookEffect {
                kind,
                configuration: name.clone(),
                webhook: quoted(&webhook.name),
                resource,
                danger,
                backend: webhook.client_config.service.map_or(Backend::Url, |service| {
                    Backend::Unread(Service {
                        namespace: quoted(&service.namespace),
                        name: quoted(&service.name),
                    })
                }),
            });
        }
    }

    /// The Services whose endpoints are still to be read.
    pub fn unread(&self) -> impl Iterator<Item = &Service> {
        self.found.iter().filter_map(|effect| match &effect.backend {
            Backend::Unread(service) => Some(service),
            Backend::Url | Backend::Ready(_) | Backend::Dead(_) => None,
        })
    }

    /// What was read of the endpoints of a Service.
    pub fn resolve(&mut self, service: &Service, endpoints: Endpoints) {
        for effect in &mut self.found {
            if effect.backend == Backend::Unread(service.clone()) {
                effect.backend = match endpoints {
                    Endpoints::Ready => Backend::Ready(service.clone()),
                    Endpoints::None => Backend::Dead(service.clone()),
                };
            }
        }
    }
}

/// Whether a Service has ready endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoints {
    Ready,
    None,
}

impl WebhookView {
    fn meets(&self, kube_system: &BTreeMap<String, String>) -> Option<(Danger, String)> {
        let seconds = self.timeout_seconds.unwrap_or(10);
        // Absent is Fail in v1.
        let danger = match self.failure_policy.as_deref() {
            Some("Ignore") if seconds > LONG => Danger::Delays { seconds },
            Some("Ignore") => return None,
            Some(_) | None => Danger::Refuses,
        };
        // What matchConditions leave out can't be told from outside. An objectSelector is mostly an opt-in by a label
        // that no object of the system has.
        let none = BTreeMap::new();
        let is_opted_in = self
            .object_selector
            .as_ref()
            .is_some_and(|selector| !selects(selector, &none));
        if is_opted_in
            || self
                .match_conditions
                .as_ref()
                .is_some_and(|conditions| !conditions.is_empty())
        {
            return None;
        }
        let selector = self.namespace_selector.as_ref();
        let in_kube_system = selector.is_none_or(|selector| selects(selector, kube_system));
        let rules = self.rules.iter().flatten();
        let mut met = rules.flat_map(|rule| CRITICAL.into_iter().filter(move |critical| rule.matches(critical)));
        met.find_map(|(_, resource, scope)| match scope {
            Scope::Cluster => Some((danger, resource.to_owned())),
            Scope::Namespaced => in_kube_system.then(|| (danger, format!("{resource} in {KUBE_SYSTEM}"))),
        })
    }
}

impl Rule {
    fn matches(&self, (group, resource, scope): &(&str, &str, Scope)) -> bool {
        let has = |list: &[String], one: &str| list.iter().any(|item| item == "*" || item == one);
        let writes = ["CREATE", "UPDATE"].iter().any(|write| has(&self.operations, write));
        let is_in_scope = match (self.scope.as_deref(), scope) {
            (Some("Cluster"), Scope::Namespaced) | (Some("Namespaced"), Scope::Cluster) => false,
            (Some(_) | None, Scope::Cluster | Scope::Namespaced) => true,
        };
        writes && is_in_scope && has(&self.api_groups, group) && self.names(resource)
    }

    /// `*` has no subresources, `*/*` has all, `pods/*` has those of pods and not the pods.
    fn names(&self, resource: &str) -> bool {
        let (parent, sub) = resource.split_once('/').unwrap_or((resource, ""));
        self.resources.iter().any(|named| match named.split_once('/') {
            None => sub.is_empty() && (named == "*" || named == parent),
            Some(("*", "*")) => true,
            Some((of, "*")) => of == parent && !sub.is_empty(),
            Some((of, named_sub)) => !sub.is_empty() && (of == "*" || of == parent) && named_sub == sub,
        })
    }
}

/// Whether a selector selects what has these labels. One that can't be read does.
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    Selector::try_from(selector.clone()).map_or(true, |selector| selector.matches(labels))
}
