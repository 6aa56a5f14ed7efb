//! Who may do what: the rights of the programs, and those for people.

use anyhow::Result;
use instar_admission::upgrade::Right;
use k8s_openapi::{
    api::{
        core::v1::ServiceAccount,
        rbac::v1::{ClusterRole, PolicyRule},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{
    Artifact, CONTROLLER, Granted, NAMESPACE, WEBHOOK,
    grant::{API_GROUP, granted, named, policy},
    kustomization,
    kustomization::Folder,
    providers,
};

/// What people may do with a kind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum People {
    /// Whoever may look at a namespace looks at it. To write it takes an administrator: it is
    /// everybody's.
    Look,
    /// An administrator of a namespace writes it.
    Admin,
}

/// Our kinds, and what people may do with each.
const KINDS: [(&str, People); 3] = [
    ("clusterupgrades", People::Admin),
    ("kubernetesreleases", People::Look),
    ("upgradepolicies", People::Look),
];

/// Everything that the programs may do.
#[must_use]
pub fn grants() -> Vec<Granted> {
    let mut grants = vec![
        granted(WEBHOOK, WEBHOOK, None, instar_webhooks::rbac::RULES),
        granted(CONTROLLER, CONTROLLER, None, instar_controller::RULES),
        granted(CONTROLLER, CONTROLLER, Some(NAMESPACE), instar_controller::LEASE_RULES),
    ];
    grants.extend(providers::grants());
    grants
}

pub(crate) fn artifacts() -> Result<Vec<Artifact>> {
    let mut folder = Folder::new("config/rbac", kustomization::plain());
    for account in [WEBHOOK, CONTROLLER] {
        let component = account.trim_start_matches("instar-");
        folder = folder.with(&format!("{component}-service-account.yaml"), &service_account(account))?;
        for grant in grants().iter().filter(|grant| grant.role == account) {
            let scope = if grant.namespace.is_some() { "-lease" } else { "" };
            let [role, binding] = grant.objects()?;
            folder = folder
                .with(&format!("{component}{scope}-role.yaml"), &role)?
                .with(&format!("{component}{scope}-role-binding.yaml"), &binding)?;
        }
    }
    for role in people() {
        let name = role.metadata.name.as_deref().unwrap_or_default();
        let name = name.trim_start_matches("instar-").to_owned();
        folder = folder.with(&format!("{name}-role.yaml"), &role)?;
    }
    folder.artifacts()
}

/// The roles for people: Kubernetes' own `view` and `admin` take them in. Not `edit`: whoever writes an upgrade or a
/// policy decides what machines boot and which rules count. Who approves an upgrade, or lets it through
/// where it would be held, has a role that nothing takes in.
#[must_use]
pub fn people() -> [ClusterRole; 4] {
    let role = |level: &str, rules: Vec<PolicyRule>| ClusterRole {
        metadata: ObjectMeta {
            labels: Some([(format!("{API_GROUP}/aggregate-to-{level}"), "true".to_owned())].into()),
            ..named(&format!("instar-{level}"))
        },
        rules: Some(rules),
        ..ClusterRole::default()
    };
    let of_kind = |kind: &str, verbs: &[&str]| policy(instar_api::GROUP, kind, verbs);
    let look = KINDS.iter().map(|(kind, _)| of_kind(kind, &["get", "list", "watch"]));
    let admin = KINDS
        .iter()
        .filter(|(_, people)| *people == People::Admin)
        .map(|(kind, _)| of_kind(kind, &["create", "delete", "deletecollection", "patch", "update"]));
    let lets_through = |right: Right| ClusterRole {
        metadata: named(&format!("instar-{}", right.verb())),
        rules: Some(vec![of_kind("clusterupgrades", &[right.verb()])]),
        ..ClusterRole::default()
    };
    [
        role("view", look.collect()),
        role("admin", admin.collect()),
        lets_through(Right::Override),
        lets_through(Right::Approve),
    ]
}

fn service_account(name: &str) -> ServiceAccount {
    ServiceAccount {
        metadata: ObjectMeta {
            namespace: Some(NAMESPACE.to_owned()),
            ..named(name)
        },
        ..ServiceAccount::default()
    }
}
