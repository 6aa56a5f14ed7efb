//! Where objects stand on the way back, as their swap histories have it.

use instar_capi::ManagedBy;
use instar_domain::{KubeVersion, skew};

use super::view::ClassicView;
use crate::{
    operation::Rollback,
    snapshot::{ControlPlane, MachineDeployment, MachinePool, Object},
    swap_history::{PoolState, Present, SwapHistory, UpgradeId},
};

/// Where an object stands on the way back.
pub(super) enum Route<'a> {
    /// The upgrade hasn't changed it.
    Untouched,
    /// To this.
    BackTo(&'a PoolState),
    /// It is as it was before.
    There,
    /// Another client has changed it since.
    Changed,
}

/// The next step of the control plane.
pub(super) fn control_plane_route<'a>(
    view: &ClassicView<'_>,
    control_plane: &'a ControlPlane,
    rollback: &Rollback,
) -> Route<'a> {
    let template = control_plane.infrastructure.as_ref();
    let present = Present {
        version: &control_plane.version,
        template: template.map(|template| &template.name),
    };
    let by = taker(view, rollback);
    route(view, &control_plane.object, rollback, present, |history| {
        history.before(&rollback.of, &by, present)
    })
}

/// The states that the control plane goes through, the next one first.
pub(super) fn control_plane_steps<'a>(view: &ClassicView<'a>, rollback: &Rollback) -> Vec<&'a PoolState> {
    let control_plane = view.control_plane;
    let (mut steps, by) = (Vec::new(), taker(view, rollback));
    let mut next = match control_plane_route(view, control_plane, rollback) {
        Route::BackTo(before) => Some(before),
        Route::Untouched | Route::There | Route::Changed => None,
    };
    while let Some(before) = next.filter(|before| !steps.contains(before)) {
        steps.push(before);
        let there = Present {
            version: &before.version,
            template: before.template.as_ref(),
        };
        let history = control_plane.object.swap_history.as_ref();
        next = history.and_then(|history| history.before(&rollback.of, &by, there));
    }
    steps
}

/// How far a pool goes.
#[derive(Clone, Copy)]
pub(super) enum Reach {
    /// As far as the control plane lets it now.
    Now,
    /// To where it is at the end.
    AtTheEnd,
}

impl Reach {
    fn includes(self, view: &ClassicView<'_>, version: &KubeVersion) -> bool {
        match self {
            Self::Now => skew::kubelet(version, &view.control_plane.version).is_ok(),
            Self::AtTheEnd => true,
        }
    }
}

/// Where a pool goes at once: a kubelet may skip minors, and be three of them older than the control plane.
pub(super) fn pool_route<'a>(
    view: &ClassicView<'_>,
    pool: &'a MachineDeployment,
    rollback: &Rollback,
    reach: Reach,
) -> Route<'a> {
    let present = Present {
        version: &pool.version,
        template: Some(&pool.infrastructure.name),
    };
    match pool.object.managed_by {
        ManagedBy::Topology => Route::Untouched,
        ManagedBy::User => {
            let by = taker(view, rollback);
            let may = |version: &KubeVersion| reach.includes(view, version);
            route(view, &pool.object, rollback, present, |history| {
                history.furthest_before(&rollback.of, &by, present, may)
            })
        }
    }
}

/// Where a MachinePool goes, whose infrastructure has no template.
pub(super) fn machine_pool_route<'a>(
    view: &ClassicView<'_>,
    pool: &'a MachinePool,
    rollback: &Rollback,
    reach: Reach,
) -> Route<'a> {
    let present = Present {
        version: &pool.version,
        template: None,
    };
    match pool.object.managed_by {
        ManagedBy::Topology => Route::Untouched,
        ManagedBy::User => {
            let by = taker(view, rollback);
            route(view, &pool.object, rollback, present, |history| {
                history.furthest_before(&rollback.of, &by, present, |version| reach.includes(view, version))
            })
        }
    }
}

fn route<'a>(
    view: &ClassicView<'_>,
    object: &'a Object,
    rollback: &Rollback,
    present: Present<'_>,
    before: impl Fn(&'a SwapHistory) -> Option<&'a PoolState>,
) -> Route<'a> {
    let (of, by) = (&rollback.of, taker(view, rollback));
    let Some(history) = object.swap_history.as_ref().filter(|history| history.knows(of)) else {
        return Route::Untouched;
    };
    let is_there =
        || history.last_of(&by).is_some() || history.led_here(of, present) || history.is_as_before(of, present);
    match before(history) {
        Some(before) => Route::BackTo(before),
        None if is_there() => Route::There,
        None => Route::Changed,
    }
}

/// Who takes it back. Where an upgrade only asks what a rollback of it would do, that is nobody yet.
pub(super) fn taker(view: &ClassicView<'_>, rollback: &Rollback) -> UpgradeId {
    let by = view.snapshot.upgrade_spec.id();
    if by == rollback.of {
        UpgradeId {
            name: String::new(),
            started: None,
        }
    } else {
        by
    }
}
