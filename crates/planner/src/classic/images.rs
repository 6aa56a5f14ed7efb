//! What new machines will be made of on the way.

use super::{control_plane::worker_stops, goal::Goal, view::ClassicView};
use crate::{
    pool_id::PoolId,
    pool_image::{NOTHING, PoolImage, Stop},
    snapshot::Snapshot,
    step::Step,
};

/// See [`pool_images`](crate::pool_images).
pub(crate) fn pool_images(snapshot: &Snapshot) -> Option<Vec<PoolImage<'_>>> {
    let view = ClassicView::read(snapshot).ok()?;
    let goal = Goal::find(&view, &mut Vec::new()).ok()?;
    let patches = |pool: &PoolId| snapshot.upgrade_spec.patches.get(pool).unwrap_or(&NOTHING);
    let reached = |step: &Step<'_>| match goal.demand.step() {
        Some(last) if last.name() == step.name() => Stop::Target,
        Some(_) | None => Stop::Between,
    };
    let mut images = Vec::new();
    let control_plane = view.control_plane;
    if let Some(template) = &control_plane.infrastructure {
        for step in &goal.path {
            if let Some(values) = step.control_plane(template, view.labels(&control_plane.labels)) {
                let patches = patches(&PoolId::ControlPlane);
                let object = &control_plane.object;
                images.push(PoolImage::new(object, template, step, reached(step), values, patches));
            }
        }
    }
    for (pool, mut stops) in worker_stops(&view, &goal) {
        // The control plane is there already.
        let is_behind = |step: &Step<'_>| pool.version < *step.version();
        if goal.path.is_empty() {
            stops.extend(goal.demand.step().filter(is_behind));
        }
        let name = &pool.object.name;
        for step in &stops {
            if let Some(values) = step.machine_deployment(name, &pool.infrastructure, view.labels(&pool.labels)) {
                let patches = patches(&PoolId::Workers(name.clone()));
                let image = PoolImage::new(&pool.object, &pool.infrastructure, step, reached(step), values, patches);
                images.push(image);
            }
        }
    }
    Some(images)
}
