//! A role of a program, and what binds it.

use anyhow::Result;
use instar_watch::rbac::Rule;
use k8s_openapi::{
    api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::NAMESPACE;

pub(crate) const API_GROUP: &str = "rbac.authorization.k8s.io";

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

pub(crate) fn policy(group: &str, resource: &str, verbs: &[&str]) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(ToString::to_string).collect(),
        ..PolicyRule::default()
    }
}

pub(crate) fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}
