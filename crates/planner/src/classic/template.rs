//! What a pool's templates must hold, and where such a template comes from.

use instar_api::Values;
use instar_capi::Lifecycle;
use instar_catalog::Role;

use super::view::ClassicView;
use crate::{
    decision::{Action, MintTemplate, Waiting},
    mint::{MintOrder, mint},
    pool_id::PoolId,
    snapshot::{MachineDeployment, TemplateRef},
    step::Step,
    values::{apply, includes},
};

static NOTHING: Values = Values::new();

/// What one template of a pool must hold.
pub(super) struct Wanted<'a> {
    pub(super) reference: TemplateRef,
    role: Role,
    values: &'a Values,
    extra: &'a Values,
}

/// Where a pool's template is to come from.
pub(super) enum Source {
    /// It is there.
    Ready(TemplateRef),
    /// This write makes it.
    Mint(Box<Action>),
}

impl<'a> Wanted<'a> {
    pub(super) fn control_plane(
        view: &ClassicView<'a>,
        step: &Step<'a>,
        reference: &'a TemplateRef,
    ) -> Result<Self, Waiting> {
        let pool = PoolId::ControlPlane;
        let image = step.control_plane(reference, &view.control_plane.labels);
        Ok(Self {
            reference: reference.clone(),
            role: Role::ControlPlane,
            values: image.ok_or_else(|| no_image(&pool, step))?,
            extra: view.snapshot.upgrade_spec.patches.get(&pool).unwrap_or(&NOTHING),
        })
    }

    pub(super) fn machines(
        view: &ClassicView<'a>,
        step: &Step<'a>,
        workers: &'a MachineDeployment,
    ) -> Result<Self, Waiting> {
        let pool = PoolId::Workers(workers.object.name.clone());
        let (name, reference) = (&workers.object.name, &workers.infrastructure);
        let image = step.machine_deployment(name, reference, &workers.labels);
        Ok(Self {
            reference: reference.clone(),
            role: Role::Worker,
            values: image.ok_or_else(|| no_image(&pool, step))?,
            extra: view.snapshot.upgrade_spec.patches.get(&pool).unwrap_or(&NOTHING),
        })
    }

    /// The pool's bootstrap template, where the release or the user sets something in it.
    pub(super) fn bootstrap(
        view: &ClassicView<'a>,
        step: &Step<'a>,
        workers: &'a MachineDeployment,
    ) -> Result<Option<Self>, Waiting> {
        let extra = view.snapshot.upgrade_spec.bootstrap_patches.get(&workers.object.name);
        let Some(reference) = &workers.bootstrap else {
            return match extra {
                None => Ok(None),
                Some(_) => Err(Waiting::NoBootstrapTemplate {
                    pool: PoolId::Workers(workers.object.name.clone()),
                }),
            };
        };
        let values = step.bootstrap(reference, &workers.labels);
        if values.is_none() && extra.is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            reference: reference.clone(),
            role: Role::Worker,
            values: values.unwrap_or(&NOTHING),
            extra: extra.unwrap_or(&NOTHING),
        }))
    }
}

/// Whether the template that the pool has holds what it must.
pub(super) fn carries(view: &ClassicView<'_>, pool: &PoolId, wanted: &Wanted<'_>) -> Result<bool, Waiting> {
    let template = view.content(view.template(pool, &wanted.reference)?)?;
    let spec = apply(&template.spec, [wanted.values, wanted.extra]).map_err(|error| Waiting::ValueMisfit {
        pool: pool.clone(),
        error,
    })?;
    Ok(spec == template.spec)
}

/// The template that holds what it must: the present one, one that is there, or one to be minted.
pub(super) fn source(
    view: &ClassicView<'_>,
    pool: &PoolId,
    step: &Step<'_>,
    wanted: &Wanted<'_>,
) -> Result<Source, Waiting> {
    let source = view.template(pool, &wanted.reference)?;
    if carries(view, pool, wanted)? {
        return Ok(Source::Ready(wanted.reference.clone()));
    }
    let order = MintOrder {
        source,
        content: view.content(source)?,
        release: step.name(),
        version: step.version(),
        values: wanted.values,
        extra: wanted.extra,
        cluster: &view.snapshot.cluster,
        role: wanted.role,
    };
    let minted = mint(&order).map_err(|error| Waiting::ValueMisfit {
        pool: pool.clone(),
        error,
    })?;
    match view.template(pool, &minted.template) {
        Err(Waiting::TemplateNotVisible { .. }) => Ok(Source::Mint(Box::new(Action::MintTemplate(MintTemplate {
            pool: pool.clone(),
            template: minted.template,
            object: minted.object,
        })))),
        Err(reason) => Err(reason),
        Ok(there) => {
            let present = &view.content(there)?.spec;
            let same = minted.object.get("spec").is_some_and(|spec| includes(present, spec));
            if same && there.lifecycle != Lifecycle::Deleting {
                Ok(Source::Ready(minted.template))
            } else {
                Err(Waiting::NameTaken {
                    pool: pool.clone(),
                    template: minted.template,
                })
            }
        }
    }
}

fn no_image(pool: &PoolId, step: &Step<'_>) -> Waiting {
    Waiting::NoImage {
        pool: pool.clone(),
        release: step.name().to_owned(),
    }
}
