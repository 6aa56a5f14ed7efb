//! After an upgrade: what another client has set back to what it was before.

use instar_domain::{BuildOrder, KubeVersion};

use crate::{
    decision::{SetBack, Waiting},
    observed::Observed,
    pool_id::PoolId,
    snapshot::{Object, Snapshot, TemplateRef},
    swap_history::SwapEntry,
};

/// What of a completed upgrade, the one of the snapshot, doesn't stand any more: a `GitOps` tool that applies an old
/// manifest sets a version or a template back, and Cluster API may then create no machine at all. A newer version, or
/// a template that was never there, is another matter.
#[must_use]
pub fn drifted(snapshot: &Snapshot) -> Vec<Waiting> {
    let control_plane = snapshot.control_plane.iter().filter_map(Observed::read);
    let control_plane = control_plane.filter_map(|found| {
        let template = found.infrastructure.as_ref();
        set_back(snapshot, PoolId::ControlPlane, &found.object, &found.version, template)
    });
    let mut pools: Vec<_> = snapshot.pools.iter().filter_map(Observed::read).collect();
    pools.sort_by(|a, b| a.object.name.cmp(&b.object.name));
    let pools = pools.into_iter().filter_map(|pool| {
        let id = PoolId::Workers(pool.object.name.clone());
        set_back(snapshot, id, &pool.object, &pool.version, Some(&pool.infrastructure))
    });
    let mut machine_pools: Vec<_> = snapshot.machine_pools.iter().filter_map(Observed::read).collect();
    machine_pools.sort_by(|a, b| a.object.name.cmp(&b.object.name));
    let machine_pools = machine_pools.into_iter().filter_map(|pool| {
        let id = PoolId::MachinePool(pool.object.name.clone());
        set_back(snapshot, id, &pool.object, &pool.version, None)
    });
    control_plane.chain(pools).chain(machine_pools).collect()
}

fn set_back(
    snapshot: &Snapshot,
    pool: PoolId,
    object: &Object,
    version: &KubeVersion,
    template: Option<&TemplateRef>,
) -> Option<Waiting> {
    let history = object.swap_history.as_ref()?;
    let last = &history.last_of(&snapshot.upgrade_spec.id())?.after;
    let what = if version.compare(&last.version) == BuildOrder::Less {
        SetBack::Version {
            written: last.version.clone(),
            found: version.clone(),
        }
    } else {
        let found = &template.filter(|_| *version == last.version)?.name;
        let written = last.template.as_ref().filter(|written| *written != found)?;
        let was_there = |swap: &SwapEntry| swap.before.template.as_ref() == Some(found);
        history.entries().iter().find(|swap| was_there(swap))?;
        SetBack::Template {
            written: written.clone(),
            found: found.clone(),
        }
    };
    Some(Waiting::Drifted { pool, what })
}
