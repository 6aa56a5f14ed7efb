//! MachinePools. One is two objects that are changed in place, so both are paused meanwhile: the mark on each, then the
//! values of the infrastructure, then the version with the ledger, then the marks off again.

use instar_api::{LEFT_ANNOTATION, RENDERED_ANNOTATION, VALUES_HISTORY_ANNOTATION, Values};
use instar_capi::{Lifecycle, ManagedBy, labels::PAUSED};
use instar_domain::BuildOrder;
use serde_json::{Value, json};

use super::{
    goal::{Demand, at_present},
    place::{Place, pinned},
    view::{ClassicView, blocking_reason},
};
use crate::{
    cluster_api::deletions,
    decision::{Action, LeftBecause, MachinePoolChange, PatchMachinePool, Waiting},
    observed::Observed,
    pause::{LeftMark, PauseMark, PausedBy},
    pool_id::PoolId,
    rendered::{Rendered, dropped, pointers},
    settled::{machine_pool_settled, unready},
    snapshot::{ConditionStatus, InfrastructurePool, MachinePool, Object, Snapshot},
    step::Step,
    swap::{self, Course, Destination, Origin},
    swap_history::UpgradeId,
    upgrade_spec::PoolOverride,
    values::{apply, difference},
    values_history::ValuesHistory,
};

static NOTHING: Values = Values::new();

/// What has to become of a pool.
enum Aim<'a> {
    /// No upgrade moves it.
    Leave,
    /// Its spec is as it should be.
    Stay(&'a InfrastructurePool),
    /// It is to get a release.
    Change(Change<'a>),
}

/// A pool that is to get a release.
struct Change<'a> {
    step: Step<'a>,
    infrastructure: &'a InfrastructurePool,
    values: [&'a Values; 2],
    /// What the infrastructure's spec is to be, where it isn't that yet.
    spec: Option<Value>,
    /// Whether we have set these values in it.
    is_rendered: bool,
}

/// Where a MachinePool is.
pub(super) fn place<'a>(
    view: &ClassicView<'a>,
    pool: &'a MachinePool,
    demand: Demand<'a>,
    waiting: &mut Vec<Waiting>,
) -> Result<Place<'a>, Waiting> {
    let infrastructure = view.infrastructure_pool(&pool.infrastructure).ok();
    let aim = aim(view, pool, demand, waiting);
    let Some(resume) = resume(pool, infrastructure) else {
        return Ok(match aim? {
            Aim::Leave => Place::There,
            Aim::Stay(infrastructure) => arrival(view, pool, infrastructure, waiting),
            Aim::Change(change) => Place::Due(Course::To(change.step)),
        });
    };
    Ok(match aim {
        Ok(Aim::Change(change)) => under_pause(view, pool, &change, waiting),
        Ok(Aim::Leave | Aim::Stay(_)) => continues(resume),
        Err(reason) => {
            waiting.push(reason);
            continues(resume)
        }
    })
}

/// The first write to a pool whose turn it is.
pub(super) fn begin(view: &ClassicView<'_>, pool: &MachinePool) -> Action {
    Action::PatchMachinePool(pause(view, pool, &pool.object))
}

/// Whether a pool is on its way for this upgrade, so that it has to arrive before the control plane goes on.
pub(super) fn is_under_way(view: &ClassicView<'_>, pool: &MachinePool) -> bool {
    let infrastructure = view.infrastructure_pool(&pool.infrastructure).ok();
    if resume(pool, infrastructure).is_some() {
        return true;
    }
    let is_here = pool.version.minor() == view.control_plane.version.minor();
    if view.swapped(&pool.object).is_none() || !is_here {
        return false;
    }
    match aim(view, pool, at_present(view), &mut Vec::new()) {
        Ok(Aim::Stay(infrastructure)) => !settled(view, pool, infrastructure),
        Ok(Aim::Leave | Aim::Change(_)) | Err(_) => false,
    }
}

