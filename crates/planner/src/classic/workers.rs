//! The workers' turn: at the end, or where the control plane can't go on without them.

use instar_capi::ManagedBy;
use instar_domain::{BuildOrder, KubeVersion};

use super::{
    Next,
    arrival::{arrival, has_arrived},
    goal::Demand,
    machine_pools,
    place::{Place, pinned},
    restart_pool::{Restart, swap_workers as restart_workers},
    returning, returning_in_place,
    template::{self, Source, Wanted},
    view::{ClassicView, ExternalChange, blocking_reason},
};
use crate::{
    addons_back::BackUntil,
    canary::Leaving,
    decision::{Action, Field, Waiting},
    gates,
    name::label_value,
    operation::Rollback,
    pool_id::PoolId,
    snapshot::{MachineDeployment, MachinePool, Object, TemplateRef},
    step::Step,
    swap::{self, Course, Destination, Origin},
    upgrade_spec::PoolOverride,
};

/// Whose turn it is, and where they go.
pub(super) struct WorkerRollout<'a> {
    pub(super) pools: Vec<&'a MachineDeployment>,
    pub(super) machine_pools: Vec<&'a MachinePool>,
    pub(super) heading: Heading<'a>,
}

/// Where pools go.
#[derive(Clone, Copy)]
pub(super) enum Heading<'a> {
    Forward(Demand<'a>),
    /// To what they were before an upgrade.
    Back(&'a Rollback),
    /// To new machines of what they are.
    Restart(&'a Restart),
}

/// A pool of workers of either kind.
#[derive(Clone, Copy)]
enum Workers<'a> {
    Deployment(&'a MachineDeployment),
    MachinePool(&'a MachinePool),
}

impl Workers<'_> {
    fn id(&self) -> PoolId {
        match self {
            Self::Deployment(pool) => PoolId::Workers(pool.object.name.clone()),
            Self::MachinePool(pool) => PoolId::MachinePool(pool.object.name.clone()),
        }
    }

    fn version(&self) -> &KubeVersion {
        match self {
            Self::Deployment(pool) => &pool.version,
            Self::MachinePool(pool) => &pool.version,
        }
    }

    fn object(&self) -> &Object {
        match self {
            Self::Deployment(pool) => &pool.object,
            Self::MachinePool(pool) => &pool.object,
        }
    }
}

/// The next pool, where the strategy has room for one more on its way.
pub(super) fn next<'a>(view: &ClassicView<'a>, rollout: &WorkerRollout<'a>, waiting: &mut Vec<Waiting>) -> Next {
    let (mut moving, mut stuck, mut due) = (0_usize, 0_usize, Vec::new());
    let (mut arrived, mut further) = (Vec::new(), None);
    // What can't go is still to go, as far as those know that wait for it.
    let mut still: Vec<PoolId> = Vec::new();
    for pool in in_order(view, rollout) {
        let place = match pool {
            Workers::Deployment(pool) => place(view, pool, rollout.heading, waiting),
            Workers::MachinePool(pool) => match rollout.heading {
                Heading::Forward(demand) => machine_pools::place(view, pool, demand, waiting),
                Heading::Back(rollback) => returning_in_place::place(view, pool, rollback, waiting),
                // Nothing of Cluster API's replaces its machines.
                Heading::Restart(_) => Ok(Place::There),
            },
        };
        match place {
            Ok(Place::There) => {}
            Ok(Place::Arrived) => arrived.push(pool),
            Ok(Place::Moving) => moving += 1,
            Ok(Place::Continues(action)) => {
                moving += 1;
                further.get_or_insert(action);
            }
            Ok(Place::Stuck) => stuck += 1,
            Ok(Place::Due(course)) => {
                still.push(pool.id());
                due.push((pool, course));
            }
            Err(reason) => {
                still.push(pool.id());
                waiting.push(reason);
                stuck += 1;
            }
        }
    }
    // What has begun is brought to its end, whatever gates say: it is paused meanwhile.
    if let Some(action) = further {
        return Next::Write(action);
    }
    // What is under way turns around at once: to end it first would replace machines that are still old.
    if let Some(action) = due.iter().find_map(|(pool, course)| turn_around(view, *pool, *course)) {
        return Next::Write(Box::new(action));
    }
    let is_done = due.is_empty() && moving + stuck == 0;
    let has_room = moving < view.snapshot.upgrade_spec.strategy.limit();
    let mut held = if due.is_empty() {
        Vec::new()
    } else {
        match rollout.heading {
            Heading::Forward(demand) => {
                let release = demand.step().map(|step| step.name());
                gates::before_workers(view.snapshot, demand.version(), release)
            }
            Heading::Restart(restart) => {
                let release = restart.release.as_deref();
                gates::before_workers(view.snapshot, &view.control_plane.version, release)
            }
            Heading::Back(_) => gates::before_way_back(view.snapshot, &BackUntil::Workers),
        }
    };
    let is_open = has_room && held.is_empty();
    if !has_room {
        // These are looked at all the time, so that what is ready needn't be found to be so for each pool.
        held.retain(gates::is_of_addon);
    }
    waiting.extend(held);
    if is_open {
        for (pool, course) in due {
            let id = pool.id();
            let leaving = Leaving {
                pool: &id,
                from: pool.version(),
                to: course.version(),
                due: &still,
            };
            let held = match rollout.heading {
                Heading::Forward(_) | Heading::Restart(_) => gates::before_pool(view.snapshot, &leaving),
                Heading::Back(_) => None,
            };
            if let Some(held) = held {
                if !waiting.contains(&held) {
                    waiting.push(held);
                }
                continue;
            }
            match begin(view, pool, course) {
                Ok(action) => return Next::Write(Box::new(action)),
                Err(reason) => waiting.push(reason),
            }
        }
    }
    let recorded = arrived.into_iter().find_map(|pool| match pool {
        Workers::Deployment(pool) => {
            let id = PoolId::Workers(pool.object.name.clone());
            super::convergence(view, id, &pool.object, &pool.version, Some(&pool.infrastructure))
        }
        Workers::MachinePool(pool) => {
            let id = PoolId::MachinePool(pool.object.name.clone());
            super::convergence(view, id, &pool.object, &pool.version, None)
        }
    });
    match recorded {
        Some(action) => Next::Write(Box::new(action)),
        None if is_done => Next::Done,
        None => Next::Wait,
    }
}

/// The write by which a pool goes.
fn begin(view: &ClassicView<'_>, pool: Workers<'_>, course: Course<'_>) -> Result<Action, Waiting> {
    match (pool, course) {
        (Workers::Deployment(pool), Course::To(step)) => swap(view, pool, &step),
        (Workers::Deployment(pool), Course::BackTo(before) | Course::TurnBackTo(before)) => {
            returning::swap(view, pool, before)
        }
        (Workers::Deployment(pool), Course::Restart(_, after)) => Ok(restart_workers(view, pool, after)),
        (Workers::MachinePool(pool), _) => Ok(machine_pools::begin(view, pool)),
    }
}

/// The first write to a pool whose rollout is to go back before it has ended.
fn turn_around(view: &ClassicView<'_>, pool: Workers<'_>, course: Course<'_>) -> Option<Action> {
    match (pool, course) {
        (Workers::Deployment(pool), Course::BackTo(before)) if !view.rolled_out(pool) => {
            returning::swap(view, pool, before).ok()
        }
        // It is changed in place: what its provider has not replaced yet stays, once both objects go on.
        (Workers::MachinePool(pool), Course::BackTo(_)) if machine_pools::rolls(view, pool) => {
            Some(machine_pools::begin(view, pool))
        }
        (
            Workers::Deployment(_) | Workers::MachinePool(_),
            Course::To(_) | Course::BackTo(_) | Course::TurnBackTo(_) | Course::Restart(..),
        ) => None,
    }
}

/// Whether a pool's spec is all that it will be at the end.
pub(super) fn is_settled(view: &ClassicView<'_>, pool: &MachineDeployment, heading: Heading<'_>) -> bool {
    match place(view, pool, heading, &mut Vec::new()) {
        Ok(Place::There | Place::Arrived | Place::Moving | Place::Continues(_) | Place::Stuck) => true,
        Ok(Place::Due(_)) | Err(_) => false,
    }
}

fn in_order<'a>(view: &ClassicView<'a>, rollout: &WorkerRollout<'a>) -> Vec<Workers<'a>> {
    let order = &view.snapshot.upgrade_spec.order;
    let place = |pool: &Workers<'_>| {
        let named = order.iter().position(|name| *name == pool.object().name);
        named.unwrap_or(usize::MAX)
    };
    // They come by name, MachineDeployments first, and the sort is stable.
    let machine_pools = rollout.machine_pools.iter().copied().map(Workers::MachinePool);
    let pools = rollout.pools.iter().copied().map(Workers::Deployment);
    let mut pools: Vec<_> = pools.chain(machine_pools).collect();
    pools.sort_by_key(place);
    pools
}

