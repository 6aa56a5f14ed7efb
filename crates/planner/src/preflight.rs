//! What the checks before an upgrade hold: its first swap.

use crate::{
    check_outcome::{PreflightOutcome, Problem},
    decision::Waiting,
    observed::Observed,
    snapshot::{Object, Snapshot},
    upgrade_spec::Origin,
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
        swap.is_some_and(|swap| is_on_the_way || swap.converged.is_none())
    };
    let upgrade_spec = &snapshot.upgrade_spec;
    let edited = snapshot
        .cluster
        .topology()
        .and_then(|topology| topology.version_set_by.as_ref());
    let is_edited = edited
        .is_some_and(|edited| edited.upgrade == upgrade_spec.upgrade && edited.target == upgrade_spec.target.as_str());
    let control_plane = snapshot.control_plane.iter().filter_map(Observed::read);
    let pools = snapshot.pools.iter().filter_map(Observed::read);
    let machine_pools = snapshot.machine_pools.iter().filter_map(Observed::read);
    control_plane
        .map(|control_plane| &control_plane.object)
        .chain(pools.map(|pool| &pool.object))
        .chain(machine_pools.map(|pool| &pool.object))
        .any(is_swapped)
        || is_edited
}

/// Whether the checks are asked: of an upgrade whose first swap is Instar's, before that.
#[must_use]
pub fn checks_are_asked(snapshot: &Snapshot) -> bool {
    match snapshot.upgrade_spec.origin {
        Origin::Upgrade => !has_begun(snapshot),
        Origin::Cluster => false,
    }
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