/// Why a pool is left to its user; absent where an upgrade moves it, or where `spec.pools` holds it.
pub(super) fn left_because(view: &ClassicView<'_>, name: &str, demand: Demand<'_>) -> Option<LeftBecause> {
    let pool = view.machine_pools.iter().find(|pool| pool.object.name == name)?;
    let demand = match override_of(view, pool) {
        None => demand,
        Some(PoolOverride::Hold) => return None,
        Some(PoolOverride::Pin(release)) => {
            let id = PoolId::MachinePool(name.to_owned());
            pinned(view, id, &pool.version, release).unwrap_or(demand)
        }
    };
    supported(view, pool, demand).err()
}

/// The values that a pool's infrastructure gets at a release.
pub(super) fn image<'a>(view: &ClassicView<'a>, step: &Step<'a>, pool: &'a MachinePool) -> Option<&'a Values> {
    step.machine_pool(&pool.object.name, &pool.infrastructure, view.labels(&pool.labels))
}

/// What `spec.pools` says of a pool. A MachineDeployment of the same name is meant before it.
pub(super) fn override_of<'a>(view: &ClassicView<'a>, pool: &MachinePool) -> Option<&'a PoolOverride> {
    let pools = &view.snapshot.upgrade_spec.pools;
    pools.get(&pool.object.name).filter(|_| is_named(view, pool))
}

/// Takes a mark of ours off a MachinePool of a Cluster for which no upgrade goes on.
pub(super) fn leftover(snapshot: &Snapshot) -> Option<Action> {
    let mut pools: Vec<_> = snapshot.machine_pools.iter().filter_map(Observed::read).collect();
    pools.sort_by(|a, b| a.object.name.cmp(&b.object.name));
    let patch = pools.into_iter().find_map(|pool| {
        let mut all = snapshot.infrastructure_pools.iter().filter_map(Observed::read);
        resume(pool, all.find(|other| other.is(&pool.infrastructure)))
    });
    patch.map(Action::PatchMachinePool)
}

fn aim<'a>(
    view: &ClassicView<'a>,
    pool: &'a MachinePool,
    demand: Demand<'a>,
    waiting: &mut Vec<Waiting>,
) -> Result<Aim<'a>, Waiting> {
    let id = PoolId::MachinePool(pool.object.name.clone());
    match pool.object.managed_by {
        ManagedBy::User => {}
        ManagedBy::Topology => {
            waiting.extend(blocking_reason(&pool.object));
            return Ok(Aim::Leave);
        }
    }
    let demand = match override_of(view, pool) {
        None => demand,
        Some(PoolOverride::Hold) => return Ok(Aim::Leave),
        Some(PoolOverride::Pin(name)) => pinned(view, id.clone(), &pool.version, name)?,
    };
    let Ok((infrastructure, step)) = supported(view, pool, demand) else {
        return Ok(Aim::Leave);
    };
    let objects = [&pool.object, &infrastructure.object];
    if let Some(going) = objects.iter().find(|object| object.lifecycle == Lifecycle::Deleting) {
        if pool.version != *demand.version() {
            waiting.push(Waiting::Deleting {
                kind: going.kind.clone(),
                name: going.name.clone(),
            });
        }
        return Ok(Aim::Leave);
    }
    view.told_change(&id, &pool.object, &pool.version, None, waiting)?;
    if pool.version.compare(demand.version()) == BuildOrder::Greater {
        return Err(Waiting::PoolAhead {
            pool: id,
            version: pool.version.clone(),
        });
    }
    let Some(change) = change(view, pool, infrastructure, demand, step)? else {
        return Ok(Aim::Stay(infrastructure));
    };
    match by_user(pool, infrastructure) {
        None => Ok(Aim::Change(change)),
        Some(reason) => Err(reason),
    }
}

