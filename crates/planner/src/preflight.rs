//! What the checks before an upgrade hold: its first swap.

use instar_api::Values;
use instar_capi::{Lifecycle, ManagedBy};
use instar_catalog::{Labels, Resolved};
use instar_domain::{KubeVersion, Minor};
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::{
    check_outcome::{PreflightOutcome, Problem},
    decision::Waiting,
    observed::Observed,
    operation::Operation,
    settled::is_topology_moving,
    snapshot::{MachineDeployment, Object, Snapshot, Template},
    step::Step,
    swap_history::Direction,
    upgrade_spec::{Origin, Target},
    values::{apply, put},
};

/// Whether something was swapped for this upgrade, or a topology Cluster's version edited to its target. What has begun
/// is not held by the checks, so that a new target leads on from wherever it is. One that had ended begins again with it,
/// and a topology Cluster takes one only when it has arrived.
fn has_begun(snapshot: &Snapshot) -> bool {
    let id = snapshot.upgrade_spec.id();
    let path = snapshot.cluster.classic().and_then(|classic| classic.path.as_ref());
    let is_on_the_way = path.is_some_and(|path| path.target == snapshot.upgrade_spec.target.as_str());
    let is_swapped = |object: &Object| {
        let history = object.swap_history.as_ref();
        let swap = history.and_then(|history| history.last_of(&id));
        // One that has only taken a step of another upgrade back hasn't begun.
        let has_stepped = history.is_some_and(|history| {
            let mut steps = history.entries().iter();
            steps.any(|entry| entry.upgrade == id && entry.direction == Direction::Forward)
        });
        // A restart has no other target on its way, and pins no path.
        let goes_on = is_on_the_way || snapshot.upgrade_spec.operation == Operation::Restart;
        has_stepped && swap.is_some_and(|swap| goes_on || swap.converged.is_none())
    };
    let upgrade_spec = &snapshot.upgrade_spec;
    let edited = snapshot
        .cluster
        .topology()
        .and_then(|topology| topology.version_set_by.as_ref());
    let is_edited = edited.is_some_and(|edited| {
        edited.upgrade == upgrade_spec.upgrade
            && edited.target == upgrade_spec.target.as_str()
            && edited.landed.is_none()
    });
    let topology = snapshot.cluster.topology();
    let changing_release = topology.and_then(|topology| topology.changing_release());
    let control_plane = snapshot.control_plane.iter().filter_map(Observed::read);
    let pools = snapshot.pools.iter().filter_map(Observed::read);
    let machine_pools = snapshot.machine_pools.iter().filter_map(Observed::read);
    control_plane
        .map(|control_plane| &control_plane.object)
        .chain(pools.map(|pool| &pool.object))
        .chain(machine_pools.map(|pool| &pool.object))
        .filter(|object| object.managed_by == ManagedBy::User)
        .any(is_swapped)
        || is_edited
        || is_topology_moving(snapshot)
        // Another upgrade may have left pools at another release.
        || changing_release == Some(upgrade_spec.target.as_str())
}

/// Whether the checks are asked: of an upgrade whose first swap is Instar's, before that. No upgrade of a Cluster that
/// is being deleted begins.
#[must_use]
pub fn checks_are_asked(snapshot: &Snapshot) -> bool {
    // What is to end, or to be taken back, isn't well.
    let goes_on = match &snapshot.upgrade_spec.operation {
        Operation::Upgrade | Operation::Refresh | Operation::Restart => true,
        Operation::Abort | Operation::Rollback(_) => false,
    };
    match (snapshot.upgrade_spec.origin, snapshot.cluster.lifecycle) {
        (Origin::Upgrade, Lifecycle::Active | Lifecycle::Paused) => goes_on && !has_begun(snapshot),
        (Origin::Upgrade, Lifecycle::Deleting) | (Origin::Cluster, _) => false,
    }
}

/// The minor to which the upgrade goes; absent while the catalog doesn't say it.
#[must_use]
pub fn target_minor(snapshot: &Snapshot) -> Option<Minor> {
    let present = &snapshot.control_plane.as_ref()?.read()?.version;
    Some(match target(snapshot, present)? {
        Resolved::Unchanged => present.minor(),
        Resolved::Release(row) => row.version().minor(),
    })
}

/// What the upgrade's target resolves to from a version; absent while the catalog doesn't say it.
pub(crate) fn target<'s>(snapshot: &'s Snapshot, present: &KubeVersion) -> Option<Resolved<'s>> {
    let today = snapshot.now.to_zoned(TimeZone::UTC).date();
    let catalog = &snapshot.catalog;
    match &snapshot.upgrade_spec.target {
        Target::Release(name) => catalog.named_anywhere(name).map(Resolved::Release),
        Target::Text(text) => catalog.resolve(text, Some(present), None, today).ok(),
    }
}

/// Where the spec of a template of kubeadm configurations has the kubelet's arguments.
pub const KUBELET_ARGUMENTS: &str = "/template/spec/joinConfiguration/nodeRegistration/kubeletExtraArgs";

/// `kubeletExtraArgs` of a template of kubeadm configurations as a pool will have it at the target: with what the
/// release and the user set in it. Absent where it was not read yet.
#[must_use]
pub fn kubelet_arguments(snapshot: &Snapshot, pool: &MachineDeployment, template: &Template) -> Option<Value> {
    let arguments = match (&template.content, &template.kubelet_arguments) {
        (Some(content), _) => content.spec.pointer(KUBELET_ARGUMENTS).cloned().unwrap_or_default(),
        (None, Some(arguments)) => (**arguments).clone(),
        (None, None) => return None,
    };
    let nothing = Values::new();
    let row = match target(snapshot, &pool.version) {
        Some(Resolved::Release(row)) => Some(Step::from(row)),
        Some(Resolved::Unchanged) | None => None,
    };
    let labels = Labels {
        cluster: Some(&snapshot.cluster.labels),
        pool: &pool.labels,
    };
    let reference = template.reference();
    let of_row = row
        .and_then(|row| row.bootstrap(&reference, labels))
        .unwrap_or(&nothing);
    let patches = snapshot.upgrade_spec.bootstrap_patches.get(&pool.object.name);
    let mut spec = Value::Null;
    put(&mut spec, KUBELET_ARGUMENTS, arguments.clone());
    // Where a value doesn't fit, the planner says so.
    let changed = apply(&spec, [of_row, patches.unwrap_or(&nothing)]).ok();
    let changed = changed.and_then(|mut spec| spec.pointer_mut(KUBELET_ARGUMENTS).map(Value::take));
    Some(changed.unwrap_or(arguments))
}

/// What the checks hold it by.
pub(crate) fn held(snapshot: &Snapshot) -> impl Iterator<Item = Waiting> {
    let asked = if checks_are_asked(snapshot) {
        &*snapshot.preflight
    } else {
        &[]
    };
    asked.iter().filter_map(|found| {
        let (check, problem) = (found.check, |problem: &Problem| Box::new(problem.clone()));
        match &found.outcome {
            PreflightOutcome::Fail(found) => Some(Waiting::PreflightFailed {
                check,
                problem: problem(found),
            }),
            PreflightOutcome::Unknown(found) => Some(Waiting::PreflightUnknown {
                check,
                problem: problem(found),
            }),
            PreflightOutcome::Pass
            | PreflightOutcome::Warn(_)
            | PreflightOutcome::Skipped { .. }
            | PreflightOutcome::NotApplicable(_) => None,
        }
    })
}
