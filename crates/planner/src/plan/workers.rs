//! The workers' turn: at the end, or where the control plane can't go on without them.

use instar_catalog::Release;
use instar_domain::BuildOrder;

use super::{
    Next,
    goal::Demand,
    scene::{Foreign, Scene, stands_in_the_way},
    template::{self, Source, Wanted},
};
use crate::{
    decision::{Action, Field, Waiting},
    mint::label_value,
    settled::{converged, is_as},
    snapshot::{MachineDeployment, Owner, PoolId, Rollout, Standing},
    swap::{self, Destination},
    wish::{Gate, PoolWish},
};

/// Whose turn it is, and where they go.
pub(super) struct Turn<'a> {
    pub(super) pools: Vec<&'a MachineDeployment>,
    pub(super) demand: Demand<'a>,
}

/// Where a pool is, seen from where it should be.
enum Place<'a> {
    /// It is there, or it is not to move.
    There,
    /// It is on its way.
    Moving,
    /// It doesn't move before somebody does something. The others needn't wait for it.
    Stuck,
    /// It is to get this release.
    Due(&'a Release),
}

/// The next pool, where the strategy has room for one more on its way.
pub(super) fn next<'a>(scene: &Scene<'a>, turn: &Turn<'a>, waiting: &mut Vec<Waiting>) -> Next {
    let (mut moving, mut stuck, mut due) = (0_usize, 0_usize, Vec::new());
    for pool in in_order(scene, &turn.pools) {
        match place(scene, pool, turn.demand, waiting) {
            Ok(Place::There) => {}
            Ok(Place::Moving) => moving += 1,
            Ok(Place::Stuck) => stuck += 1,
            Ok(Place::Due(release)) => due.push((pool, release)),
            Err(reason) => {
                waiting.push(reason);
                stuck += 1;
            }
        }
    }
    if due.is_empty() {
        return if moving + stuck == 0 { Next::Done } else { Next::Wait };
    }
    if moving >= scene.snapshot.wish.strategy.limit() || !super::gates_open(scene, &Gate::WORKERS, waiting) {
        return Next::Wait;
    }
    for (pool, release) in due {
        match swap(scene, pool, release) {
            Ok(action) => return Next::Write(Box::new(action)),
            Err(reason) => waiting.push(reason),
        }
    }
    Next::Wait
}

/// Whether a pool's spec is all that it will be at the end.
pub(super) fn is_settled(scene: &Scene<'_>, pool: &MachineDeployment, demand: Demand<'_>) -> bool {
    match place(scene, pool, demand, &mut Vec::new()) {
        Ok(Place::There | Place::Moving | Place::Stuck) => true,
        Ok(Place::Due(_)) | Err(_) => false,
    }
}

/// What is said of a pool that hasn't got to what its spec says.
pub(super) fn rolling_out(scene: &Scene<'_>, pool: &MachineDeployment) -> Waiting {
    let id = PoolId::Workers(pool.object.name.clone());
    let machines = scene.machines_of(&id);
    let there = machines
        .iter()
        .filter(|machine| is_as(machine, &pool.version, Some(&pool.infrastructure)))
        .filter(|machine| converged(machine, &pool.version));
    Waiting::PoolRollingOut {
        version: pool.version.clone(),
        converged: there.count(),
        machines: machines.len(),
        pool: id,
    }
}

fn in_order<'a>(scene: &Scene<'a>, pools: &[&'a MachineDeployment]) -> Vec<&'a MachineDeployment> {
    let order = &scene.snapshot.wish.order;
    let place = |pool: &&MachineDeployment| {
        let named = order.iter().position(|name| *name == pool.object.name);
        named.unwrap_or(usize::MAX)
    };
    // They come by name, and the sort is stable.
    let mut pools = pools.to_vec();
    pools.sort_by_key(place);
    pools
}

fn place<'a>(
    scene: &Scene<'a>,
    pool: &'a MachineDeployment,
    demand: Demand<'a>,
    waiting: &mut Vec<Waiting>,
) -> Result<Place<'a>, Waiting> {
    let id = PoolId::Workers(pool.object.name.clone());
    match pool.object.owner {
        Owner::User => {}
        Owner::Topology => {
            waiting.extend(stands_in_the_way(&pool.object));
            return Ok(Place::There);
        }
    }
    let demand = match scene.snapshot.wish.pools.get(&pool.object.name) {
        None => demand,
        Some(PoolWish::Hold) => return Ok(Place::There),
        Some(PoolWish::Pin(name)) => pinned(scene, pool, name)?,
    };
    let foreign = scene.foreign(&pool.object, &pool.version, Some(&pool.infrastructure));
    match foreign {
        Foreign::No => {}
        Foreign::Onward(field) => waiting.push(Waiting::ForeignWriter {
            pool: id.clone(),
            field,
        }),
        Foreign::Back => {
            return Err(Waiting::ForeignWriter {
                pool: id,
                field: Field::Version,
            });
        }
    }
    if let Some(release) = due(scene, pool, demand, foreign)? {
        return match stands_in_the_way(&pool.object) {
            None => Ok(Place::Due(release)),
            // It goes away, and nobody waits for it to be new.
            Some(reason @ Waiting::Deleting { .. }) => {
                waiting.push(reason);
                Ok(Place::There)
            }
            Some(reason) => Err(reason),
        };
    }
    Ok(arrival(scene, pool, &id, waiting))
}