/// What a pool has still to get.
fn change<'a>(
    view: &ClassicView<'a>,
    pool: &'a MachinePool,
    infrastructure: &'a InfrastructurePool,
    demand: Demand<'a>,
    step: Step<'a>,
) -> Result<Option<Change<'a>>, Waiting> {
    let is_there = pool.version == *step.version();
    let is_ours = is_marked(view, &pool.paused_by) && is_marked(view, &infrastructure.paused_by);
    if let (Demand::Version(..), true, false) = (demand, is_there, is_ours) {
        return Ok(None);
    }
    let id = PoolId::MachinePool(pool.object.name.clone());
    let patches = &view.snapshot.upgrade_spec.patches;
    let extra = patches
        .get(&PoolId::Workers(pool.object.name.clone()))
        .filter(|_| is_named(view, pool));
    let values = [image(view, &step, pool).unwrap_or(&NOTHING), extra.unwrap_or(&NOTHING)];
    let present = &infrastructure.spec;
    let spec = apply(present, values).map_err(|error| Waiting::ValueMisfit {
        pool: id.clone(),
        error,
    })?;
    let rendered = Rendered::new(&view.snapshot.cluster.name, &infrastructure.object.kind, &spec, values);
    let before = infrastructure.rendered.as_deref().and_then(Rendered::from_annotation);
    let is_rendered = before.is_some_and(|before| before.values == rendered.values);
    if is_rendered && let Some(pointer) = dropped(&spec, &pointers(values), present) {
        return Err(Waiting::ValueDropped {
            pool: id,
            template: pool.infrastructure.clone(),
            pointer: Box::new(pointer),
        });
    }
    // A webhook may have changed a value since we set it: it would be changed in the same way again.
    let carries = spec == *present || (is_rendered && (is_there || is_ours));
    let is_recorded = view.swapped(&pool.object).is_some_and(|last| {
        last.after.version == *step.version() && last.after.release.as_deref() == Some(step.name())
    });
    let lacks_ledger = is_ours && is_rendered && !is_recorded;
    if carries && is_there && !lacks_ledger {
        return Ok(None);
    }
    Ok(Some(Change {
        step,
        infrastructure,
        values,
        spec: (!carries).then_some(spec),
        is_rendered,
    }))
}

/// The infrastructure and the release of a pool that can be upgraded.
fn supported<'a>(
    view: &ClassicView<'a>,
    pool: &'a MachinePool,
    demand: Demand<'a>,
) -> Result<(&'a InfrastructurePool, Step<'a>), LeftBecause> {
    let infrastructure = pausable(view, pool, &view.snapshot.upgrade_spec.id())?;
    let Some(step) = demand.step() else {
        return Err(LeftBecause::NoRow {
            version: demand.version().clone(),
        });
    };
    if image(view, &step, pool).is_none() {
        return Err(LeftBecause::NoImage {
            release: step.name().to_owned(),
            kind: infrastructure.object.kind.clone(),
        });
    }
    Ok((infrastructure, step))
}

/// The infrastructure of a pool whose two objects say when they are paused, and did so for this upgrade in time.
pub(super) fn pausable<'a>(
    view: &ClassicView<'a>,
    pool: &MachinePool,
    upgrade: &UpgradeId,
) -> Result<&'a InfrastructurePool, LeftBecause> {
    let infrastructure = view.infrastructure_pool(&pool.infrastructure)?;
    let both = [
        (&pool.object, &pool.left),
        (&infrastructure.object, &infrastructure.left),
    ];
    for (object, left) in both {
        if left.as_ref().is_some_and(|left| left.is_of(upgrade)) {
            return Err(LeftBecause::NotPaused {
                object: format!("{} {}", object.kind, object.name),
            });
        }
    }
    if infrastructure.object.paused().is_none() {
        let kind = infrastructure.object.kind.clone();
        return Err(LeftBecause::NoPause { kind });
    }
    Ok(infrastructure)
}

/// The next write to a pool with a mark of ours that has not yet all that it is to get.
fn under_pause<'a>(
    view: &ClassicView<'_>,
    pool: &MachinePool,
    change: &Change<'_>,
    waiting: &mut Vec<Waiting>,
) -> Place<'a> {
    if let Some(place) = until_both_paused(view, pool, change.infrastructure, change.is_rendered, waiting) {
        return place;
    }
    if let Some(spec) = &change.spec {
        return continues(set_values(view, pool, change, spec));
    }
    set_version(view, pool, Course::To(change.step))
}

