//! ClusterUpgrades: what their schema can't say.

mod stamps;

use std::collections::BTreeSet;

use instar_api::{ClusterUpgrade, FinishedMarker, Operation, RECORD_ANNOTATION, REQUEST_NUMBER_LABEL, Rule, ValueAt};
use instar_capi::{Lifecycle, WorkerKind};
use instar_catalog::{Resolved, read_values};

use crate::{
    Finding, catalog,
    cluster_state::{CachedCluster, ClusterState, running},
    deprecation::{self, Use},
    edit::{Edit, finding, object_ref},
};

pub use stamps::{Right, Signature, Stamped, stamped, without};

/// Judges the creation or an edit of a ClusterUpgrade as it is to be stored, once [`stamped`] has written who set what.
#[must_use]
pub fn judge_stamped(edit: Edit<'_, ClusterUpgrade>, user: &str, state: &dyn ClusterState) -> Vec<Finding> {
    let mut findings = stamps::forged(edit, user);
    findings.extend(judge(edit, state));
    findings
}

/// How the target of an upgrade is used.
const fn how_used(operation: Operation, is_copied: bool) -> Use {
    match operation {
        Operation::Upgrade | Operation::Refresh if !is_copied => Use::Chosen,
        // What runs stays, or goes back to what it was.
        Operation::Upgrade
        | Operation::Refresh
        | Operation::Abort
        | Operation::Restart
        | Operation::Rollback
        | Operation::RollbackWorkers => Use::Given,
    }
}

/// Judges it as the user asks for it. What takes a right of its own is judged by [`without`].
#[must_use]
pub fn judge(edit: Edit<'_, ClusterUpgrade>, state: &dyn ClusterState) -> Vec<Finding> {
    let new = edit.new;
    if new.metadata.deletion_timestamp.is_some() || edit.old.is_some_and(|old| old.spec == new.spec) {
        return Vec::new();
    }
    let object = object_ref(edit.kind, &new.metadata);
    let say = |rule, field, what: String, remediation: &str| finding(rule, object.clone(), field, what, remediation);
    let mut findings = edit.old.map_or_else(Vec::new, |old| changes_of_record(old, edit));
    if let Some(what) = unreadable(new) {
        findings.push(say(Rule::UpgradeReadable, "spec", what, "correct it"));
    }

    let namespace = new.metadata.namespace.as_deref().unwrap_or_default();
    let cluster_name = &new.spec.cluster_name;
    let annotations = new.metadata.annotations.as_ref();
    let has = |name: &str| annotations.is_some_and(|annotations| annotations.contains_key(name));
    let cluster = state.cluster(namespace, cluster_name);
    findings.extend(no_restart(edit, cluster.as_deref()));
    // What is over, or a record that follows, does nothing of its own.
    // An edit of its spec begins it again.
    let is_over = edit.old.is_none() && FinishedMarker::of(new).is_some_and(|marker| marker.phase().is_some());
    if is_over || has(RECORD_ANNOTATION) {
        return findings;
    }
    let present = running(state, namespace, cluster_name).map(|running| running.lowest);
    let catalog_name = catalog::of_cached(cluster.as_deref(), state);
    let catalog = state.catalog(&catalog_name);
    let is_newly_asked = edit
        .old
        .is_none_or(|old| old.spec.target != new.spec.target || old.spec.operation != new.spec.operation);
    let is_new_target = edit.old.is_none_or(|old| old.spec.target != new.spec.target);
    // `clusterctl move` pauses, and creates all that there were.
    let is_copied = edit.old.is_none() && cluster.as_ref().is_none_or(|it| it.lifecycle != Lifecycle::Active);
    let used = how_used(new.spec.operation, is_copied);
    if !new.spec.operation.is_rollback() {
        match catalog.resolve(&new.spec.target, present.as_ref(), None, state.today()) {
            Err(miss) => findings.push(say(
                Rule::UpgradeTarget,
                "spec.target",
                miss.to_string(),
                "create its release, or the upgrade waits for it",
            )),
            Ok(Resolved::Release(row)) if is_newly_asked => {
                findings.extend(deprecation::judge(row, used, &object, "spec.target", state.today()));
            }
            Ok(Resolved::Release(_) | Resolved::Unchanged) => {}
        }
        let rows = newly_named(edit).into_iter().filter_map(|name| catalog.named(name));
        findings.extend(
            rows.filter_map(|row| deprecation::judge(row, used, &object, "spec.pools[].release", state.today())),
        );
    }
    let Some(cluster) = cluster else {
        return findings;
    };
    if new.spec.operation.is_rollback() && cluster.topology.is_some() {
        let operation = new.spec.operation.as_str();
        findings.push(say(
            Rule::ClassicOperation,
            "spec.operation",
            format!("the operation {operation} is for classic Clusters, and Cluster {cluster_name} has spec.topology"),
            "set operation: Abort in the upgrade, which ends it where the control plane stands, or go forward to a newer patch or to another release",
        ));
    }
    if is_new_target
        && let Some((what, remediation)) = catalog::not_allowed(&catalog_name, namespace, Some(&cluster.labels), state)
    {
        findings.push(say(Rule::CatalogAllowed, "spec.target", what, remediation));
    }
    let workers = state.workers(namespace, cluster_name);
    let deployments: BTreeSet<&str> = workers
        .iter()
        .filter(|worker| worker.kind == WorkerKind::MachineDeployment)
        .map(|worker| worker.name.as_str())
        .collect();
    let pools = new.spec.pools.iter().map(|pool| ("spec.pools", &pool.name));
    let order = new.spec.order.iter().map(|name| ("spec.order", name));
    let missing = pools
        .chain(order)
        .filter(|(_, name)| !deployments.contains(name.as_str()));
    findings.extend(missing.map(|(field, name)| {
        say(
            Rule::UpgradePools,
            field,
            format!("Cluster {cluster_name} has no MachineDeployment {name}"),
            "correct the name, or it has no effect",
        )
    }));
    // `clusterctl move` pauses, and creates all that there were.
    if edit.old.is_none()
        && cluster.lifecycle == Lifecycle::Active
        && let Some(other) = state
            .upgrades(namespace, cluster_name)
            .iter()
            .find(|other| new.spec.rollback_of.as_ref() != Some(&other.name))
    {
        findings.push(say(
            Rule::OneUpgrade,
            "spec.clusterName",
            format!("ClusterUpgrade {} of Cluster {cluster_name} goes on", other.name),
            "edit its target instead; a second one is refused by the controller",
        ));
    }
    findings
}