/// Whether a pool has to go to its pin while the control plane stands where it does: later, Cluster
/// API would make no machine of that minor.
pub(super) fn is_pinned_here(scene: &Scene<'_>, pool: &MachineDeployment) -> bool {
    let release = match scene.snapshot.wish.pools.get(&pool.object.name) {
        None | Some(PoolWish::Hold) => None,
        Some(PoolWish::Pin(name)) => scene.snapshot.catalog.named(name),
    };
    let present = &scene.control_plane.version;
    release.is_some_and(|release| {
        release.version().minor() == present.minor()
            && release.version().compare(present) != BuildOrder::Greater
            && pool.version.compare(release.version()) == BuildOrder::Less
    })
}

fn pinned<'a>(scene: &Scene<'a>, pool: &MachineDeployment, name: &str) -> Result<Demand<'a>, Waiting> {
    let id = PoolId::Workers(pool.object.name.clone());
    let Some(release) = scene.snapshot.catalog.named(name) else {
        return Err(Waiting::NoRelease {
            pool: Some(id),
            release: name.to_owned(),
        });
    };
    let (present, version) = (&scene.control_plane.version, release.version());
    let newer = version.compare(present) == BuildOrder::Greater;
    let older_minor = version.minor() < present.minor();
    if newer || (older_minor && pool.version.compare(version) == BuildOrder::Less) {
        return Err(Waiting::PinOutOfReach {
            pool: id,
            release: name.to_owned(),
        });
    }
    Ok(if older_minor {
        Demand::Version(version, Some(release))
    } else {
        Demand::Values(release)
    })
}

/// The release that a pool has still to get.
fn due<'a>(
    scene: &Scene<'a>,
    pool: &'a MachineDeployment,
    demand: Demand<'a>,
    foreign: Foreign,
) -> Result<Option<&'a Release>, Waiting> {
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
    // What somebody has put there at this version is his choice.
    if foreign == Foreign::Onward(Field::InfrastructureRef) {
        return Ok(None);
    }
    match demand {
        Demand::Version(..) if !is_of_another_version(scene, pool, &id)? => Ok(None),
        Demand::Version(..) | Demand::Values(_) => {
            let release = release.ok_or_else(no_row)?;
            Ok(if carries(scene, pool, &id, release)? {
                None
            } else {
                Some(release)
            })
        }
    }
}

/// Whether we minted the pool's template for another version than the one it is at.
fn is_of_another_version(scene: &Scene<'_>, pool: &MachineDeployment, id: &PoolId) -> Result<bool, Waiting> {
    let template = scene.template(id, &pool.infrastructure)?;
    let rows = scene.snapshot.catalog.rows_of(&pool.version);
    Ok(scene
        .minted_for(template)
        .is_some_and(|label| rows.iter().all(|row| label_value(row.name()) != label)))
}

fn carries<'a>(
    scene: &Scene<'a>,
    pool: &'a MachineDeployment,
    id: &PoolId,
    release: &'a Release,
) -> Result<bool, Waiting> {
    let machines = template::carries(scene, id, &Wanted::machines(scene, release, pool)?)?;
    let bootstrap = match Wanted::bootstrap(scene, release, pool)? {
        None => true,
        Some(wanted) => template::carries(scene, id, &wanted)?,
    };
    Ok(machines && bootstrap)
}

/// A pool whose spec is as it should be: are its machines?
fn arrival<'a>(scene: &Scene<'a>, pool: &MachineDeployment, id: &PoolId, waiting: &mut Vec<Waiting>) -> Place<'a> {
    let machines = scene.machines_of(id);
    let (same, old): (Vec<_>, Vec<_>) = machines
        .into_iter()
        .partition(|machine| is_as(machine, &pool.version, Some(&pool.infrastructure)));
    let unready: Vec<Waiting> = same
        .iter()
        .filter(|machine| machine.standing == Standing::Live && !converged(machine, &pool.version))
        .map(|machine| Waiting::MachineNotReady {
            name: machine.name.clone(),
            phase: machine.phase,
        })
        .collect();
    if unready.is_empty() && scene.rolled_out(pool) {
        return Place::There;
    }
    let place = match pool.rollout {
        Rollout::OnDelete if !old.is_empty() && unready.is_empty() => {
            waiting.push(Waiting::OnDelete {
                pool: id.clone(),
                machines: old.iter().map(|machine| machine.name.clone()).collect(),
            });
            Place::Stuck
        }
        Rollout::OnDelete | Rollout::Rolling => {
            waiting.push(rolling_out(scene, pool));
            Place::Moving
        }
    };
    waiting.extend(unready);
    place
}

fn swap(scene: &Scene<'_>, pool: &MachineDeployment, release: &Release) -> Result<Action, Waiting> {
    let id = PoolId::Workers(pool.object.name.clone());
    let wanted = Wanted::machines(scene, release, pool)?;
    let template = match template::source(scene, &id, release, &wanted)? {
        Source::Mint(action) => return Ok(*action),
        Source::Ready(template) => template,
    };
    let bootstrap = match Wanted::bootstrap(scene, release, pool)? {
        None => None,
        Some(wanted) => match template::source(scene, &id, release, &wanted)? {
            Source::Mint(action) => return Ok(*action),
            Source::Ready(bootstrap) => Some(bootstrap).filter(|bootstrap| *bootstrap != wanted.reference),
        },
    };
    let destination = Destination {
        upgrade: &scene.snapshot.wish.upgrade,
        release,
        template: Some(template),
        bootstrap,
    };
    Ok(Action::SwapWorkers(swap::workers(pool, destination)))
}
