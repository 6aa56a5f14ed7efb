//! The path of an upgrade is found once, when it begins, and written into the Cluster: which releases, and the values
//! that each pool's templates get at each of them.

use std::collections::BTreeSet;

use instar_api::{PATH_ANNOTATION, Pin, Pins, RELEASES_ANNOTATION, Values};
use instar_capi::ManagedBy;
use instar_domain::KubeVersion;
use serde_json::json;

use super::{
    goal::{Goal, at_present},
    machine_pools,
    view::ClassicView,
};
use crate::{
    decision::PinPath,
    gates,
    operation::Rollback,
    pool_id::PoolId,
    snapshot::{ClassicCluster, PinnedPath, TakenBack, TemplateRef},
    step::Step,
    upgrade_spec::PoolOverride,
};

/// The write that comes before the first mint or swap; none where the Cluster carries it.
pub(super) fn write(view: &ClassicView<'_>, goal: &Goal<'_>) -> Option<PinPath> {
    if goal.is_pinned {
        return None;
    }
    let classic = view.snapshot.cluster.classic()?;
    let control_plane = view.control_plane;
    let mut steps = goal.steps.clone();
    if has_older_workers(view) {
        // Another row of a version on the path takes the place of the present one.
        let is_on_path = |step: &Step<'_>| goal.steps.iter().any(|other| other.version() == step.version());
        steps.extend(at_present(view).step().filter(|step| !is_on_path(step)));
    }
    let carried = pins(view, classic, &steps);
    let pinned_path = PinnedPath {
        upgrade: view.snapshot.upgrade_spec.id(),
        target: view.snapshot.upgrade_spec.target.as_str().to_owned(),
        since: Some(view.snapshot.now),
        from: goal
            .goes_back
            .map_or(&control_plane.version, |before| &before.version)
            .clone(),
        releases: goal.steps.iter().map(|step| step.name().to_owned()).collect(),
        addons: goal
            .steps
            .iter()
            .map(Step::name)
            .filter(|name| gates::has_addons(view.snapshot, name))
            .map(str::to_owned)
            .collect(),
        // What was taken back stays so, whatever comes after it.
        takes_back: stays_taken_back(view, classic).cloned(),
    };
    let is_same_path = |path: &PinnedPath| {
        let at_this_time = PinnedPath {
            since: pinned_path.since,
            ..path.clone()
        };
        at_this_time == pinned_path
    };
    if classic.pins.as_ref() == Some(&carried) && classic.path.as_ref().is_some_and(is_same_path) {
        return None;
    }
    Some(patch(view, classic, &carried, pinned_path))
}

fn stays_taken_back<'a>(view: &ClassicView<'a>, classic: &'a ClassicCluster) -> Option<&'a TakenBack> {
    let upgrade_spec = &view.snapshot.upgrade_spec;
    let path = classic.path.as_ref()?;
    path.taken_back_beside(&upgrade_spec.upgrade, upgrade_spec.target.as_str())
}

/// The write that comes before the first swap back: what is taken back stands in the Cluster from then on. None where it
/// does.
pub(super) fn write_way_back(view: &ClassicView<'_>, rollback: &Rollback) -> Option<PinPath> {
    let classic = view.snapshot.cluster.classic()?;
    let upgrade = view.snapshot.upgrade_spec.id();
    let before = classic.path.as_ref();
    let reached = before.and_then(|path| match &path.takes_back {
        _ if path.upgrade == rollback.of => Some(path.target.clone()),
        Some(of) if of.upgrade == rollback.of => of.reached.clone(),
        Some(_) | None => None,
    });
    let takes_back = TakenBack {
        upgrade: rollback.of.clone(),
        target: rollback.target.clone(),
        reached: reached.filter(|reached| *reached != rollback.target),
        retry: rollback.retry,
        by: upgrade.clone(),
        scope: rollback.scope,
    };
    let is_there = |path: &PinnedPath| path.upgrade == upgrade && path.takes_back.as_ref() == Some(&takes_back);
    if classic.path.as_ref().is_some_and(is_there) {
        return None;
    }
    let pinned_path = PinnedPath {
        upgrade: upgrade.clone(),
        target: String::new(),
        since: Some(view.snapshot.now),
        from: view.control_plane.version.clone(),
        releases: Vec::new(),
        addons: Vec::new(),
        takes_back: Some(takes_back),
    };
    let pins = classic.pins.clone().unwrap_or_default();
    Some(patch(view, classic, &pins, pinned_path))
}

