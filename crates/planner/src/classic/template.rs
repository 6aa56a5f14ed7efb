//! What a pool's templates must hold, and where such a template comes from.

use instar_api::Values;
use instar_catalog::Role;
use serde_json::Value;

use super::view::ClassicView;
use crate::{
    decision::{Action, MintTemplate, Swap, Waiting},
    existing::accept,
    mint::{MintOrder, mint, without_identity},
    pool_id::PoolId,
    rendered::{Rendered, dropped, pointers},
    snapshot::{MachineDeployment, Template, TemplateContent, TemplateRef},
    step::Step,
    values::{apply, holds},
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
    Mint(Box<MintTemplate>),
}

impl Source {
    pub(super) fn reference(&self) -> TemplateRef {
        match self {
            Self::Ready(template) => template.clone(),
            Self::Mint(mint) => mint.template.clone(),
        }
    }

    /// The write that makes it for a swap, if it isn't there.
    pub(super) fn mint_for(self, swap: Option<&Swap>) -> Option<Action> {
        match self {
            Self::Ready(_) => None,
            Self::Mint(mint) => Some(Action::MintTemplate(MintTemplate {
                before: swap.map(|swap| Box::new(swap.clone())),
                ..*mint
            })),
        }
    }
}

impl<'a> Wanted<'a> {
    pub(super) fn control_plane(
        view: &ClassicView<'a>,
        step: &Step<'a>,
        reference: &'a TemplateRef,
    ) -> Result<Self, Waiting> {
        let pool = PoolId::ControlPlane;
        let image = step.control_plane(reference, view.labels(&view.control_plane.labels));
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
        let image = step.machine_deployment(name, reference, view.labels(&workers.labels));
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
        let values = step.bootstrap(reference, view.labels(&workers.labels));
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
    let template = view.template(pool, &wanted.reference)?;
    let content = view.content(template)?;
    if holds(&content.spec, [wanted.values, wanted.extra]) {
        return Ok(true);
    }
    let spec = apply(&content.spec, [wanted.values, wanted.extra]).map_err(|error| Waiting::ValueMisfit {
        pool: pool.clone(),
        error,
    })?;
    Ok(spec == content.spec || was_rendered_so(view, template, content, wanted, spec))
}

/// Whether we minted a template with these very values, or would mint it again under its name. A webhook may have
/// changed a value in it since: another template would be changed in the same way, and all machines replaced for it.
fn was_rendered_so(
    view: &ClassicView<'_>,
    template: &Template,
    content: &TemplateContent,
    wanted: &Wanted<'_>,
    spec: Value,
) -> bool {
    if view.minted_for(template).is_none() {
        return false;
    }
    let values = [wanted.values, wanted.extra];
    let spec = without_identity(spec);
    let again = Rendered::new(&view.snapshot.cluster.name, &template.kind, &spec, values);
    let before = Rendered::from_annotations(&content.annotations).filter(|before| before.is_of(&template.name));
    let is_same = again.is_of(&template.name) || before.is_some_and(|before| before.values == again.values);
    is_same && dropped(&spec, &pointers(values), &content.spec).is_none()
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
    let mint = MintTemplate {
        pool: pool.clone(),
        template: minted.template,
        object: minted.object,
        pointers: minted.pointers,
        before: None,
    };
    match view.template(pool, &mint.template) {
        Err(Waiting::TemplateNotVisible { .. }) => Ok(Source::Mint(Box::new(mint))),
        Err(reason) => Err(reason),
        Ok(there) => {
            accept(&mint, view.content(there)?, there.lifecycle)?;
            Ok(Source::Ready(mint.template))
        }
    }
}

fn no_image(pool: &PoolId, step: &Step<'_>) -> Waiting {
    Waiting::NoImage {
        pool: pool.clone(),
        release: step.name().to_owned(),
    }
}
