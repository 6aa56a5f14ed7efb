//! The checks, one file each.

mod cluster_available;
pub(crate) mod control_plane_flags;
mod control_plane_healthy;
mod machines_ready;
mod no_rollout_under_way;

use instar_api::PreflightCheck;
use instar_capi::ComponentSetting;
use instar_planner::{Condition, MachineDeployment, Object, Observed, PoolOverride, Problem, Snapshot, Unreadable};

use crate::finding::Finding;

/// Asks one check.
pub(crate) fn look(check: PreflightCheck, snapshot: &Snapshot) -> Finding {
    match check {
        PreflightCheck::ClusterAvailable => cluster_available::look(snapshot),
        PreflightCheck::ControlPlaneHealthy => control_plane_healthy::look(snapshot),
        PreflightCheck::MachinesReady => machines_ready::look(snapshot),
        PreflightCheck::NoRolloutUnderWay => no_rollout_under_way::look(snapshot),
        PreflightCheck::ControlPlaneFlags => control_plane_flags::look(snapshot),
    }
}

/// Whether a check reads what a kubeadm configuration sets. The rest needn't be kept.
#[must_use]
pub fn is_judged(setting: &ComponentSetting) -> bool {
    control_plane_flags::is_judged(setting)
}

/// Whether a pool goes where the control plane goes: no user holds it, or pinned it to another release.
fn follows(snapshot: &Snapshot, pool: &MachineDeployment) -> bool {
    match snapshot.upgrade_spec.pools.get(&pool.object.name) {
        None => true,
        Some(PoolOverride::Hold | PoolOverride::Pin(_)) => false,
    }
}

/// Asks about each of several objects; of one that can't be read nothing can be said.
fn each<T>(objects: &[Observed<T>], ask: impl Fn(&T) -> Finding) -> impl Iterator<Item = Finding> {
    objects.iter().map(move |object| match object {
        Observed::Read(object) => ask(object),
        Observed::Invalid(unreadable) => Finding::Unknown(cannot_be_read(unreadable)),
    })
}

fn cannot_be_read(unreadable: &Unreadable) -> Problem {
    let Unreadable { kind, name, reason } = unreadable;
    Problem {
        kind: kind.clone(),
        name: name.clone(),
        message: format!("{kind} {name} can't be read: {reason}"),
    }
}

/// The condition of an object, if it is one that is kept: of those that tell of its health, one that isn't True.
fn condition<'o>(object: &'o Object, kind: &str) -> Option<&'o Condition> {
    object.conditions.iter().find(|condition| condition.kind == kind)
}

/// What a condition that ought to be True says of an object. Cluster API reports all of them at once, so one that isn't
/// kept is True.
fn ought_to_be_true(object: &Object, kind: &str) -> Finding {
    condition(object, kind).map_or(Finding::Pass, |condition| {
        Finding::of_condition(&object.kind, &object.name, object.generation, condition)
    })
}