fn place<'a>(
    view: &ClassicView<'a>,
    pool: &'a MachineDeployment,
    heading: Heading<'a>,
    waiting: &mut Vec<Waiting>,
) -> Result<Place<'a>, Waiting> {
    match heading {
        Heading::Forward(demand) => place_forward(view, pool, demand, waiting),
        Heading::Back(rollback) => returning::place(view, pool, rollback, waiting),
        Heading::Restart(restart) => restart.place(view, pool, waiting),
    }
}

fn place_forward<'a>(
    view: &ClassicView<'a>,
    pool: &'a MachineDeployment,
    demand: Demand<'a>,
    waiting: &mut Vec<Waiting>,
) -> Result<Place<'a>, Waiting> {
    let id = PoolId::Workers(pool.object.name.clone());
    match pool.object.managed_by {
        ManagedBy::User => {}
        ManagedBy::Topology => {
            waiting.extend(blocking_reason(&pool.object));
            return Ok(Place::There);
        }
    }
    let demand = match view.snapshot.upgrade_spec.pools.get(&pool.object.name) {
        None => demand,
        Some(PoolOverride::Hold) => return Ok(Place::There),
        Some(PoolOverride::Pin(name)) => pinned(view, id.clone(), &pool.version, name)?,
    };
    let template = Some(&pool.infrastructure);
    let external_change = view.told_change(&id, &pool.object, &pool.version, template, waiting)?;
    if let Some(release) = due(view, pool, demand, external_change)? {
        return match blocking_reason(&pool.object) {
            None => Ok(Place::Due(Course::To(release))),
            // It goes away, and the upgrade doesn't wait for it.
            Some(reason @ Waiting::Deleting { .. }) => {
                waiting.push(reason);
                Ok(Place::There)
            }
            Some(reason) => Err(reason),
        };
    }
    Ok(arrival(view, pool, &id, waiting))
}