/// Where a pool is until both of its objects have our mark and say that they are paused. Their controllers may not have
/// seen the values yet that were set while they were: then that they were paused is enough.
pub(super) fn until_both_paused<'a>(
    view: &ClassicView<'_>,
    pool: &MachinePool,
    infrastructure: &InfrastructurePool,
    are_values_set: bool,
    waiting: &mut Vec<Waiting>,
) -> Option<Place<'a>> {
    let objects = [
        (&pool.object, &pool.paused_by),
        (&infrastructure.object, &infrastructure.paused_by),
    ];
    // A mark of another upgrade is taken over.
    if let Some((object, _)) = objects.iter().find(|(_, paused_by)| !is_marked(view, paused_by)) {
        return Some(continues(pause(view, pool, object)));
    }
    let is_paused = |object: &Object| {
        let status = object.paused().map(|paused| paused.status);
        object.says_paused() || (are_values_set && status == Some(ConditionStatus::True))
    };
    let (object, _) = objects.iter().find(|(object, _)| !is_paused(object))?;
    let since = objects.iter().filter_map(|(_, paused_by)| paused_by.mark());
    let is_late = since.map(|mark| mark.paused).max().is_some_and(|paused| {
        let mark = PauseMark::new(&view.snapshot.upgrade_spec.id(), paused);
        mark.is_late(view.snapshot.now)
    });
    if is_late && !are_values_set {
        return Some(continues(give_up(view, pool, object)));
    }
    waiting.push(Waiting::PauseAwaited {
        pool: pool.object.name.clone(),
        kind: object.kind.clone(),
        name: object.name.clone(),
    });
    Some(Place::Moving)
}

/// The version, once the infrastructure has its values.
pub(super) fn set_version<'a>(view: &ClassicView<'_>, pool: &MachinePool, to: Course<'_>) -> Place<'a> {
    let destination = Destination {
        upgrade: view.snapshot.upgrade_spec.id(),
        now: view.snapshot.now,
        to,
        template: None,
        bootstrap: None,
        origin: Origin {
            release: view.release_of(&pool.object, &pool.version, None),
            has_converged: false,
        },
    };
    Place::Continues(Box::new(Action::SwapWorkers(swap::machine_pool(pool, destination))))
}

/// A pool whose spec is as it should be: are its machines?
pub(super) fn arrival<'a>(
    view: &ClassicView<'a>,
    pool: &MachinePool,
    infrastructure: &InfrastructurePool,
    waiting: &mut Vec<Waiting>,
) -> Place<'a> {
    if settled(view, pool, infrastructure) {
        return Place::Arrived;
    }
    let by_user = by_user(pool, infrastructure);
    let is_held = by_user.is_some();
    waiting.extend(by_user);
    waiting.extend(rolling_out(view, pool));
    if is_held { Place::Stuck } else { Place::Moving }
}

/// What is said of a pool that hasn't got to what its spec says.
pub(super) fn rolling_out(view: &ClassicView<'_>, pool: &MachinePool) -> Vec<Waiting> {
    let machines = view.machines_of_machine_pool(&pool.object.name);
    let new = machines.iter().copied();
    let new = new.filter(|machine| machine.version == pool.version);
    let rolling = Waiting::MachinePoolRollingOut {
        name: pool.object.name.clone(),
        version: pool.version.clone(),
    };
    let new: Vec<Waiting> = unready(new, &pool.version).collect();
    std::iter::once(rolling).chain(new).chain(deletions(machines)).collect()
}

/// Whether not all machines of a pool are what its spec says.
pub(super) fn rolls(view: &ClassicView<'_>, pool: &MachinePool) -> bool {
    let infrastructure = view.infrastructure_pool(&pool.infrastructure);
    infrastructure.is_ok_and(|infrastructure| !settled(view, pool, infrastructure))
}

fn settled(view: &ClassicView<'_>, pool: &MachinePool, infrastructure: &InfrastructurePool) -> bool {
    let machines = view.machines_of_machine_pool(&pool.object.name);
    machine_pool_settled(pool, infrastructure, &machines)
}

/// That a user has paused one of the two objects.
pub(super) fn by_user(pool: &MachinePool, infrastructure: &InfrastructurePool) -> Option<Waiting> {
    let objects = [
        (&pool.object, &pool.paused_by),
        (&infrastructure.object, &infrastructure.paused_by),
    ];
    let paused = objects.into_iter().find(|(_, paused_by)| match paused_by {
        PausedBy::User => true,
        PausedBy::NoOne | PausedBy::Upgrade(_) => false,
    });
    paused.map(|(object, _)| Waiting::Paused {
        kind: object.kind.clone(),
        name: object.name.clone(),
    })
}