/// Whether as much of the same upgrade is on its way back already, be it by another rollback that is gone.
pub(super) fn is_way_back(view: &ClassicView<'_>, rollback: &Rollback) -> bool {
    let path = view
        .snapshot
        .cluster
        .classic()
        .and_then(|classic| classic.path.as_ref());
    let taken_back = path.filter(|path| path.takes_back.as_ref().is_some_and(|of| of.by == path.upgrade));
    let taken_back = taken_back.and_then(|path| path.takes_back.as_ref());
    taken_back.is_some_and(|taken_back| taken_back.upgrade == rollback.of && taken_back.scope == rollback.scope)
}

fn patch(view: &ClassicView<'_>, classic: &ClassicCluster, pins: &Pins, pinned_path: PinnedPath) -> PinPath {
    let resource_version = classic.resource_version.clone();
    let is_way_back = pinned_path
        .takes_back
        .as_ref()
        .is_some_and(|of| of.by == pinned_path.upgrade);
    let patch = json!({ "metadata": {
        "resourceVersion": resource_version,
        "annotations": {
            RELEASES_ANNOTATION: pins.to_annotation(),
            PATH_ANNOTATION: pinned_path.to_annotation(),
        },
    }});
    PinPath {
        name: view.snapshot.cluster.name.clone(),
        resource_version,
        releases: pinned_path.releases,
        takes_back: is_way_back
            .then(|| pinned_path.takes_back.map(|of| of.upgrade.name))
            .flatten(),
        before: None,
        way_back: None,
        patch,
    }
}

/// Whether workers may have to be moved to where the control plane is now.
fn has_older_workers(view: &ClassicView<'_>) -> bool {
    let present = &view.control_plane.version;
    view.pools.iter().any(|pool| pool.version < *present)
        || view.machine_pools.iter().any(|pool| pool.version < *present)
}

/// What the Cluster is to carry: the pins of what runs, and those of the steps.
fn pins(view: &ClassicView<'_>, classic: &ClassicCluster, steps: &[Step<'_>]) -> Pins {
    let running = view.versions();
    let present = &view.control_plane.version;
    let mut pins = classic.pins.clone().unwrap_or_else(|| Pins {
        adopted: [present.clone()].into(),
        ..Pins::default()
    });
    pins.releases.retain(|version, _| running.contains(version));
    for step in steps {
        pins.releases.insert(step.version().clone(), pin(view, step));
    }
    let releases = &pins.releases;
    pins.adopted
        .retain(|adopted| running.contains(adopted) && !releases.contains_key(adopted));
    pins
}

/// A release with its values for each pool that follows the control plane.
fn pin(view: &ClassicView<'_>, step: &Step<'_>) -> Pin {
    let control_plane = view.control_plane;
    let values = |template: &TemplateRef| {
        step.control_plane(template, view.labels(&control_plane.labels))
            .cloned()
    };
    let follows = view.pools.iter().filter(|pool| {
        let is_held = match view.snapshot.upgrade_spec.pools.get(&pool.object.name) {
            None => false,
            Some(PoolOverride::Hold | PoolOverride::Pin(_)) => true,
        };
        pool.object.managed_by == ManagedBy::User && !is_held
    });
    let machine_deployments = follows.filter_map(|pool| {
        let name = &pool.object.name;
        let values = step.machine_deployment(name, &pool.infrastructure, view.labels(&pool.labels))?;
        Some((name.clone(), values.clone()))
    });
    let follows = view
        .machine_pools
        .iter()
        .filter(|pool| pool.object.managed_by == ManagedBy::User && machine_pools::override_of(view, pool).is_none());
    let machine_pools = follows.filter_map(|pool| {
        let values = machine_pools::image(view, step, pool)?;
        Some((pool.object.name.clone(), values.clone()))
    });
    Pin {
        release: step.name().to_owned(),
        kubeadm: step.kubeadm().clone(),
        control_plane: control_plane
            .infrastructure
            .as_ref()
            .and_then(values)
            .unwrap_or_default(),
        workers: Values::new(),
        machine_deployments: machine_deployments.collect(),
        machine_pools: machine_pools.collect(),
        ..Pin::default()
    }
}

impl<'a> ClassicView<'a> {
    /// Every version that something of the Cluster runs or is to run.
    fn versions(&self) -> BTreeSet<&'a KubeVersion> {
        let control_plane = self.control_plane;
        let ids = std::iter::once(PoolId::ControlPlane);
        let ids = ids.chain(self.pools.iter().map(|pool| PoolId::Workers(pool.object.name.clone())));
        let machines = ids.flat_map(|id| self.machines_of(&id));
        std::iter::once(&control_plane.version)
            .chain(&control_plane.observed)
            .chain(self.pools.iter().map(|pool| &pool.version))
            .chain(self.machine_pools.iter().map(|pool| &pool.version))
            .chain(machines.map(|machine| &machine.version))
            .collect()
    }
}
