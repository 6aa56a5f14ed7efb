//! Another release of the version that runs. Admission has given its values to the control plane alone; each pool keeps
//! what it has while the pin lists it. Here it is taken off the list, in the order of the upgrade: its gates are asked as
//! those of a pool that is held. Cluster API replaces its machines then.
//!
//! Neither a version nor a condition says which release Cluster API has rendered, but a template's name does: it gives what
//! it replaces another one. So the list keeps the names from before. A template that has the values anyway keeps its name:
//! of that, its content is read.

use std::collections::BTreeMap;

use instar_api::{LeftTemplate, Pin, RELEASES_ANNOTATION, ReleaseChange};
use instar_capi::{
    Lifecycle,
    labels::{TOPOLOGY_DEPLOYMENT_NAME, TOPOLOGY_POOL_NAME},
};
use serde_json::json;

use super::{canary, holds, view::TopologyView};
use crate::{
    canary::Leaving,
    decision::{Action, FollowRelease, Waiting},
    gates,
    pool_id::PoolId,
    snapshot::{Flavor, MachineDeployment, MachinePool, Rollout, Snapshot, TemplateRef},
    template_values,
    upgrade_spec::{Origin, PoolOverride},
};

/// What is changed, where something is.
pub(super) struct Changing<'a> {
    snapshot: &'a Snapshot,
    pin: &'a Pin,
    change: &'a ReleaseChange,
}

impl<'a> Changing<'a> {
    pub(super) fn of(view: &TopologyView<'a>) -> Option<Self> {
        let pin = view.topology.changed_pin()?;
        Some(Self {
            snapshot: view.snapshot,
            pin,
            change: &pin.change,
        })
    }

    /// Whether the release's values have come to the control plane's own object.
    fn has_control_plane(&self, view: &TopologyView<'_>) -> bool {
        let control_plane = view.control_plane;
        let template = control_plane.infrastructure.as_ref();
        let is_left = |left: &LeftTemplate| {
            template.is_some_and(|template| {
                template.name == left.name && !template_values::has(self.snapshot, template, &self.pin.control_plane)
            })
        };
        !self.change.left.control_plane.as_ref().is_some_and(is_left)
    }

    /// Whether it still has the values of another release.
    pub(super) fn has_to_follow(&self, pool: &MachineDeployment) -> bool {
        in_topology(pool).is_some_and(|name| self.change.machine_deployments.contains_key(name))
    }

    /// Whether it has the release's values in the pins, and Cluster API hasn't given them to it yet.
    fn is_awaited(&self, pool: &MachineDeployment) -> bool {
        let left = &self.change.left.machine_deployments;
        in_topology(pool).is_some_and(|name| {
            left.get(name) == Some(&pool.infrastructure.name)
                && !template_values::has(self.snapshot, &pool.infrastructure, self.pin.machine_deployment(name))
        })
    }

    /// Whether an upgrade held it back when all else had followed.
    fn is_held(&self, pool: &MachineDeployment) -> bool {
        in_topology(pool).is_some_and(|name| self.change.held.contains(name))
    }

    /// Whether it was taken off the list.
    fn has_followed(&self, pool: &MachineDeployment) -> bool {
        in_topology(pool).is_some_and(|name| self.change.left.machine_deployments.contains_key(name))
    }

    fn follows_later(&self, pool: &MachinePool) -> bool {
        let name = pool.labels.get(TOPOLOGY_POOL_NAME);
        name.is_some_and(|name| self.change.machine_pools.contains_key(name))
    }
}

/// Whether a release of the version that runs is being replaced: an upgrade goes on, though nothing is at another version.
pub(super) fn is_under_way(view: &TopologyView<'_>) -> bool {
    view.topology.changing_release().is_some()
}

/// The templates that kept their names, of which has to be known what they say.
pub(super) fn unread(view: &TopologyView<'_>) -> Vec<TemplateRef> {
    let Some(changing) = Changing::of(view) else {
        return Vec::new();
    };
    let control_plane = view.control_plane.infrastructure.as_ref();
    let control_plane = control_plane.filter(|_| !changing.has_control_plane(view));
    let pools = view.pools.iter().filter(|pool| changing.is_awaited(pool));
    let left = control_plane.into_iter().chain(pools.map(|pool| &pool.infrastructure));
    left.filter(|template| template_values::content(view.snapshot, template).is_none())
        .cloned()
        .collect()
}

