//! The webhook configurations: which requests come here, and which never do.
//!
//! Narrow on purpose. A request that touches no guarded field is filtered by the API server itself,
//! so that nothing but those edits waits for this server, or fails without it.

use instar_api::RELEASES_ANNOTATION;
use instar_capi::labels::TOPOLOGY_DRY_RUN;
use k8s_openapi::{
    api::admissionregistration::v1::{
        MatchCondition, MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations, ServiceReference,
        ValidatingWebhook, ValidatingWebhookConfiguration, WebhookClientConfig,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::Route;

/// The name of the mutating configuration. API servers call them in the order of their names, and
/// Cluster API's own defaulting comes first.
pub const MUTATING: &str = "instar-mutating-webhook-configuration";

/// The name of the validating configuration.
pub const VALIDATING: &str = "instar-validating-webhook-configuration";

/// How long the API server waits, in seconds.
const TIMEOUT: i32 = 5;

/// Where the server is reached.
#[derive(Debug, Clone, Copy)]
pub struct Service<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// The configuration of the mutating half.
#[must_use]
pub fn mutating(service: Service<'_>) -> MutatingWebhookConfiguration {
    let route = Route::MutateCluster;
    MutatingWebhookConfiguration {
        metadata: named(MUTATING),
        webhooks: Some(vec![MutatingWebhook {
            admission_review_versions: vec!["v1".to_owned()],
            client_config: client(service, route),
            failure_policy: Some("Fail".to_owned()),
            match_conditions: Some(conditions(route)),
            match_policy: Some("Equivalent".to_owned()),
            name: webhook_name(route),
            // Another webhook that changes the version or the pins after this one is seen again.
            reinvocation_policy: Some("IfNeeded".to_owned()),
            rules: Some(vec![rule(route)]),
            side_effects: "None".to_owned(),
            timeout_seconds: Some(TIMEOUT),
            ..MutatingWebhook::default()
        }]),
    }
}

/// The configuration of the validating half.
#[must_use]
pub fn validating(service: Service<'_>) -> ValidatingWebhookConfiguration {
    let webhook = |route: Route| ValidatingWebhook {
        admission_review_versions: vec!["v1".to_owned()],
        client_config: client(service, route),
        failure_policy: Some("Fail".to_owned()),
        match_conditions: Some(conditions(route)).filter(|conditions| !conditions.is_empty()),
        match_policy: Some("Equivalent".to_owned()),
        name: webhook_name(route),
        rules: Some(vec![rule(route)]),
        side_effects: "None".to_owned(),
        timeout_seconds: Some(TIMEOUT),
        ..ValidatingWebhook::default()
    };
    ValidatingWebhookConfiguration {
        metadata: named(VALIDATING),
        webhooks: Some(
            Route::ALL
                .into_iter()
                .filter(|route| *route != Route::MutateCluster)
                .map(webhook)
                .collect(),
        ),
    }
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

fn webhook_name(route: Route) -> String {
    let name = match route {
        Route::MutateCluster => "mutate.cluster",
        Route::ValidateCluster => "validate.cluster",
        Route::ValidateMachineTemplate => "validate.machinetemplate",
        Route::ValidateKubernetesRelease => "validate.kubernetesrelease",
    };
    format!("{name}.upgrade.cluster.x-k8s.io")
}

fn rule(route: Route) -> RuleWithOperations {
    let (group, version, resource, operations, scope): (_, _, _, &[&str], _) = match route {
        Route::MutateCluster | Route::ValidateCluster => (
            "cluster.x-k8s.io",
            "v1beta2",
            "clusters",
            &["CREATE", "UPDATE"],
            "Namespaced",
        ),
        // Every version and every kind of the group: the provider's is not known, and the match
        // conditions keep all but machine templates away.
        Route::ValidateMachineTemplate => ("infrastructure.cluster.x-k8s.io", "*", "*", &["UPDATE"], "Namespaced"),
        Route::ValidateKubernetesRelease => (
            instar_api::GROUP,
            "v1alpha1",
            "kubernetesreleases",
            &["CREATE", "DELETE"],
            "Cluster",
        ),
    };
    let list = |text: &str| Some(vec![text.to_owned()]);
    RuleWithOperations {
        api_groups: list(group),
        api_versions: list(version),
        operations: Some(operations.iter().map(ToString::to_string).collect()),
        resources: list(resource),
        scope: Some(scope.to_owned()),
    }
}

fn conditions(route: Route) -> Vec<MatchCondition> {
    let condition = |name: &str, expression: String| MatchCondition {
        name: name.to_owned(),
        expression,
    };
    match route {
        Route::MutateCluster | Route::ValidateCluster => vec![
            condition(
                "has-topology",
                "has(object.spec) && has(object.spec.topology)".to_owned(),
            ),
            condition("is-not-deleted", "!has(object.metadata.deletionTimestamp)".to_owned()),
            condition("touches-guarded-fields", guarded_fields()),
        ],
        Route::ValidateMachineTemplate => vec![
            condition(
                "is-machine-template",
                "request.kind.kind.endsWith('MachineTemplate')".to_owned(),
            ),
            condition(
                "is-not-topology-dry-run",
                format!(
                    "!(request.?dryRun.orValue(false) && object.metadata.?annotations[?'{TOPOLOGY_DRY_RUN}'].hasValue())"
                ),
            ),
            condition(
                "changes-the-machines",
                "object.?spec.?template.?spec != oldObject.?spec.?template.?spec".to_owned(),
            ),
        ],
        Route::ValidateKubernetesRelease => Vec::new(),
    }
}

/// A Cluster's version, class, pools and pins. A pool's size, variables and labels are not among them.
fn guarded_fields() -> String {
    let pools = |kind: &str| {
        let of = |object: &str| {
            format!("{object}.spec.topology.?workers.?{kind}.orValue([]).map(pool, [pool.name, pool.class])")
        };
        format!("{} != {}", of("object"), of("oldObject"))
    };
    let pins = |object: &str| format!("{object}.metadata.?annotations[?'{RELEASES_ANNOTATION}'].orValue('')");
    [
        "request.operation == 'CREATE'".to_owned(),
        "!has(oldObject.spec.topology)".to_owned(),
        "object.spec.topology.version != oldObject.spec.topology.version".to_owned(),
        "object.spec.topology.classRef != oldObject.spec.topology.classRef".to_owned(),
        format!("{} != {}", pins("object"), pins("oldObject")),
        pools("machineDeployments"),
        pools("machinePools"),
    ]
    .join(" ||\n")
}
