//! The rights of the server, and the right to look for people.

use std::collections::BTreeMap;

use anyhow::Result;
use instar::rbac::RULES;
use k8s_openapi::{
    api::{
        core::v1::ServiceAccount,
        rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{Artifact, NAMESPACE, WEBHOOK, kustomization, kustomization::Folder};

/// The role for people; `view`, `edit` and `admin` take it in.
const VIEW: &str = "instar-view";

pub(crate) fn artifacts() -> Result<Vec<Artifact>> {
    let account = ServiceAccount {
        metadata: ObjectMeta {
            namespace: Some(NAMESPACE.to_owned()),
            ..named(WEBHOOK)
        },
        ..ServiceAccount::default()
    };
    let [server, view] = roles();
    Folder::new("config/rbac", kustomization::plain())
        .with("service-account.yaml", &account)?
        .with("role.yaml", &server)?
        .with("role-binding.yaml", &binding())?
        .with("view-role.yaml", &view)?
        .artifacts()
}

/// The server's role, and the role for people.
#[must_use]
pub fn roles() -> [ClusterRole; 2] {
    let server = RULES
        .iter()
        .map(|rule| policy(rule.api_group, rule.resource, rule.verbs));
    let view = policy(instar_api::GROUP, "kubernetesreleases", &["get", "list", "watch"]);
    [
        ClusterRole {
            metadata: named(WEBHOOK),
            rules: Some(server.collect()),
            ..ClusterRole::default()
        },
        ClusterRole {
            metadata: ObjectMeta {
                labels: Some(BTreeMap::from([(
                    "rbac.authorization.k8s.io/aggregate-to-view".to_owned(),
                    "true".to_owned(),
                )])),
                ..named(VIEW)
            },
            rules: Some(vec![view]),
            ..ClusterRole::default()
        },
    ]
}

/// What gives the server its role.
#[must_use]
pub fn binding() -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: named(WEBHOOK),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "ClusterRole".to_owned(),
            name: WEBHOOK.to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: WEBHOOK.to_owned(),
            namespace: Some(NAMESPACE.to_owned()),
            ..Subject::default()
        }]),
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
