//! The templates that the way back would use again.

use crate::{
    observed::Observed,
    snapshot::{Object, Snapshot, TemplateRef},
    swap_history::{PoolState, SwapHistory},
};

impl Snapshot {
    /// What the control plane and the MachineDeployments referred to before each step of the last upgrade that swapped
    /// them, as their swap histories have it: it needn't be there any more, nor be of ours.
    #[must_use]
    pub fn earlier_templates(&self) -> Vec<TemplateRef> {
        let control_plane = self.control_plane.iter().filter_map(Observed::read);
        let of_control_plane = control_plane.flat_map(|control_plane| {
            let present = control_plane.infrastructure.iter();
            present.flat_map(|present| before(&control_plane.object, present, machine_template))
        });
        let pools = self.pools.iter().filter_map(Observed::read).flat_map(|pool| {
            let machines = before(&pool.object, &pool.infrastructure, machine_template);
            let bootstrap = pool.bootstrap.iter();
            machines.chain(bootstrap.flat_map(|present| before(&pool.object, present, bootstrap_template)))
        });
        of_control_plane.chain(pools).collect()
    }
}

/// A reference's kind never changes, and its name is all that a swap writes.
fn before<'o>(
    object: &'o Object,
    present: &'o TemplateRef,
    of: fn(&PoolState) -> Option<&String>,
) -> impl Iterator<Item = TemplateRef> + 'o {
    let entries = object.swap_history.iter().flat_map(SwapHistory::entries);
    entries
        .filter_map(move |entry| of(&entry.before))
        .map(|name| TemplateRef {
            name: name.clone(),
            ..present.clone()
        })
}

fn machine_template(state: &PoolState) -> Option<&String> {
    state.template.as_ref()
}

fn bootstrap_template(state: &PoolState) -> Option<&String> {
    state.bootstrap.as_ref()
}
