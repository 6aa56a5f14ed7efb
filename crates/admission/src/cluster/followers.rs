//! The pools of a pin that still have the values of another release: its lists, read and compared.

use std::collections::BTreeMap;

use instar_api::{Earlier, LeftTemplates, Pin, ReleaseChange, Values};
use instar_capi::PoolKind;

use super::shape;

/// A pin with the values that admission gives to what an edit takes off the list, to compare it with that.
pub(super) fn with_followed(edited: &Pin, before: &Pin, kept: &Pin) -> Pin {
    let mut with = edited.clone();
    for kind in [PoolKind::MachineDeployment, PoolKind::MachinePool] {
        let left = of_kind(&kept.change, kind);
        for name in of_kind(&before.change, kind)
            .keys()
            .filter(|name| !left.contains_key(*name))
        {
            let values = match kind {
                PoolKind::MachineDeployment => kept.machine_deployment(name),
                PoolKind::MachinePool => kept.machine_pool(name),
            };
            shape::set_pool(&mut with, kind, name, values.clone());
        }
    }
    with
}

/// What a pool that is made anew doesn't keep.
pub(super) fn forget(pin: &mut Pin, kind: PoolKind, name: &str) {
    of_kind_mut(&mut pin.change, kind).remove(name);
}

/// A pin of the release's own values, and for each other release those that pools still have of it.
pub(super) fn by_release(pin: &Pin) -> (Pin, BTreeMap<&Earlier, Pin>) {
    let mut own = pin.clone();
    own.change = ReleaseChange::default();
    let mut others: BTreeMap<&Earlier, Pin> = BTreeMap::new();
    let nothing = Values::new();
    for kind in [PoolKind::MachineDeployment, PoolKind::MachinePool] {
        for (name, release) in of_kind(&pin.change, kind) {
            let (values, left) = match kind {
                PoolKind::MachineDeployment => (&pin.machine_deployments, &mut own.machine_deployments),
                PoolKind::MachinePool => (&pin.machine_pools, &mut own.machine_pools),
            };
            left.remove(name);
            let other = others.entry(release).or_insert_with(|| Pin {
                release: release.clone(),
                ..Pin::default()
            });
            let values = values.get(name).unwrap_or(&nothing).clone();
            match kind {
                PoolKind::MachineDeployment => other.machine_deployments.insert(name.clone(), values),
                PoolKind::MachinePool => other.machine_pools.insert(name.clone(), values),
            };
        }
    }
    (own, others)
}

/// Names can be taken off the list and not put there; of templates, the controller says what it saw, and of pools
/// which are held.
pub(super) fn still_listed(before: &ReleaseChange, edited: &ReleaseChange) -> ReleaseChange {
    let both = |kind| {
        let edited = of_kind(edited, kind);
        let before = of_kind(before, kind).iter();
        let kept = before.filter(|(name, release)| edited.get(*name) == Some(*release));
        kept.map(|(name, release)| (name.clone(), release.clone())).collect()
    };
    ReleaseChange {
        machine_deployments: both(PoolKind::MachineDeployment),
        machine_pools: both(PoolKind::MachinePool),
        held: edited.held.clone(),
        left: LeftTemplates::clone(&edited.left),
    }
}

pub(super) fn of_kind(change: &ReleaseChange, kind: PoolKind) -> &BTreeMap<String, Earlier> {
    match kind {
        PoolKind::MachineDeployment => &change.machine_deployments,
        PoolKind::MachinePool => &change.machine_pools,
    }
}

pub(super) fn of_kind_mut(change: &mut ReleaseChange, kind: PoolKind) -> &mut BTreeMap<String, Earlier> {
    match kind {
        PoolKind::MachineDeployment => &mut change.machine_deployments,
        PoolKind::MachinePool => &mut change.machine_pools,
    }
}
