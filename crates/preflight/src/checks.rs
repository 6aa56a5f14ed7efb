//! The checks, one file each.

mod cluster_available;
pub(crate) mod control_plane_flags;
mod control_plane_healthy;
pub(crate) mod disks;
mod machines_ready;
mod no_rollout_under_way;
mod templates_present;

use instar_api::PreflightCheck;
use instar_capi::ComponentSetting;
use instar_planner::{
    Condition, MachineDeployment, Object, Observed, PoolOverride, Problem, Snapshot, Template, TemplateRef, Unreadable,
};

use crate::finding::Finding;

/// Asks one check.
pub(crate) fn look(check: PreflightCheck, snapshot: &Snapshot) -> Finding {
    match check {
        PreflightCheck::ClusterAvailable => cluster_available::look(snapshot),
        PreflightCheck::ControlPlaneHealthy => control_plane_healthy::look(snapshot),
        PreflightCheck::MachinesReady => machines_ready::look(snapshot),
        PreflightCheck::NoRolloutUnderWay => no_rollout_under_way::look(snapshot),
        PreflightCheck::ControlPlaneFlags => control_plane_flags::look(snapshot),
        PreflightCheck::TemplatesPresent => templates_present::look(snapshot),
        PreflightCheck::Disks => disks::look(snapshot),
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

/// An object whose machines are replaced, and a template that they are made from.
pub(crate) struct Rolled<'s> {
    object: &'s Object,
    pub(crate) reference: &'s TemplateRef,
}

/// The templates of all machines that the upgrade replaces, as they are now: those of machines first.
pub(crate) fn rolled(snapshot: &Snapshot) -> Vec<Rolled<'_>> {
    let control_plane = snapshot.control_plane.iter().filter_map(Observed::read);
    let of_control_plane = control_plane.filter_map(|control_plane| {
        let reference = control_plane.infrastructure.as_ref()?;
        Some(Rolled {
            object: &control_plane.object,
            reference,
        })
    });
    let pools = snapshot.pools.iter().filter_map(Observed::read);
    let of_pools = pools.filter(|pool| follows(snapshot, pool)).flat_map(|pool| {
        let object = &pool.object;
        pool.templates().map(move |reference| Rolled { object, reference })
    });
    of_control_plane.chain(of_pools).collect()
}

/// A template that something refers to, where it is known.
fn template<'s>(snapshot: &'s Snapshot, reference: &TemplateRef) -> Option<Result<&'s Template, &'s Unreadable>> {
    snapshot.templates.iter().find_map(|template| match template {
        Observed::Read(template) => template.is(reference).then_some(Ok(template)),
        Observed::Invalid(other) => {
            (other.kind == reference.kind && other.name == reference.name).then_some(Err(other))
        }
    })
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