/// The next pools that get the release's values, or that nothing has still to follow.
pub(super) fn next(view: &TopologyView<'_>, waiting: &mut Vec<Waiting>) -> Option<Action> {
    let changing = Changing::of(view)?;
    if !control_plane_has_arrived(view) {
        return None;
    }
    let mut to_follow: Vec<&MachineDeployment> = view
        .pools
        .iter()
        .copied()
        .filter(|pool| changing.has_to_follow(pool))
        .collect();
    to_follow.retain(|pool| !is_held_back(view, &changing, pool));
    if to_follow.is_empty() {
        return machine_pools(view, &changing, waiting)
            .or_else(|| end(view, &changing))
            .or_else(|| hold_rest(view, &changing));
    }
    if let Some(record) =
        canary::record_followed(view, |pool| changing.has_followed(pool) && !changing.is_awaited(pool))
    {
        return Some(record);
    }
    // One that stands half way can't get worse by going on.
    to_follow.sort_by_key(|pool| (view.pool_settled(pool), view.place(pool)));
    let moving = view
        .pools
        .iter()
        .filter(|pool| is_on_its_way(view, &changing, pool))
        .count();
    let room = holds::limit(view).saturating_sub(moving);
    // Those that go first are counted one by one.
    let room = if canary::is_wanted(view) { room.min(1) } else { room };
    let version = &view.topology.version;
    let mut held = gates::before_workers(view.snapshot, version, Some(&changing.pin.release));
    if room == 0 {
        held.retain(gates::is_of_addon);
    }
    if room == 0 || !held.is_empty() {
        waiting.extend(held);
        return None;
    }
    let mut go = Vec::new();
    for pool in to_follow {
        let id = PoolId::Workers(pool.object.name.clone());
        let leaving = Leaving {
            pool: &id,
            from: version,
            to: version,
            due: &[],
        };
        let canary = || canary::before_following(view, |other| changing.has_followed(other));
        match gates::before_pool(view.snapshot, &leaving).or_else(canary) {
            None if go.len() < room => go.push(pool),
            None => break,
            Some(held) if waiting.contains(&held) => {}
            Some(held) => waiting.push(held),
        }
    }
    (!go.is_empty()).then(|| take_off(view, &changing, &go, None))
}

/// What isn't there yet, beside what the objects themselves say.
pub(super) fn waiting(view: &TopologyView<'_>) -> Vec<Waiting> {
    let Some(changing) = Changing::of(view) else {
        return Vec::new();
    };
    let release = || changing.pin.release.clone();
    let mut waiting = Vec::new();
    if !changing.has_control_plane(view) || !has_tags(view, changing.pin) {
        waiting.push(Waiting::ReleaseAwaited {
            pool: PoolId::ControlPlane,
            release: release(),
        });
    }
    for pool in &view.pools {
        let id = || PoolId::Workers(pool.object.name.clone());
        if changing.is_awaited(pool) {
            waiting.push(Waiting::ReleaseAwaited {
                pool: id(),
                release: release(),
            });
        } else if changing.has_to_follow(pool) && !is_held_back(view, &changing, pool) {
            waiting.push(Waiting::PoolToFollow {
                pool: id(),
                release: release(),
            });
        }
    }
    for pool in view.machine_pools.iter().filter(|pool| changing.follows_later(pool)) {
        waiting.push(Waiting::PoolToFollow {
            pool: PoolId::MachinePool(pool.object.name.clone()),
            release: release(),
        });
    }
    waiting
}

/// Whether all of the control plane is of the release that is pinned for the Cluster's version.
fn control_plane_has_arrived(view: &TopologyView<'_>) -> bool {
    let Some(changing) = Changing::of(view) else {
        return true;
    };
    view.control_plane.version == view.topology.version
        && changing.has_control_plane(view)
        && has_tags(view, changing.pin)
        && view.control_plane_settled()
}

/// Whether a KubeadmControlPlane asks for the etcd and the CoreDNS that are pinned, which replace machines without another
/// template.
fn has_tags(view: &TopologyView<'_>, pin: &Pin) -> bool {
    let Flavor::Kubeadm {
        cluster_configuration, ..
    } = &view.control_plane.flavor
    else {
        return true;
    };
    let is = |pinned: Option<&str>, asked: Option<&String>| {
        pinned.is_none_or(|pinned| asked.is_some_and(|asked| asked == pinned))
    };
    let (etcd, dns) = (&cluster_configuration.etcd, &cluster_configuration.dns);
    let has_etcd = etcd.external.is_some()
        || is(pin.etcd_tag(), etcd.local.image_tag.as_ref())
            && is(pin.etcd_repository(), etcd.local.image_repository.as_ref());
    has_etcd
        && is(pin.core_dns_tag(), dns.image_tag.as_ref())
        && is(pin.core_dns_repository(), dns.image_repository.as_ref())
}

/// Whether this upgrade leaves a pool as it is. A record says nothing of pools, so it leaves those that an upgrade held.
fn is_held_back(view: &TopologyView<'_>, changing: &Changing<'_>, pool: &MachineDeployment) -> bool {
    let upgrade_spec = &view.snapshot.upgrade_spec;
    let rules = &upgrade_spec.pools;
    let rule = rules.get(&pool.object.name).or_else(|| rules.get(in_topology(pool)?));
    match (rule, upgrade_spec.origin) {
        (Some(PoolOverride::Hold), Origin::Upgrade | Origin::Cluster) => true,
        (Some(PoolOverride::Pin(_)) | None, Origin::Upgrade) => false,
        (Some(PoolOverride::Pin(_)) | None, Origin::Cluster) => changing.is_held(pool),
    }
}