/// Whether a pool has to go to its pin while the control plane stands where it does: later, Cluster
/// API would make no machine of that minor.
pub(super) fn is_pinned_here(view: &ClassicView<'_>, rule: Option<&PoolOverride>, version: &KubeVersion) -> bool {
    let release = match rule {
        None | Some(PoolOverride::Hold) => None,
        Some(PoolOverride::Pin(name)) => view.snapshot.catalog.named(name),
    };
    let present = &view.control_plane.version;
    release.is_some_and(|release| {
        release.version().minor() == present.minor()
            && release.version().compare(present) != BuildOrder::Greater
            && version.compare(release.version()) == BuildOrder::Less
    })
}

/// The release that a pool has still to get.
fn due<'a>(
    view: &ClassicView<'a>,
    pool: &'a MachineDeployment,
    demand: Demand<'a>,
    external_change: ExternalChange<'_>,
) -> Result<Option<Step<'a>>, Waiting> {
    let id = PoolId::Workers(pool.object.name.clone());
    let (version, release) = match demand {
        Demand::Values(release) => (release.version(), Some(release)),
        Demand::Version(version, release) => (version, release),
    };
    if pool.version.compare(version) == BuildOrder::Greater {
        return Err(Waiting::PoolAhead {
            pool: id,
            version: pool.version.clone(),
        });
    }
    let no_row = || Waiting::NoRow {
        version: version.clone(),
    };
    if pool.version != *version {
        return release.ok_or_else(no_row).map(Some);
    }
    // A template that another client set at this version stays.
    if external_change == ExternalChange::Advanced(Field::InfrastructureRef) {
        return Ok(None);
    }
    match demand {
        Demand::Version(..) if !is_of_another_version(view, pool, &id)? => Ok(None),
        Demand::Version(..) | Demand::Values(_) => {
            let release = release.ok_or_else(no_row)?;
            Ok(if carries(view, pool, &id, &release)? {
                None
            } else {
                Some(release)
            })
        }
    }
}

/// Whether we minted the pool's template for another version than the one it is at.
fn is_of_another_version(view: &ClassicView<'_>, pool: &MachineDeployment, id: &PoolId) -> Result<bool, Waiting> {
    let template = view.template(id, &pool.infrastructure)?;
    let mut rows = view.snapshot.catalog.rows_anywhere(&pool.version);
    Ok(view
        .minted_for(template)
        .is_some_and(|label| rows.all(|row| label_value(row.name()) != label)))
}

fn carries<'a>(
    view: &ClassicView<'a>,
    pool: &'a MachineDeployment,
    id: &PoolId,
    step: &Step<'a>,
) -> Result<bool, Waiting> {
    let machines = template::carries(view, id, &Wanted::machines(view, step, pool)?)?;
    let bootstrap = match Wanted::bootstrap(view, step, pool)? {
        None => true,
        Some(wanted) => template::carries(view, id, &wanted)?,
    };
    Ok(machines && bootstrap)
}

fn swap(view: &ClassicView<'_>, pool: &MachineDeployment, step: &Step<'_>) -> Result<Action, Waiting> {
    let id = PoolId::Workers(pool.object.name.clone());
    let wanted = Wanted::machines(view, step, pool)?;
    let machines = template::source(view, &id, step, &wanted)?;
    let bootstrap = match Wanted::bootstrap(view, step, pool)? {
        None => None,
        Some(wanted) => Some(template::source(view, &id, step, &wanted)?),
    };
    let other = |bootstrap: &TemplateRef| pool.bootstrap.as_ref() != Some(bootstrap);
    let destination = Destination {
        upgrade: view.snapshot.upgrade_spec.id(),
        now: view.snapshot.now,
        to: Course::To(*step),
        template: Some(machines.reference()),
        bootstrap: bootstrap.as_ref().map(Source::reference).filter(other),
        origin: Origin {
            release: view.release_of(&pool.object, &pool.version, Some(&pool.infrastructure)),
            has_converged: has_arrived(view, pool),
        },
    };
    let swap = swap::workers(pool, destination);
    let mint = machines.mint_for(Some(&swap));
    let mint = mint.or_else(|| bootstrap.and_then(|bootstrap| bootstrap.mint_for(Some(&swap))));
    Ok(mint.unwrap_or(Action::SwapWorkers(swap)))
}
