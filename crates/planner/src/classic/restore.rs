//! The templates that a pool had before. What Instar minted and somebody deleted is minted again from the pins, under the
//! same name, or not at all.

use super::{
    pinned,
    template::{Source, Wanted, source},
    view::ClassicView,
};
use crate::{
    decision::Waiting,
    pool_id::PoolId,
    snapshot::{MachineDeployment, TemplateRef},
    step::Step,
    swap_history::PoolState,
    way_back::{NoWayBack, TemplateGone},
};
use instar_capi::Lifecycle;

/// The machine template that the control plane had; absent where it has none.
pub(super) fn control_plane(view: &ClassicView<'_>, before: &PoolState) -> Result<Option<Source>, Waiting> {
    let (Some(present), Some(name)) = (&view.control_plane.infrastructure, &before.template) else {
        return Ok(None);
    };
    let wanted = |step: &Step<'_>| {
        let wanted = Wanted::control_plane(view, step, present)?;
        source(view, &PoolId::ControlPlane, step, &wanted)
    };
    restore(view, PoolId::ControlPlane, present, name, before, wanted).map(Some)
}

/// The machine template that a pool had.
pub(super) fn machines(
    view: &ClassicView<'_>,
    pool: &MachineDeployment,
    before: &PoolState,
) -> Result<Source, Waiting> {
    let id = PoolId::Workers(pool.object.name.clone());
    let present = &pool.infrastructure;
    let wanted = |step: &Step<'_>| {
        let wanted = Wanted::machines(view, step, pool)?;
        source(view, &PoolId::Workers(pool.object.name.clone()), step, &wanted)
    };
    let name = before.template.as_ref().unwrap_or(&present.name);
    restore(view, id, present, name, before, wanted)
}

/// The bootstrap template that a pool had; absent where it has none. One that is gone isn't made again: what a release
/// sets in it isn't pinned.
pub(super) fn bootstrap(
    view: &ClassicView<'_>,
    pool: &MachineDeployment,
    before: &PoolState,
) -> Result<Option<TemplateRef>, Waiting> {
    let (Some(present), Some(name)) = (&pool.bootstrap, &before.bootstrap) else {
        return Ok(None);
    };
    if present.name == *name {
        return Ok(Some(present.clone()));
    }
    let id = PoolId::Workers(pool.object.name.clone());
    let source = restore(view, id.clone(), present, name, before, |_| {
        Err(gone(id.clone(), &named(present, name), TemplateGone::NotMinted))
    })?;
    Ok(Some(source.reference()))
}

fn restore<'a>(
    view: &ClassicView<'a>,
    pool: PoolId,
    present: &TemplateRef,
    name: &str,
    before: &'a PoolState,
    mint: impl Fn(&Step<'a>) -> Result<Source, Waiting>,
) -> Result<Source, Waiting> {
    let template = named(present, name);
    match view.template(&pool, &template) {
        Ok(there) => match there.lifecycle {
            Lifecycle::Active | Lifecycle::Paused => return Ok(Source::Ready(template)),
            Lifecycle::Deleting => return Err(Waiting::TemplateDeleting { pool, template }),
        },
        Err(Waiting::TemplateNotVisible { .. }) => {}
        Err(reason) => return Err(reason),
    }
    let Some(step) = step(view, before) else {
        return Err(gone(pool, &template, TemplateGone::NotMinted));
    };
    match mint(&step)? {
        Source::Mint(again) if again.template == template => Ok(Source::Mint(again)),
        Source::Mint(_) | Source::Ready(_) => Err(gone(pool, &template, TemplateGone::Differs)),
    }
}

/// The release that was there before, with its values, where Instar set it.
fn step<'a>(view: &ClassicView<'a>, before: &'a PoolState) -> Option<Step<'a>> {
    let release = before.release.as_deref()?;
    let pinned = pinned::at(view, &before.version).filter(|step| step.name() == release);
    pinned.or_else(|| view.snapshot.catalog.named_anywhere(release).map(Step::from))
}

fn named(present: &TemplateRef, name: &str) -> TemplateRef {
    TemplateRef {
        name: name.to_owned(),
        ..present.clone()
    }
}

fn gone(pool: PoolId, template: &TemplateRef, because: TemplateGone) -> Waiting {
    NoWayBack::TemplateGone {
        pool,
        template: template.clone(),
        because,
    }
    .into()
}