/// The releases that an edit names for pools, and that the same pool hadn't before.
fn newly_named<'a>(edit: Edit<'a, ClusterUpgrade>) -> BTreeSet<&'a str> {
    let named = |upgrade: &'a ClusterUpgrade| {
        let pools = upgrade.spec.pools.iter();
        pools.filter_map(|pool| Some((pool.name.as_str(), pool.release.as_deref()?)))
    };
    let before: BTreeSet<_> = edit.old.into_iter().flat_map(named).collect();
    let now = named(edit.new).filter(|pair| !before.contains(pair));
    now.map(|(_, release)| release).collect()
}

/// A restart of a topology Cluster, where an edit asks for one. `clusterctl move` creates what there was in a Cluster that is
/// paused.
fn no_restart(edit: Edit<'_, ClusterUpgrade>, cluster: Option<&CachedCluster>) -> Option<Finding> {
    let new = edit.new;
    let is_new = match edit.old {
        Some(old) => old.spec.operation != new.spec.operation,
        None => cluster.is_some_and(|cluster| cluster.lifecycle == Lifecycle::Active),
    };
    cluster.filter(|cluster| cluster.topology.is_some() && is_new && new.spec.operation == Operation::Restart)?;
    let (operation, cluster) = (new.spec.operation.as_str(), &new.spec.cluster_name);
    let namespace = new.metadata.namespace.as_deref().unwrap_or_default();
    Some(finding(
        Rule::ClassicOperation,
        object_ref(edit.kind, &new.metadata),
        "spec.operation",
        format!("the operation {operation} is for classic Clusters, and Cluster {cluster} has spec.topology"),
        format!(
            "for new machines of the workers, run clusterctl alpha rollout restart -n {namespace} machinedeployment/NAME for one MachineDeployment after the other; for new machines of the control plane, set spec.topology.controlPlane.rollout.after of the Cluster to the present time"
        ),
    ))
}

/// What would make another record of one that is there.
fn changes_of_record(old: &ClusterUpgrade, edit: Edit<'_, ClusterUpgrade>) -> Vec<Finding> {
    let new = edit.new;
    let object = object_ref(edit.kind, &new.metadata);
    let say = |rule, field, what: String, remediation: &str| finding(rule, object.clone(), field, what, remediation);
    let mut findings = Vec::new();
    if old.spec.cluster_name != new.spec.cluster_name {
        findings.push(say(
            Rule::UpgradeCluster,
            "spec.clusterName",
            format!(
                "it is the record of an upgrade of Cluster {}, and would be one of Cluster {}",
                old.spec.cluster_name, new.spec.cluster_name
            ),
            "create another ClusterUpgrade",
        ));
    }
    if old.spec.rollback_of != new.spec.rollback_of {
        let record = |of: &Option<String>| match of {
            Some(of) => format!("a rollback of {of}"),
            None => "an upgrade".to_owned(),
        };
        let (was, would_be) = (record(&old.spec.rollback_of), record(&new.spec.rollback_of));
        findings.push(say(
            Rule::UpgradeCluster,
            "spec.rollbackOf",
            format!("it is the record of {was}, and would be one of {would_be}"),
            "create another ClusterUpgrade",
        ));
    }
    if old.spec.target != new.spec.target
        && let Some(follows) = follows(old)
    {
        findings.push(say(
            Rule::UpgradeCluster,
            "spec.target",
            format!(
                "it follows {follows} of Cluster {}, which is still {}",
                old.spec.cluster_name, old.spec.target
            ),
            &format!("edit {follows} of the Cluster"),
        ));
    }
    findings
}

/// What a record that the controller made takes its target from: an edit of the target would be undone at once.
fn follows(record: &ClusterUpgrade) -> Option<&'static str> {
    let annotations = record.metadata.annotations.as_ref();
    let has = |name: &str| annotations.is_some_and(|annotations| annotations.contains_key(name));
    let labels = record.metadata.labels.as_ref();
    if has(RECORD_ANNOTATION) {
        Some("spec.topology.version")
    } else if labels.is_some_and(|labels| labels.contains_key(REQUEST_NUMBER_LABEL)) {
        Some("the annotation upgrade.cluster.x-k8s.io/version")
    } else {
        None
    }
}

fn unreadable(upgrade: &ClusterUpgrade) -> Option<String> {
    let read = |at: String, values: &[ValueAt]| read_values(values).err().map(|error| format!("{at}.{error}"));
    read("controlPlane.patches".to_owned(), &upgrade.spec.control_plane.patches).or_else(|| {
        upgrade.spec.pools.iter().find_map(|pool| {
            let at = |field: &str| format!("pools[{}].{field}", pool.name);
            read(at("patches"), &pool.patches).or_else(|| read(at("bootstrapPatches"), &pool.bootstrap_patches))
        })
    })
}
