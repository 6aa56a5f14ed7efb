//! A step of the control plane that never came up: its new machine has no node, and nothing of the step has run.

use super::view::ClassicView;
use crate::{
    pool_id::PoolId,
    settled::stuck_since,
    snapshot::{Flavor, Machine},
    swap_history::{Direction, PoolState, SwapEntry, SwapHistory},
};

/// The control plane's last step, where it is one.
#[derive(Clone, Copy)]
pub(super) struct StuckStep<'a> {
    /// What was there before it.
    pub(super) before: &'a PoolState,
    /// The release that doesn't come up.
    pub(super) release: &'a str,
}

/// Of a KubeadmControlPlane alone: another kind may do something else about such a machine.
pub(super) fn find<'a>(view: &ClassicView<'a>) -> Option<StuckStep<'a>> {
    let control_plane = view.control_plane;
    match control_plane.flavor {
        Flavor::Kubeadm { .. } => {}
        Flavor::Other => return None,
    }
    let template = control_plane.infrastructure.as_ref().map(|template| &template.name);
    let history = control_plane.object.swap_history.as_ref();
    // A restart is no step: what it asks for is what was there.
    let last = history.and_then(SwapHistory::last_change).filter(|last| {
        last.direction == Direction::Forward
            && last.converged.is_none()
            && last.after.is_at(&control_plane.version, template)
    })?;
    let machines = view.machines_of(&PoolId::ControlPlane);
    let (new, old): (Vec<&Machine>, Vec<&Machine>) =
        machines.into_iter().partition(|machine| is_of_step(machine, last));
    let is_stuck = new.iter().any(|machine| stuck_since(view.snapshot, machine).is_some());
    let has_run = new.iter().any(|machine| machine.node.is_joined());
    let are_old = !old.is_empty() && old.iter().all(|machine| machine.version == last.before.version);
    let release = last.after.release.as_deref()?;
    (is_stuck && !has_run && are_old).then_some(StuckStep {
        before: &last.before,
        release,
    })
}

/// Whether a step made a machine. Of a control plane's machine the template may not be known: between releases of one
/// version, its time then says it.
fn is_of_step(machine: &Machine, step: &SwapEntry) -> bool {
    let is_of_template = match &machine.template {
        Some(template) => step.after.template.as_ref() == Some(template),
        None if step.before.version == step.after.version => machine
            .created
            .is_none_or(|created| created.as_second() >= step.since.as_second()),
        None => true,
    };
    machine.version == step.after.version && is_of_template
}
