//! The invariants of a release change: no pool follows before the control plane has arrived, not more of them at a time
//! than are asked for, and no Machine is deleted that has a node.

use std::collections::BTreeMap;

use instar_api::{Pin, Pins, RELEASES_ANNOTATION, ReleaseChange};
use instar_capi::{
    Lifecycle, ManagedBy,
    labels::{TOPOLOGY_DEPLOYMENT_NAME, TOPOLOGY_POOL_NAME},
};

use super::{
    Violation, control_plane,
    patch::{Also, annotation, touches_only},
    read,
    topology::compared,
};
use crate::{
    decision::{DeleteMachine, FollowRelease},
    pool_id::PoolId,
    snapshot::{ConditionStatus, Flavor, Machine, MachineDeployment, MachinePool, Node, Rollout, Snapshot, UpToDate},
    template_values,
    upgrade_spec::{Origin, PoolOverride},
};

pub(super) fn check(snapshot: &Snapshot, follow: &FollowRelease, broken: &mut Vec<Violation>) {
    let (name, version) = (&follow.name, &follow.resource_version);
    let Some(topology) = compared(snapshot, name, version, &follow.patch, broken) else {
        return;
    };
    let written = annotation(&follow.patch, RELEASES_ANNOTATION).map(Pins::from_annotation);
    let (Some(before), Some(Ok(after))) = (&topology.pins, written) else {
        broken.push(Violation::Incomplete);
        return;
    };
    // Values are admission's to write.
    let without = |pins: &Pins| {
        let mut pins = pins.clone();
        if let Some(pin) = pins.releases.get_mut(&topology.version) {
            pin.change = ReleaseChange::default();
        }
        pins
    };
    if without(before) != without(&after) {
        broken.push(Violation::PinRewritten);
    }
    let (Some(old), Some(new)) = (
        before.releases.get(&topology.version),
        after.releases.get(&topology.version),
    ) else {
        broken.push(Violation::Incomplete);
        return;
    };
    if follow.version != topology.version || follow.release != new.release || !is_listed(snapshot, follow, old, new) {
        broken.push(Violation::Incomplete);
    }
    if !touches_only(&follow.patch, &[RELEASES_ANNOTATION], Also::Nothing) {
        broken.push(Violation::NotOurs);
    }
    if !has_arrived(snapshot, old) {
        broken.push(Violation::ControlPlaneMoving);
    }
    let deployments = follow.pools.iter().filter(|pool| matches!(pool, PoolId::Workers(_)));
    if deployments.count() > 0 && moving(snapshot, new) > limit(snapshot) {
        broken.push(Violation::TooManyPools);
    }
}

/// Whether exactly the pools that are named are taken off, each with the template that it has.
fn is_listed(snapshot: &Snapshot, follow: &FollowRelease, old: &Pin, new: &Pin) -> bool {
    if follow.pools.is_empty() {
        let mut pools = read(&snapshot.pools);
        let is_left = |pool: &MachineDeployment| {
            let name = in_topology(pool);
            old.change.machine_deployments.keys().any(|listed| Some(listed) == name) || is_awaited(snapshot, pool, old)
        };
        return (new.change.is_empty() && !pools.any(is_left)) || is_rest_held(snapshot, old, new);
    }
    let mut expected = old.change.clone();
    for id in &follow.pools {
        let is_taken = match id {
            PoolId::ControlPlane => false,
            PoolId::Workers(of) => read(&snapshot.pools)
                .find(|pool| pool.object.name == *of)
                .is_some_and(|pool| {
                    let name = in_topology(pool).cloned().unwrap_or_default();
                    let left = pool.infrastructure.name.clone();
                    expected.left.machine_deployments.insert(name.clone(), left);
                    expected.held.remove(&name);
                    expected.machine_deployments.remove(&name).is_some() && !is_held(snapshot, pool, old)
                }),
            PoolId::MachinePool(of) => read(&snapshot.machine_pools)
                .find(|pool| pool.object.name == *of)
                .is_some_and(|pool| {
                    let name = pool.labels.get(TOPOLOGY_POOL_NAME);
                    name.is_some_and(|name| expected.machine_pools.remove(name).is_some())
                }),
        };
        if !is_taken {
            return false;
        }
    }
    expected == new.change
}

