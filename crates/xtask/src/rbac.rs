//! Who may do what: the rights of the programs, and those for people.

use anyhow::Result;
use instar_watch::rbac::Rule;
use k8s_openapi::{
    api::{
        core::v1::ServiceAccount,
        rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{Artifact, CONTROLLER, NAMESPACE, WEBHOOK, kustomization, kustomization::Folder, providers};

const API_GROUP: &str = "rbac.authorization.k8s.io";

/// What people may do with a kind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum People {
    /// Whoever may look at a namespace looks at it. To write it takes an administrator: it is
    /// everybody's.
    Look,
    /// Whoever may edit a namespace writes it.
    Edit,
}

/// Our kinds, and what people may do with each.
const KINDS: [(&str, People); 3] = [
    ("clusterupgrades", People::Edit),
    ("kubernetesreleases", People::Look),
    ("upgradepolicies", People::Look),
];

/// Rights that are bound to a program's `ServiceAccount`.
#[derive(Clone, Debug)]
pub struct Granted {
    pub role: String,
    /// The `ServiceAccount` that gets it.
    pub account: &'static str,
    /// The namespace in which it holds, where it doesn't hold in all of them.
    pub namespace: Option<&'static str>,
    pub rules: Vec<PolicyRule>,
}

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

/// The roles for people: Kubernetes' own `view` and `edit` take them in, and `admin` takes in `edit`.
#[must_use]
pub fn people() -> [ClusterRole; 2] {
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
    let edit = KINDS
        .iter()
        .filter(|(_, people)| *people == People::Edit)
        .map(|(kind, _)| of_kind(kind, &["create", "delete", "deletecollection", "patch", "update"]));
    [role("view", look.collect()), role("edit", edit.collect())]
}

/// The rules of a role, bound to an account.
pub(crate) fn granted(role: &str, account: &'static str, namespace: Option<&'static str>, rules: &[Rule]) -> Granted {
    Granted {
        role: role.to_owned(),
        account,
        namespace,
        rules: rules
            .iter()
            .map(|rule| policy(rule.api_group, rule.resource, rule.verbs))
            .collect(),
    }
}

impl Granted {
    /// The role, and what binds it.
    pub(crate) fn objects(&self) -> Result<[serde_json::Value; 2]> {
        let role_ref = |kind: &str| RoleRef {
            api_group: API_GROUP.to_owned(),
            kind: kind.to_owned(),
            name: self.role.clone(),
        };
        let subjects = Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: self.account.to_owned(),
            namespace: Some(NAMESPACE.to_owned()),
            ..Subject::default()
        }]);
        let metadata = ObjectMeta {
            namespace: self.namespace.map(str::to_owned),
            ..named(&self.role)
        };
        let rules = Some(self.rules.clone());
        Ok(if self.namespace.is_some() {
            let role = Role {
                metadata: metadata.clone(),
                rules,
            };
            let binding = RoleBinding {
                metadata,
                role_ref: role_ref("Role"),
                subjects,
            };
            [serde_json::to_value(role)?, serde_json::to_value(binding)?]
        } else {
            let role = ClusterRole {
                metadata: metadata.clone(),
                rules,
                ..ClusterRole::default()
            };
            let binding = ClusterRoleBinding {
                metadata,
                role_ref: role_ref("ClusterRole"),
                subjects,
            };
            [serde_json::to_value(role)?, serde_json::to_value(binding)?]
        })
    }
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

fn policy(group: &str, resource: &str, verbs: &[&str]) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(ToString::to_string).collect(),
        ..PolicyRule::default()
    }
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}