fn is_named(view: &ClassicView<'_>, pool: &MachinePool) -> bool {
    let mut deployments = view.pools.iter();
    !deployments.any(|deployment| deployment.object.name == pool.object.name)
}

fn is_marked(view: &ClassicView<'_>, paused_by: &PausedBy) -> bool {
    paused_by.mark_of(&view.snapshot.upgrade_spec.id()).is_some()
}

pub(super) fn continues<'a>(patch: PatchMachinePool) -> Place<'a> {
    Place::Continues(Box::new(Action::PatchMachinePool(patch)))
}

pub(super) fn pause(view: &ClassicView<'_>, pool: &MachinePool, object: &Object) -> PatchMachinePool {
    let mark = PauseMark::new(&view.snapshot.upgrade_spec.id(), view.snapshot.now);
    let annotations = json!({ PAUSED: mark.to_annotation() });
    patch(pool, object, MachinePoolChange::Pause, &annotations, None)
}

/// Takes our mark off, of the infrastructure first: until the MachinePool's is off too, Cluster API leaves both alone. With
/// it goes what reads back of the values: what differs from that later, another client has changed.
pub(super) fn resume(pool: &MachinePool, infrastructure: Option<&InfrastructurePool>) -> Option<PatchMachinePool> {
    let marked = infrastructure.filter(|other| other.paused_by.mark().is_some());
    let object = match marked {
        Some(infrastructure) => &infrastructure.object,
        None => pool.paused_by.mark().map(|_| &pool.object)?,
    };
    let mut annotations = json!({ PAUSED: null });
    let history = marked.and_then(|infrastructure| {
        let history = infrastructure.values_history.as_ref()?;
        history.with_standing(&infrastructure.spec)
    });
    if let (Some(history), Some(members)) = (history, annotations.as_object_mut()) {
        members.insert(VALUES_HISTORY_ANNOTATION.to_owned(), history.to_annotation().into());
    }
    Some(patch(pool, object, MachinePoolChange::Resume, &annotations, None))
}

fn give_up(view: &ClassicView<'_>, pool: &MachinePool, object: &Object) -> PatchMachinePool {
    let left = LeftMark::new(&view.snapshot.upgrade_spec.id());
    let annotations = json!({ LEFT_ANNOTATION: left.to_annotation() });
    patch(pool, object, MachinePoolChange::GiveUp, &annotations, None)
}

fn set_values(view: &ClassicView<'_>, pool: &MachinePool, change: &Change<'_>, spec: &Value) -> PatchMachinePool {
    let (infrastructure, values) = (change.infrastructure, change.values);
    let kind = &infrastructure.object.kind;
    let rendered = Rendered::new(&view.snapshot.cluster.name, kind, spec, values);
    let what = MachinePoolChange::SetValues {
        release: change.step.name().to_owned(),
        pointers: pointers(values),
    };
    let history = ValuesHistory::with(
        infrastructure.values_history.as_ref(),
        &view.snapshot.upgrade_spec.id(),
        &pool.version,
        &infrastructure.spec,
        &pointers(values),
    );
    let annotations = json!({
        RENDERED_ANNOTATION: rendered.to_annotation(),
        VALUES_HISTORY_ANNOTATION: history.to_annotation(),
    });
    let spec = difference(&infrastructure.spec, spec);
    patch(pool, &infrastructure.object, what, &annotations, spec)
}

pub(super) fn patch(
    pool: &MachinePool,
    object: &Object,
    change: MachinePoolChange,
    annotations: &Value,
    spec: Option<Value>,
) -> PatchMachinePool {
    let mut patch = json!({ "metadata": {
        "resourceVersion": object.resource_version,
        "annotations": annotations,
    }});
    if let (Some(spec), Some(members)) = (spec, patch.as_object_mut()) {
        members.insert("spec".to_owned(), spec);
    }
    PatchMachinePool {
        pool: PoolId::MachinePool(pool.object.name.clone()),
        change,
        api_version: object.api_version.clone(),
        kind: object.kind.clone(),
        name: object.name.clone(),
        resource_version: object.resource_version.clone(),
        patch,
    }
}
