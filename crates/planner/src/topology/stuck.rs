//! A Machine of the control plane that never joined, while the control plane already asks for something else.
//! KubeadmControlPlane goes on only when all of its machines are well, so such a Machine keeps it for ever from a release
//! that would start: it has to be deleted. On its way out its controller looks whether etcd has it as a member.

use instar_capi::Lifecycle;
use jiff::Timestamp;

use super::view::TopologyView;
use crate::{
    decision::{Action, DeleteMachine, StuckRemedy, Waiting},
    pool_id::PoolId,
    settled::stuck_since,
    snapshot::{Flavor, Machine, UpToDate},
};

/// Deletes the oldest such Machine, where nothing else of the control plane is being deleted and another one has a node.
pub(super) fn next(view: &TopologyView<'_>) -> Option<Action> {
    let control_plane = view.control_plane;
    match (&control_plane.flavor, control_plane.object.lifecycle) {
        (Flavor::Kubeadm { .. }, Lifecycle::Active) => {}
        (Flavor::Kubeadm { .. }, Lifecycle::Paused | Lifecycle::Deleting) | (Flavor::Other, _) => return None,
    }
    // What it asks for has to have been seen by its controller, which then says what isn't so.
    let is_seen = control_plane.object.observed_generation >= control_plane.object.generation;
    let is_deleting = machines(view).any(|machine| machine.lifecycle == Lifecycle::Deleting);
    let has_joined = machines(view).any(|machine| machine.node.is_joined());
    if !is_seen || is_deleting || !has_joined {
        return None;
    }
    let stuck = machines(view).filter_map(|machine| Some((since(view, machine)?, machine)));
    let outdated = stuck.filter(|(_, machine)| is_outdated(view, machine));
    let (created, machine) = outdated.min_by_key(|(since, _)| *since)?;
    Some(Action::DeleteMachine(DeleteMachine {
        name: machine.name.clone(),
        created,
        version: control_plane.version.clone(),
    }))
}

/// Those that don't come up though they are what the control plane asks for.
pub(super) fn waiting(view: &TopologyView<'_>) -> impl Iterator<Item = Waiting> {
    let stuck = machines(view).filter_map(|machine| Some((since(view, machine)?, machine)));
    let stuck = stuck.filter(|(_, machine)| !is_outdated(view, machine));
    stuck.map(|(since, machine)| Waiting::ControlPlaneStuck {
        machine: machine.name.clone(),
        since,
        version: view.control_plane.version.clone(),
        next: None,
        remedy: Box::new(StuckRemedy::NameAnother),
    })
}

fn machines<'a>(view: &TopologyView<'a>) -> impl Iterator<Item = &'a Machine> {
    view.machines_of(&PoolId::ControlPlane)
}

/// Since when a machine has had no node, where that is long. One that is paused is its user's.
fn since(view: &TopologyView<'_>, machine: &Machine) -> Option<Timestamp> {
    match machine.lifecycle {
        Lifecycle::Active => stuck_since(view.snapshot, machine),
        Lifecycle::Paused | Lifecycle::Deleting => None,
    }
}

/// Whether the control plane asks for something else by now, as its controller says.
fn is_outdated(view: &TopologyView<'_>, machine: &Machine) -> bool {
    match machine.up_to_date {
        UpToDate::No => true,
        UpToDate::Yes | UpToDate::Unknown => machine.version != view.control_plane.version,
    }
}
