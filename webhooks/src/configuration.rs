//! The webhook configurations: the requests for which the API server calls the server.
//!
//! They are narrow on purpose. The API server itself filters out requests that change no guarded field,
//! so that only guarded edits wait for this server, or fail while it is down. The table of rules says
//! which fields are guarded ([`GuardedKind::changes`]).

mod conditions;
mod entries;
mod policies;

use instar_admission::{Change, GuardedKind};
use instar_api::ADMISSION_LABEL;
use k8s_openapi::{
    api::admissionregistration::v1::{
        MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations, ServiceReference, ValidatingWebhook,
        ValidatingWebhookConfiguration, WebhookClientConfig,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta},
};

use crate::Route;
use entries::{Entry, Only, Resource};

pub use policies::{opt_out_policy, policies};

/// The name of the mutating configuration. API servers call them in the order of their names, and
/// Cluster API's own defaulting comes first.
pub const MUTATING: &str = "instar-mutating-webhook-configuration";

/// The name of the mutating configuration that is called before those of providers: what it sees is what the user
/// wrote, and no default of another webhook.
pub const MUTATING_FIRST: &str = "00-instar-mutating-webhook-configuration";

pub const VALIDATING: &str = "instar-validating-webhook-configuration";

/// How long the API server waits, in seconds.
const TIMEOUT: i32 = 5;

/// The address of the server.
#[derive(Debug, Clone, Copy)]
pub struct Service<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
}

/// The configurations of the mutating phase, in the order in which API servers call them.
#[must_use]
pub fn mutating(service: Service<'_>) -> [MutatingWebhookConfiguration; 2] {
    [Turn::BeforeProviders, Turn::AfterProviders].map(|turn| mutating_in(service, turn))
}

/// When a webhook is called in the mutating phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Before those of providers: it judges what the user wrote.
    BeforeProviders,
    /// After them: it judges, and writes, what is to be stored.
    AfterProviders,
}

impl Turn {
    const fn configuration(self) -> &'static str {
        match self {
            Self::BeforeProviders => MUTATING_FIRST,
            Self::AfterProviders => MUTATING,
        }
    }

    /// If another webhook changes the version or the pins after ours, it is called again; but not to judge defaults as
    /// if the user had written them.
    const fn reinvocation(self) -> &'static str {
        match self {
            Self::BeforeProviders => "Never",
            Self::AfterProviders => "IfNeeded",
        }
    }
}

fn mutating_in(service: Service<'_>, turn: Turn) -> MutatingWebhookConfiguration {
    let webhook = |(entry, route): (Entry, Route)| MutatingWebhook {
        admission_review_versions: vec!["v1".to_owned()],
        client_config: client(service, route),
        failure_policy: Some("Fail".to_owned()),
        match_conditions: Some(entry.mutating_conditions()),
        match_policy: Some("Equivalent".to_owned()),
        name: format!("mutate.{}.{}", entry.name, instar_api::GROUP),
        namespace_selector: entry.namespace_selector(),
        object_selector: None,
        reinvocation_policy: Some(turn.reinvocation().to_owned()),
        rules: Some(entry.rules()),
        side_effects: "NoneOnDryRun".to_owned(),
        timeout_seconds: Some(TIMEOUT),
    };
    MutatingWebhookConfiguration {
        metadata: named(turn.configuration()),
        webhooks: Some(
            Entry::all()
                .filter(|entry| entry.turn() == turn)
                .filter_map(|entry| entry.mutating().map(|route| (entry, route)))
                .map(webhook)
                .collect(),
        ),
    }
}

#[must_use]
pub fn validating(service: Service<'_>) -> ValidatingWebhookConfiguration {
    let webhook = |entry: Entry| ValidatingWebhook {
        admission_review_versions: vec!["v1".to_owned()],
        client_config: client(service, entry.validating()),
        failure_policy: Some("Fail".to_owned()),
        match_conditions: Some(entry.conditions()).filter(|conditions| !conditions.is_empty()),
        match_policy: Some("Equivalent".to_owned()),
        name: format!("validate.{}.{}", entry.name, instar_api::GROUP),
        namespace_selector: entry.namespace_selector(),
        object_selector: None,
        rules: Some(entry.rules()),
        side_effects: "NoneOnDryRun".to_owned(),
        timeout_seconds: Some(TIMEOUT),
    };
    ValidatingWebhookConfiguration {
        metadata: named(VALIDATING),
        webhooks: Some(Entry::all().map(webhook).collect()),
    }
}

impl Entry {
    fn mutating(&self) -> Option<Route> {
        match self.only {
            Only::Restored => Some(Route::MutateRestoredCluster),
            Only::MovedTemplates | Only::Without(_) => None,
            Only::Named
            | Only::NotRestored
            | Only::OtherControlPlanes
            | Only::MachineTemplates
            | Only::OtherTemplates => Route::mutating(self.guard),
        }
    }

