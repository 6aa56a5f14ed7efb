//! What the controller may do, and what it did.

use std::collections::BTreeSet;

use instar_e2e::{Result, support::journeys::JourneyContext};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::Api;

use instar_e2e::support::controller::{Kept, Request, requests};

use crate::{addons, machine_pool, other_control_plane, workload};

/// A verb on a resource, with its subresource, of a group.
type Right = (String, String, String);

/// What no journey makes the controller do: no template and no MachinePool of Docker's own kind is made here, its other
/// kind of MachinePool doesn't say that it is paused, bootstrap templates are kept, no namespace opts in to
/// Runtime Hooks, and no Machine of a topology cluster is stuck.
const NOT_SEEN: [(&str, &str, &str); 13] = [
    ("create", "dockermachinetemplates", "infrastructure.cluster.x-k8s.io"),
    ("create", "extensionconfigs", "runtime.cluster.x-k8s.io"),
    ("delete", "dockermachinetemplates", "infrastructure.cluster.x-k8s.io"),
    ("delete", "extensionconfigs", "runtime.cluster.x-k8s.io"),
    ("delete", "kubeadmconfigtemplates", "bootstrap.cluster.x-k8s.io"),
    ("delete", "machines", "cluster.x-k8s.io"),
    ("get", "dockermachinetemplates", "infrastructure.cluster.x-k8s.io"),
    ("get", "machines", "cluster.x-k8s.io"),
    ("list", "dockermachinepools", "infrastructure.cluster.x-k8s.io"),
    ("patch", "devmachinepools", "infrastructure.cluster.x-k8s.io"),
    ("patch", "dockermachinepools", "infrastructure.cluster.x-k8s.io"),
    ("watch", "dockermachinepools", "infrastructure.cluster.x-k8s.io"),
    ("watch", "dockermachinetemplates", "infrastructure.cluster.x-k8s.io"),
];

/// What journeys bind a role for when they have seen that the controller asks for it.
const BOUND_LATE: [&str; 2] = ["secrets", "configmaps"];

/// Nothing but what is only tried was forbidden in all that ran before, but for what a user binds a role for, before that was bound; nothing was asked for that isn't granted, and
/// nothing is granted that wasn't used.
pub(crate) async fn granted_and_used(scene: JourneyContext) -> Result<()> {
    let requests = requests(&scene)?;
    assert!(!requests.is_empty(), "the audit log has no request of the controller");
    let is_forbidden = |request: &&Request| {
        request.code == 403 && request.kept == Kept::Yes && !BOUND_LATE.contains(&&*request.resource)
    };
    let forbidden: BTreeSet<&Request> = requests.iter().filter(is_forbidden).collect();
    assert!(forbidden.is_empty(), "forbidden: {forbidden:?}");
    let right = |request: &Request| (request.verb.clone(), request.resource.clone(), request.group.clone());
    let used: BTreeSet<Right> = requests.iter().map(right).collect();
    let granted = granted(&scene).await?;
    let beyond: Vec<&Right> = used.difference(&granted).collect();
    assert!(beyond.is_empty(), "used without being granted by our roles: {beyond:?}");
    let not_seen: BTreeSet<Right> = NOT_SEEN
        .map(|(verb, resource, group)| (verb.into(), resource.into(), group.into()))
        .into();
    let unused: BTreeSet<Right> = granted.difference(&used).cloned().collect();
    assert_eq!(unused, not_seen, "granted and not used");
    Ok(())
}

/// What the installed roles give its account, and those that journeys have made for providers of their own.
async fn granted(scene: &JourneyContext) -> Result<BTreeSet<Right>> {
    let everywhere = Api::<ClusterRole>::all(scene.mgmt.client());
    let leases = Api::<Role>::namespaced(scene.mgmt.client(), "instar-system");
    let rules = [
        everywhere.get("instar-controller").await?.rules,
        everywhere.get("instar-controller-docker").await?.rules,
        leases.get("instar-controller").await?.rules,
        everywhere
            .get_opt(other_control_plane::ROLE)
            .await?
            .and_then(|role| role.rules),
        everywhere
            .get_opt(machine_pool::ROLE)
            .await?
            .and_then(|role| role.rules),
        everywhere.get_opt(workload::ROLE).await?.and_then(|role| role.rules),
        everywhere.get_opt(addons::ROLE).await?.and_then(|role| role.rules),
    ];
    Ok(rules.into_iter().flatten().flatten().flat_map(rights).collect())
}

fn rights(rule: PolicyRule) -> Vec<Right> {
    let (groups, resources) = (rule.api_groups.unwrap_or_default(), rule.resources.unwrap_or_default());
    let mut rights = Vec::new();
    for group in &groups {
        for resource in &resources {
            rights.extend(
                rule.verbs
                    .iter()
                    .map(|verb| (verb.clone(), resource.clone(), group.clone())),
            );
        }
    }
    rights
}