/// Whether the pin gets nothing but that the pools which are left are held, and they are.
fn is_rest_held(snapshot: &Snapshot, old: &Pin, new: &Pin) -> bool {
    let listed = &old.change.machine_deployments;
    let expected = ReleaseChange {
        held: listed.keys().cloned().collect(),
        machine_pools: BTreeMap::new(),
        ..old.change.clone()
    };
    let follows = |pool: &MachineDeployment| {
        let is_listed = in_topology(pool).is_some_and(|name| listed.contains_key(name));
        is_awaited(snapshot, pool, old) || (is_listed && !is_held(snapshot, pool, old))
    };
    let is_of_list = |pool: &MachinePool| {
        let name = pool.labels.get(TOPOLOGY_POOL_NAME);
        name.is_some_and(|name| old.change.machine_pools.contains_key(name))
    };
    new.change == expected && !read(&snapshot.pools).any(follows) && !read(&snapshot.machine_pools).any(is_of_list)
}

/// Whether an upgrade leaves a pool as it is: this one, or one of before where this is a record.
fn is_held(snapshot: &Snapshot, pool: &MachineDeployment, pin: &Pin) -> bool {
    let rules = &snapshot.upgrade_spec.pools;
    let name = in_topology(pool);
    let is_of_before = name.is_some_and(|name| pin.change.held.contains(name));
    let rule = rules.get(&pool.object.name).or_else(|| rules.get(name?));
    matches!(rule, Some(PoolOverride::Hold)) || (is_of_before && snapshot.upgrade_spec.origin == Origin::Cluster)
}

/// Whether the control plane is at the release, with all its machines.
fn has_arrived(snapshot: &Snapshot, pin: &Pin) -> bool {
    let (Some(control_plane), Some(topology)) = (control_plane(snapshot), snapshot.cluster.topology()) else {
        return false;
    };
    let template = control_plane.infrastructure.as_ref();
    let left = pin.change.left.control_plane.as_ref().map(|left| &left.name);
    let has_values = template.is_some_and(|template| template_values::has(snapshot, template, &pin.control_plane));
    let is_there = |machine: &Machine| machine.version == control_plane.version && machine.node.is_joined();
    let mut machines = read(&snapshot.machines).filter(|machine| machine.pool == Some(PoolId::ControlPlane));
    control_plane.version == topology.version
        && (left.is_none() || left != template.map(|template| &template.name) || has_values)
        && control_plane.object.observed_generation >= control_plane.object.generation
        && control_plane
            .replicas
            .is_none_or(|counts| counts.up_to_date == counts.total && counts.total == counts.desired)
        && machines.all(is_there)
}

/// How many pools that have the release's values aren't at rest.
fn moving(snapshot: &Snapshot, pin: &Pin) -> usize {
    let pools = read(&snapshot.pools).filter(|pool| {
        let listed = in_topology(pool).is_some_and(|name| pin.change.machine_deployments.contains_key(name));
        let goes = pool.object.lifecycle == Lifecycle::Active && pool.rollout == Rollout::Rolling;
        pool.object.managed_by == ManagedBy::Topology && goes && !listed
    });
    let rolls = |pool: &&MachineDeployment| {
        let id = PoolId::Workers(pool.object.name.clone());
        let mut machines = read(&snapshot.machines).filter(|machine| machine.pool.as_ref() == Some(&id));
        let is_old = |machine: &Machine| {
            let template = machine.template.as_ref();
            machine.version != pool.version || template.is_some_and(|template| *template != pool.infrastructure.name)
        };
        is_awaited(snapshot, pool, pin) || machines.any(|machine| is_old(machine) || !machine.node.is_joined())
    };
    pools.filter(rolls).count()
}

fn limit(snapshot: &Snapshot) -> usize {
    match snapshot.upgrade_spec.origin {
        Origin::Upgrade => snapshot.upgrade_spec.strategy.limit(),
        Origin::Cluster => {
            let concurrency = snapshot.cluster.topology().map(|topology| &topology.concurrency);
            let users = concurrency.and_then(|concurrency| match &concurrency.raised {
                Some(raised) if concurrency.present.as_ref() == Some(&raised.to) => raised.before.as_ref(),
                Some(_) | None => concurrency.present.as_ref(),
            });
            users.and_then(|text| text.parse().ok()).unwrap_or(1)
        }
    }
}

