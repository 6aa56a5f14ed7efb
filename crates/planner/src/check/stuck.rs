//! The invariants of a step that is taken back since its machine never came up, by a reading of their own.

use instar_api::SWAP_HISTORY_ANNOTATION;

use super::{Violation, patch::annotation, read, workers};
use crate::{
    decision::{Action, Swap},
    etcd::{of_control_plane, of_state},
    pool_id::PoolId,
    snapshot::{ControlPlane, Flavor, Machine, Snapshot},
    swap_history::{Direction, SwapEntry, SwapHistory},
};

/// Whether a swap takes back a step of an upgrade that goes forward, as the history says that comes with it.
pub(super) fn takes_back(swap: &Swap) -> bool {
    let history = annotation(&swap.patch, SWAP_HISTORY_ANNOTATION).and_then(SwapHistory::from_annotation);
    let last = history.as_ref().and_then(SwapHistory::last);
    last.is_some_and(|last| last.direction == Direction::Back)
}

/// The same of an action.
pub(super) fn is_taken_back(action: &Action) -> bool {
    matches!(action, Action::SwapControlPlane(swap) if takes_back(swap))
}

/// It goes to what was there before the last step, of which nothing has run, and which had its time.
pub(super) fn check(snapshot: &Snapshot, control_plane: &ControlPlane, swap: &Swap, broken: &mut Vec<Violation>) {
    let history = control_plane.object.swap_history.as_ref();
    let Some(last) = history.and_then(SwapHistory::last_change) else {
        broken.push(Violation::NotWhatWas);
        return;
    };
    let name = |template: &crate::snapshot::TemplateRef| template.name.clone();
    let present = control_plane.infrastructure.as_ref().map(name);
    let is_before = last.before.version == swap.version && last.before.template == swap.template.as_ref().map(name);
    let is_present = last.after.version == control_plane.version && last.after.template == present;
    let is_kubeadm = match control_plane.flavor {
        Flavor::Kubeadm { .. } => true,
        Flavor::Other => false,
    };
    if !is_before || !is_present || !is_kubeadm || last.direction == Direction::Back || last.converged.is_some() {
        broken.push(Violation::NotWhatWas);
    }
    let machines = read(&snapshot.machines).filter(|machine| machine.pool == Some(PoolId::ControlPlane));
    let (new, old): (Vec<&Machine>, Vec<&Machine>) = machines.partition(|machine| is_new(machine, last));
    let had_its_time = |machine: &&Machine| {
        let made = machine.created;
        made.is_some_and(|made| snapshot.now.duration_since(made) >= snapshot.machine_start)
    };
    if !new.iter().any(had_its_time)
        || new.iter().any(|machine| machine.node.is_joined())
        || old.is_empty()
        || old.iter().any(|machine| machine.version != swap.version)
    {
        broken.push(Violation::ControlPlaneMoving);
    }
    let (from, to) = (control_plane.version.minor(), swap.version.minor());
    if from.major != to.major || to.minor + 1 < from.minor {
        broken.push(Violation::SkippedMinor);
    }
    if workers(snapshot).any(|worker| worker.minor() > to) {
        broken.push(Violation::WorkersAhead);
    }
    let (etcd, before) = (of_control_plane(control_plane), of_state(control_plane, &last.before));
    if control_plane.version == swap.version && !before.shares_minor_with(&etcd) {
        broken.push(Violation::EtcdLowered);
    }
}

/// Whether the last step may have made a machine: one whose template isn't known and that is as old as the step is.
fn is_new(machine: &Machine, last: &SwapEntry) -> bool {
    let same_version = last.before.version == last.after.version;
    let is_older = machine
        .created
        .is_some_and(|created| created.as_second() < last.since.as_second());
    machine.version == last.after.version
        && match &machine.template {
            Some(_) => machine.template == last.after.template,
            None => !(same_version && is_older),
        }
}
