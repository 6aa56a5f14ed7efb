//! The controller's right to the kubeconfigs of workload clusters: a role that nothing binds, so that each namespace is a
//! decision of its own.

use anyhow::Result;
use k8s_openapi::api::rbac::v1::ClusterRole;

use crate::{
    Artifact,
    grant::{named, policy},
    kustomization,
    kustomization::Folder,
};

const WHY: &str = "\
Nothing binds it. In each namespace whose workload clusters the checks may read:
kubectl -n NAMESPACE create rolebinding instar-workload --clusterrole instar-workload --serviceaccount instar-system:instar-controller
";

pub(crate) fn artifacts() -> Result<Vec<Artifact>> {
    Folder::new("config/workload", kustomization::plain())
        .with_reason("role.yaml", WHY, &workload_role())?
        .artifacts()
}

/// The role that lets the controller read kubeconfigs.
#[must_use]
pub fn workload_role() -> ClusterRole {
    let rules = instar_controller::WORKLOAD_RULES.iter();
    ClusterRole {
        metadata: named("instar-workload"),
        rules: Some(
            rules
                .map(|rule| policy(rule.api_group, rule.resource, rule.verbs))
                .collect(),
        ),
        ..ClusterRole::default()
    }
}