/// A pool whose machines are replaced, or will be as soon as Cluster API sees it. One that still has to follow takes no
/// room, nor does one that waits for its user.
fn is_on_its_way(view: &TopologyView<'_>, changing: &Changing<'_>, pool: &MachineDeployment) -> bool {
    let moves = pool.object.lifecycle == Lifecycle::Active && pool.rollout == Rollout::Rolling;
    moves && !changing.has_to_follow(pool) && (changing.is_awaited(pool) || !view.pool_settled(pool))
}

/// MachinePools are changed in place, so that no name says what they have: one follows when the counts of the others are
/// whole.
fn machine_pools(view: &TopologyView<'_>, changing: &Changing<'_>, waiting: &mut Vec<Waiting>) -> Option<Action> {
    let mut pools = view.machine_pools.iter().copied();
    let next = pools.find(|pool| changing.follows_later(pool))?;
    let moves = |pool: &&MachineDeployment| is_on_its_way(view, changing, pool);
    let is_whole = |pool: &&MachinePool| {
        let counts = pool.replicas;
        pool.object.observed_generation >= pool.object.generation
            && counts.is_none_or(|counts| counts.total == counts.desired && counts.ready == counts.desired)
    };
    if view.pools.iter().copied().any(|pool| moves(&pool))
        || !view.machine_pools.iter().copied().all(|pool| is_whole(&pool))
    {
        return None;
    }
    let held = gates::before_workers(view.snapshot, &view.topology.version, Some(&changing.pin.release));
    let id = PoolId::MachinePool(next.object.name.clone());
    let leaving = Leaving {
        pool: &id,
        from: &view.topology.version,
        to: &view.topology.version,
        due: &[],
    };
    let approval = gates::before_pool(view.snapshot, &leaving);
    if held.is_empty() && approval.is_none() {
        return Some(take_off(view, changing, &[], Some(next)));
    }
    waiting.extend(held.into_iter().chain(approval));
    None
}

/// Nothing has still to follow, and Cluster API has replaced every template: the pin is like any other.
fn end(view: &TopologyView<'_>, changing: &Changing<'_>) -> Option<Action> {
    let is_listed = view.pools.iter().any(|pool| changing.has_to_follow(pool))
        || view.machine_pools.iter().any(|pool| changing.follows_later(pool));
    let is_awaited = view.pools.iter().any(|pool| changing.is_awaited(pool));
    (!is_listed && !is_awaited).then(|| write(view, changing, ReleaseChange::default(), Vec::new()))
}

/// All that is listed still is held back, so for this upgrade the change is over. The pin says so, since a record may be
/// deleted.
fn hold_rest(view: &TopologyView<'_>, changing: &Changing<'_>) -> Option<Action> {
    let follows = view.machine_pools.iter().any(|pool| changing.follows_later(pool));
    let is_awaited = view.pools.iter().any(|pool| changing.is_awaited(pool));
    let change = ReleaseChange {
        held: changing.change.machine_deployments.keys().cloned().collect(),
        // None of these is there any more.
        machine_pools: BTreeMap::new(),
        ..changing.change.clone()
    };
    (!follows && !is_awaited && change != *changing.change).then(|| write(view, changing, change, Vec::new()))
}

fn take_off(
    view: &TopologyView<'_>,
    changing: &Changing<'_>,
    go: &[&MachineDeployment],
    machine_pool: Option<&MachinePool>,
) -> Action {
    let mut change = changing.change.clone();
    let mut pools = Vec::new();
    for pool in go {
        let Some(name) = in_topology(pool) else { continue };
        change.machine_deployments.remove(name);
        change.held.remove(name);
        let left = &mut change.left.machine_deployments;
        left.insert(name.to_owned(), pool.infrastructure.name.clone());
        pools.push(PoolId::Workers(pool.object.name.clone()));
    }
    if let Some(pool) = machine_pool {
        let name = pool.labels.get(TOPOLOGY_POOL_NAME);
        change.machine_pools.retain(|listed, _| Some(listed) != name);
        pools.push(PoolId::MachinePool(pool.object.name.clone()));
    }
    write(view, changing, change, pools)
}

fn write(view: &TopologyView<'_>, changing: &Changing<'_>, change: ReleaseChange, pools: Vec<PoolId>) -> Action {
    let version = &view.topology.version;
    let mut pins = view.topology.pins.clone().unwrap_or_default();
    let pin = Pin {
        change,
        ..changing.pin.clone()
    };
    pins.releases.insert(version.clone(), pin);
    let resource_version = view.topology.resource_version.clone();
    Action::FollowRelease(FollowRelease {
        name: view.snapshot.cluster.name.clone(),
        version: version.clone(),
        release: changing.pin.release.clone(),
        pools,
        patch: json!({ "metadata": {
            "resourceVersion": resource_version,
            "annotations": { RELEASES_ANNOTATION: pins.to_annotation() },
        }}),
        resource_version,
    })
}

fn in_topology(pool: &MachineDeployment) -> Option<&str> {
    pool.labels.get(TOPOLOGY_DEPLOYMENT_NAME).map(String::as_str)
}

/// Whether the control plane has still to get the release's values.
pub(super) fn is_of_control_plane(waiting: &Waiting) -> bool {
    matches!(
        waiting,
        Waiting::ReleaseAwaited {
            pool: PoolId::ControlPlane,
            ..
        }
    )
}