/// Whether pools follow past those that go first and have not been there for long enough, or aren't well.
pub(super) fn passes_first(snapshot: &Snapshot, follow: &FollowRelease) -> bool {
    let (Some(rule), Some(topology)) = (snapshot.canary, snapshot.cluster.topology()) else {
        return false;
    };
    let pools = || read(&snapshot.pools).filter(|pool| pool.object.managed_by == ManagedBy::Topology);
    let pin = topology
        .pins
        .as_ref()
        .and_then(|pins| pins.releases.get(&topology.version));
    let Some(pin) = pin.filter(|_| pools().count() > rule.pools) else {
        return false;
    };
    let of_machines = |pool: &MachineDeployment| {
        let id = PoolId::Workers(pool.object.name.clone());
        read(&snapshot.machines).any(|machine| machine.pool.as_ref() == Some(&id))
    };
    let followed: Vec<_> = pools()
        .filter(|pool| in_topology(pool).is_some_and(|name| pin.change.left.machine_deployments.contains_key(name)))
        .filter(|pool| {
            pool.object.lifecycle == Lifecycle::Active && pool.rollout == Rollout::Rolling && of_machines(pool)
        })
        .collect();
    let baked = |pool: &MachineDeployment| {
        let history = pool.object.swap_history.as_ref();
        let swap = history.and_then(|history| history.last_of(&snapshot.upgrade_spec.id()));
        let swap = swap.filter(|swap| swap.after.is_at(&pool.version, Some(&pool.infrastructure.name)));
        let until = swap.and_then(|swap| swap.converged?.checked_add(rule.bake).ok());
        let is_ill = |kind: &str| {
            let mut conditions = pool.object.conditions.iter();
            conditions.any(|condition| condition.kind == kind && condition.status == ConditionStatus::False)
        };
        until.is_some_and(|until| until <= snapshot.now) && !is_ill("Available") && !is_ill("MachinesReady")
    };
    let arrived = followed.iter().filter(|pool| baked(pool)).count();
    !follow.pools.is_empty() && followed.len() + follow.pools.len() > rule.pools && arrived < rule.pools
}

/// A Machine of the control plane that never joined, and that the control plane has no use for.
pub(super) fn check_machine(snapshot: &Snapshot, delete: &DeleteMachine, broken: &mut Vec<Violation>) {
    let of_control_plane = || read(&snapshot.machines).filter(|machine| machine.pool == Some(PoolId::ControlPlane));
    let (Some(control_plane), Some(machine)) = (
        control_plane(snapshot),
        of_control_plane().find(|machine| machine.name == delete.name),
    ) else {
        broken.push(Violation::UnknownObject);
        return;
    };
    let is_kubeadm = matches!(control_plane.flavor, Flavor::Kubeadm { .. });
    if snapshot.cluster.topology().is_none()
        || control_plane.object.managed_by != ManagedBy::Topology
        || control_plane.object.lifecycle != Lifecycle::Active
        || !is_kubeadm
    {
        broken.push(Violation::Untouchable);
    }
    let is_old = machine.created == Some(delete.created)
        && snapshot.now.duration_since(delete.created) >= snapshot.machine_start;
    let is_outdated = machine.up_to_date == UpToDate::No || machine.version != control_plane.version;
    let is_alone = !of_control_plane().any(|other| other.lifecycle == Lifecycle::Deleting);
    let has_other = of_control_plane().any(|other| other.node.is_joined());
    if machine.node != Node::Absent || !is_old || !is_outdated || !is_alone || !has_other {
        broken.push(Violation::MachineInUse);
    }
}

fn is_awaited(snapshot: &Snapshot, pool: &MachineDeployment, pin: &Pin) -> bool {
    let template = &pool.infrastructure;
    in_topology(pool).is_some_and(|name| {
        let is_left = pin.change.left.machine_deployments.get(name) == Some(&template.name);
        is_left && !template_values::has(snapshot, template, pin.machine_deployment(name))
    })
}

fn in_topology(pool: &MachineDeployment) -> Option<&String> {
    pool.labels.get(TOPOLOGY_DEPLOYMENT_NAME)
}