    const fn turn(&self) -> Turn {
        match self.guard {
            GuardedKind::MachineTemplate => Turn::BeforeProviders,
            GuardedKind::Cluster
            | GuardedKind::ControlPlane
            | GuardedKind::Worker
            | GuardedKind::ClusterClass
            | GuardedKind::BootstrapTemplate
            | GuardedKind::OtherTemplate
            | GuardedKind::KubernetesRelease
            | GuardedKind::ClusterUpgrade
            | GuardedKind::UpgradePolicy
            | GuardedKind::Marks => Turn::AfterProviders,
        }
    }

    const fn validating(&self) -> Route {
        match self.only {
            Only::Restored => Route::ValidateRestoredCluster,
            Only::MovedTemplates => Route::ValidateMovedTemplate,
            Only::Without(right) => Route::ValidateUpgradeWithout(right),
            Only::Named
            | Only::NotRestored
            | Only::OtherControlPlanes
            | Only::MachineTemplates
            | Only::OtherTemplates => Route::Validate(self.guard),
        }
    }

    fn rules(&self) -> Vec<RuleWithOperations> {
        let list = |text: &str| Some(vec![text.to_owned()]);
        let operations = match self.only {
            Only::MovedTemplates => vec!["DELETE".to_owned()],
            Only::Named
            | Only::Restored
            | Only::NotRestored
            | Only::Without(_)
            | Only::OtherControlPlanes
            | Only::MachineTemplates
            | Only::OtherTemplates => operations(self.guard),
        };
        let rule = |resource: &Resource| RuleWithOperations {
            api_groups: list(resource.group),
            api_versions: list(resource.version),
            operations: Some(operations.clone()),
            resources: Some(resource.plurals.iter().map(ToString::to_string).collect()),
            scope: Some(self.scope().to_owned()),
        };
        self.resources.iter().map(rule).collect()
    }

    const fn scope(&self) -> &'static str {
        match self.guard {
            GuardedKind::KubernetesRelease => "Cluster",
            GuardedKind::Cluster
            | GuardedKind::ControlPlane
            | GuardedKind::Worker
            | GuardedKind::ClusterClass
            | GuardedKind::MachineTemplate
            | GuardedKind::BootstrapTemplate
            | GuardedKind::OtherTemplate
            | GuardedKind::ClusterUpgrade
            | GuardedKind::UpgradePolicy
            | GuardedKind::Marks => "Namespaced",
        }
    }

    /// Excludes `kube-system`. Instar's own namespace needs no exemption: it is installed and upgraded while its server is
    /// down, since no rule matches a kind that the installation consists of.
    fn namespace_selector(&self) -> Option<LabelSelector> {
        if self.scope() == "Cluster" {
            return None;
        }
        let not_in = |key: &str, values: &[&str]| LabelSelectorRequirement {
            key: key.to_owned(),
            operator: "NotIn".to_owned(),
            values: Some(values.iter().map(ToString::to_string).collect()),
        };
        Some(LabelSelector {
            match_expressions: Some(vec![
                not_in("kubernetes.io/metadata.name", &["kube-system"]),
                not_in(ADMISSION_LABEL, &["disabled"]),
            ]),
            ..LabelSelector::default()
        })
    }
}

fn operations(guard: GuardedKind) -> Vec<String> {
    let mut operations: Vec<&str> = guard
        .changes()
        .into_iter()
        .map(|change| match change {
            Change::Created => "CREATE",
            Change::Deleted => "DELETE",
            Change::Version
            | Change::Class
            | Change::Pools
            | Change::Pins
            | Change::Template
            | Change::Components
            | Change::Wiring
            | Change::MachinesSpec
            | Change::MachinesMetadata
            | Change::Spec
            | Change::Catalog
            | Change::VersionAnnotation
            | Change::Marks => "UPDATE",
        })
        .collect();
    operations.sort_unstable();
    operations.dedup();
    operations.into_iter().map(ToOwned::to_owned).collect()
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}

fn client(service: Service<'_>, route: Route) -> WebhookClientConfig {
    WebhookClientConfig {
        service: Some(ServiceReference {
            namespace: service.namespace.to_owned(),
            name: service.name.to_owned(),
            path: Some(route.path().to_owned()),
            port: Some(443),
        }),
        ..WebhookClientConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: Service<'static> = Service {
        namespace: "instar-system",
        name: "instar-webhook",
    };

    /// On this rests that what is added to a template after it is a default.
    #[test]
    fn edits_of_templates_are_seen_before_defaulting() {
        let [first, second] = mutating(SERVICE);
        let names = |configuration: &MutatingWebhookConfiguration| -> Vec<String> {
            let webhooks = configuration.webhooks.iter().flatten();
            webhooks.map(|webhook| webhook.name.clone()).collect()
        };
        assert_eq!(names(&first), ["mutate.machinetemplate.upgrade.cluster.x-k8s.io"]);
        assert_eq!(first.metadata.name.as_deref(), Some(MUTATING_FIRST));
        assert!(!names(&second).iter().any(|name| name.contains("template")));
        // The lowest that a name can begin with.
        assert!(MUTATING_FIRST.starts_with("00-"));
        let webhook = first.webhooks.unwrap().remove(0);
        assert_eq!(webhook.failure_policy.as_deref(), Some("Fail"));
        assert_eq!(webhook.reinvocation_policy.as_deref(), Some("Never"));
    }
}
