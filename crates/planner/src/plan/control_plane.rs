//! The control plane's turn.

use instar_catalog::Release;
use instar_domain::skew;

use super::{
    Next,
    goal::{Goal, at_present},
    scene::Scene,
    template::{self, Source, Wanted},
    workers::{self, Turn},
};
use crate::{
    decision::{Action, Waiting, WorkersKind},
    settled::{control_plane_settled, converged, is_as},
    snapshot::{MachineDeployment, Owner, PoolId, Rollout, Standing},
    swap::{self, Destination},
    wish::{Gate, PoolWish},
};

/// One release further, where the control plane stands still and the workers may stay behind.
pub(super) fn next(scene: &Scene<'_>, goal: &Goal<'_>, waiting: &mut Vec<Waiting>) -> Next {
    let rolling = rolling_out(scene);
    if !rolling.is_empty() {
        waiting.extend(rolling);
        return Next::Wait;
    }
    let Some(release) = goal.path.first() else {
        return Next::Done;
    };
    match workers_first(scene, release, waiting) {
        write @ Next::Write(_) => return write,
        Next::Wait => return Next::Wait,
        Next::Done => {}
    }
    let missing = missing_for_workers(scene, goal);
    if !missing.is_empty() {
        waiting.extend(missing);
        return Next::Wait;
    }
    if !super::gates_open(scene, &Gate::CONTROL_PLANE, waiting) {
        return Next::Wait;
    }
    match swap(scene, release) {
        Ok(action) => Next::Write(Box::new(action)),
        Err(reason) => {
            waiting.push(reason);
            Next::Wait
        }
    }
}

/// Why the control plane isn't yet what its spec says.
fn rolling_out(scene: &Scene<'_>) -> Vec<Waiting> {
    let control_plane = scene.control_plane;
    let (version, counts) = (&control_plane.version, control_plane.replicas);
    let template = control_plane.infrastructure.as_ref();
    let machines = scene.machines_of(&PoolId::ControlPlane);
    if control_plane_settled(control_plane, machines.iter().copied()) {
        return Vec::new();
    }
    let rolling = Waiting::ControlPlaneRollingOut {
        version: version.clone(),
        lowest: control_plane.observed.iter().min().cloned(),
        up_to_date: counts.map_or(0, |counts| counts.up_to_date),
        desired: counts.map_or(0, |counts| counts.desired),
    };
    let unready = machines
        .into_iter()
        .filter(|machine| is_as(machine, version, template) && machine.standing == Standing::Live)
        .filter(|machine| !converged(machine, version))
        .map(|machine| Waiting::MachineNotReady {
            name: machine.name.clone(),
            phase: machine.phase,
        });
    std::iter::once(rolling).chain(unready).collect()
}

/// Moves the workers that the next step would leave too far behind, or that are pinned to the
/// present minor, and lets a rollout at this minor end. Cluster API makes no machine for a pool of another minor, so nobody
/// waits for such a one: its rollout goes on when the pool is moved.
fn workers_first(scene: &Scene<'_>, next: &Release, waiting: &mut Vec<Waiting>) -> Next {
    let behind = scene.behind(next.version());
    for (kind, name, version) in &behind {
        waiting.push(Waiting::WorkersBehind {
            kind: *kind,
            name: (*name).to_owned(),
            version: (*version).clone(),
            next: next.version().clone(),
        });
    }
    let is_behind = |pool: &MachineDeployment| {
        let mut names = behind
            .iter()
            .filter(|(kind, _, _)| *kind == WorkersKind::MachineDeployment);
        names.any(|(_, name, _)| *name == pool.object.name)
    };
    let moves = |pool: &&&MachineDeployment| is_behind(pool) || workers::is_pinned_here(scene, pool);
    let pools: Vec<_> = scene.pools.iter().filter(moves).copied().collect();
    if !behind.is_empty() || !pools.is_empty() {
        let turn = Turn {
            pools,
            demand: at_present(scene),
        };
        return match workers::next(scene, &turn, waiting) {
            Next::Write(action) => Next::Write(action),
            Next::Wait | Next::Done => Next::Wait,
        };
    }
    let before = waiting.len();
    for pool in scene.pools.iter().filter(|pool| ends_by_itself(scene, pool)) {
        if !scene.rolled_out(pool) {
            waiting.push(workers::rolling_out(scene, pool));
        }
    }
    if waiting.len() == before {
        Next::Done
    } else {
        Next::Wait
    }
}

/// Whether a rollout of this pool comes to its end while the control plane stands still.
fn ends_by_itself(scene: &Scene<'_>, pool: &MachineDeployment) -> bool {
    let same_minor = pool.version.minor() == scene.control_plane.version.minor();
    same_minor && pool.rollout == Rollout::Rolling && pool.object.standing != Standing::Deleting
}

/// What the workers would lack at the releases where they will have to stop: it is said before the
/// control plane has moved, not in the middle.
fn missing_for_workers(scene: &Scene<'_>, goal: &Goal<'_>) -> Vec<Waiting> {
    let mut missing = Vec::new();
    for pool in scene.pools.iter().filter(|pool| pool.object.owner == Owner::User) {
        match scene.snapshot.wish.pools.get(&pool.object.name) {
            None => {}
            Some(PoolWish::Hold | PoolWish::Pin(_)) => continue,
        }
        let mut at = scene.lowest(pool);
        let ends = goal.path.iter().skip(1).map(Some).chain([None]);
        for (release, next) in goal.path.iter().zip(ends) {
            let stays = next.is_some_and(|next| skew::kubelet(at, next.version()).is_ok());
            if stays || at >= release.version() {
                continue;
            }
            at = release.version();
            let wanted = Wanted::machines(scene, release, pool).map(|_| ());
            let bootstrap = Wanted::bootstrap(scene, release, pool).map(|_| ());
            missing.extend(wanted.and(bootstrap).err());
        }
    }
    missing
}

fn swap(scene: &Scene<'_>, release: &Release) -> Result<Action, Waiting> {
    let control_plane = scene.control_plane;
    let pool = PoolId::ControlPlane;
    let template = match &control_plane.infrastructure {
        None => None,
        Some(reference) => {
            let wanted = Wanted::control_plane(scene, release, reference)?;
            match template::source(scene, &pool, release, &wanted)? {
                Source::Mint(action) => return Ok(*action),
                Source::Ready(template) => Some(template),
            }
        }
    };
    let destination = Destination {
        upgrade: &scene.snapshot.wish.upgrade,
        release,
        template,
        bootstrap: None,
    };
    Ok(Action::SwapControlPlane(swap::control_plane(
        control_plane,
        destination,
    )))
}
