//! The control plane's turn.

use instar_capi::{Lifecycle, ManagedBy, WorkerKind};
use instar_domain::skew;

use super::{
    Next, arrival,
    goal::{Goal, at_present},
    machine_pools,
    stuck_step::{self, StuckStep},
    template::{self, Source, Wanted},
    view::ClassicView,
    workers::{self, Heading, WorkerRollout},
};
use crate::{
    cluster_api::{deletions, machines_there, not_ready_though_there, said},
    decision::{Action, StuckRemedy, Waiting},
    gates,
    pool_id::PoolId,
    settled::{control_plane_settled, is_only_unready, matches_spec, stuck_since, unready},
    snapshot::{Flavor, Machine, MachineDeployment, Object, Rollout},
    step::Step,
    swap::{self, Course, Destination, Origin},
    upgrade_spec::PoolOverride,
};

/// What a rollout that has to end first keeps waiting, and what ends it where a machine is stuck.
pub(super) struct Outlook<'a> {
    /// The release that comes next, where there is one.
    pub(super) comes_next: Option<&'a str>,
    pub(super) remedy: StuckRemedy,
}

impl Outlook<'_> {
    /// Nothing comes next.
    pub(super) const LAST: Self = Self {
        comes_next: None,
        remedy: StuckRemedy::Repair,
    };
}

/// One release further, where the control plane stands still and the workers may stay behind.
pub(super) fn next(view: &ClassicView<'_>, goal: &Goal<'_>, waiting: &mut Vec<Waiting>) -> Next {
    let another = |stuck: StuckStep<'_>| StuckRemedy::AnotherRelease(stuck.before.version.clone());
    let outlook = Outlook {
        comes_next: goal.path.first().map(Step::name),
        remedy: stuck_step::find(view).map_or(StuckRemedy::Repair, another),
    };
    let rolling = rolling_out(view, &outlook);
    if !rolling.is_empty() {
        waiting.extend(rolling);
        return Next::Wait;
    }
    let Some(release) = goal.path.first() else {
        let control_plane = view.control_plane;
        let template = control_plane.infrastructure.as_ref();
        // Of the swaps before the last one, the next swap says that they have come to their end.
        let write = super::convergence(
            view,
            PoolId::ControlPlane,
            &control_plane.object,
            &control_plane.version,
            template,
        );
        return write.map_or(Next::Done, |write| Next::Write(Box::new(write)));
    };
    match workers_first(view, release, waiting) {
        write @ Next::Write(_) => return write,
        Next::Wait => return Next::Wait,
        Next::Done => {}
    }
    let missing = missing_for_workers(view, goal);
    if !missing.is_empty() {
        waiting.extend(missing);
        return Next::Wait;
    }
    let held = gates::before_control_plane(view.snapshot, release.version(), Some(release.name()));
    if !held.is_empty() {
        waiting.extend(held);
        return Next::Wait;
    }
    match swap(view, release) {
        Ok(action) => Next::Write(Box::new(action)),
        Err(reason) => {
            waiting.push(reason);
            Next::Wait
        }
    }
}

/// Why the control plane isn't yet what its spec says.
pub(super) fn rolling_out(view: &ClassicView<'_>, outlook: &Outlook<'_>) -> Vec<Waiting> {
    let control_plane = view.control_plane;
    let (version, counts) = (&control_plane.version, control_plane.replicas);
    let template = control_plane.infrastructure.as_ref();
    let machines = view.machines_of(&PoolId::ControlPlane);
    if control_plane_settled(control_plane, &machines) {
        return Vec::new();
    }
    let there = machines_there(control_plane, &machines);
    let rolling = if is_only_unready(control_plane, &machines, there) {
        Waiting::ControlPlaneNotReady {
            version: version.clone(),
        }
    } else {
        Waiting::ControlPlaneRollingOut {
            version: version.clone(),
            lowest: control_plane.observed.iter().min().cloned(),
            there,
            desired: counts.map_or(0, |counts| counts.desired),
        }
    };
    let new = machines.iter().copied();
    let new: Vec<_> = new.filter(|machine| matches_spec(machine, version, template)).collect();
    let stuck = new.iter().filter_map(|machine| stuck(view, outlook, machine));
    let outdated = machines
        .iter()
        .filter(|machine| !matches_spec(machine, version, template));
    let outdated: Vec<&Machine> = outdated.copied().collect();
    // The only one is the next to go.
    let among_others = outdated.iter().filter(|_| outdated.len() > 1);
    let left_over = Outlook {
        comes_next: None,
        remedy: StuckRemedy::DeleteFirst,
    };
    let left_over = among_others.filter_map(|machine| self::stuck(view, &left_over, machine));
    stuck
        .chain(left_over)
        .chain([rolling])
        .chain(unready(new.iter().copied(), version))
        .chain(deletions(machines.iter().copied()))
        .chain(said(&control_plane.object))
        .chain(not_ready_though_there(control_plane, &machines))
        .collect()
}

/// A new machine that has had no node for long. Since when is said, and not for how long: that would be news each time.
fn stuck(view: &ClassicView<'_>, outlook: &Outlook<'_>, machine: &Machine) -> Option<Waiting> {
    Some(Waiting::ControlPlaneStuck {
        since: stuck_since(view.snapshot, machine)?,
        machine: machine.name.clone(),
        version: view.control_plane.version.clone(),
        next: outlook.comes_next.map(str::to_owned),
        remedy: Box::new(outlook.remedy.clone()),
    })
}

/// Moves the workers that the next step would leave too far behind, or that are pinned to the
/// present minor, and lets a rollout at this minor end. Cluster API creates no machine for a pool of
/// another minor, so the control plane doesn't wait for one: its rollout goes on when the pool is moved.
fn workers_first(view: &ClassicView<'_>, next: &Step<'_>, waiting: &mut Vec<Waiting>) -> Next {
    let behind = view.behind(next.version());
    for (kind, name, version) in &behind {
        waiting.push(Waiting::WorkersBehind {
            kind: *kind,
            name: (*name).to_owned(),
            version: (*version).clone(),
            next: next.version().clone(),
        });
    }
    let is_behind = |kind: WorkerKind, object: &Object| {
        let mut names = behind.iter().filter(|(found, _, _)| *found == kind);
        names.any(|(_, name, _)| *name == object.name)
    };
    let pools = view.pools.iter().copied().filter(|pool| {
        let rule = view.snapshot.upgrade_spec.pools.get(&pool.object.name);
        is_behind(WorkerKind::MachineDeployment, &pool.object) || workers::is_pinned_here(view, rule, &pool.version)
    });
    let mut pools: Vec<_> = pools.collect();
    let machine_pools = view.machine_pools.iter().copied().filter(|pool| {
        let rule = machine_pools::override_of(view, pool);
        is_behind(WorkerKind::MachinePool, &pool.object)
            || workers::is_pinned_here(view, rule, &pool.version)
            || machine_pools::is_under_way(view, pool)
    });
    let machine_pools: Vec<_> = machine_pools.collect();
    if !behind.is_empty() || !pools.is_empty() || !machine_pools.is_empty() {
        // Those that went first have to be seen to be there: the others wait for that.
        let unrecorded = |pool: &MachineDeployment| {
            let swap = view.swapped(&pool.object);
            view.snapshot.canary.is_some() && swap.is_some_and(|swap| swap.converged.is_none())
        };
        for pool in view.pools.iter().copied().filter(|pool| unrecorded(pool)) {
            if !pools.iter().any(|there| there.object.name == pool.object.name) {
                pools.push(pool);
            }
        }
        let rollout = WorkerRollout {
            pools,
            machine_pools,
            heading: Heading::Forward(at_present(view)),
        };
        return match workers::next(view, &rollout, waiting) {
            Next::Write(action) => Next::Write(action),
            Next::Wait | Next::Done => Next::Wait,
        };
    }
    let before = waiting.len();
    for pool in view.pools.iter().filter(|pool| ends_by_itself(view, pool)) {
        if !view.rolled_out(pool) {
            waiting.extend(arrival::rolling_out(view, pool));
        }
    }
    if waiting.len() == before {
        Next::Done
    } else {
        Next::Wait
    }
}

/// Whether a rollout of this pool comes to its end while the control plane stands still.
pub(super) fn ends_by_itself(view: &ClassicView<'_>, pool: &MachineDeployment) -> bool {
    let same_minor = pool.version.minor() == view.control_plane.version.minor();
    same_minor && pool.rollout == Rollout::Rolling && pool.object.lifecycle != Lifecycle::Deleting
}

/// What the workers would lack at the releases where they will have to stop: it is said before the
/// control plane has moved, not in the middle.
fn missing_for_workers(view: &ClassicView<'_>, goal: &Goal<'_>) -> Vec<Waiting> {
    let mut missing = Vec::new();
    for (pool, stops) in worker_stops(view, goal) {
        for release in stops {
            let wanted = Wanted::machines(view, &release, pool).map(|_| ());
            let bootstrap = Wanted::bootstrap(view, &release, pool).map(|_| ());
            missing.extend(wanted.and(bootstrap).err());
        }
    }
    missing
}

/// The releases where each MachineDeployment that the upgrade moves will have to stop: at the end, and before its
/// kubelets are too old for the control plane.
pub(super) fn worker_stops<'a>(view: &ClassicView<'a>, goal: &Goal<'a>) -> Vec<(&'a MachineDeployment, Vec<Step<'a>>)> {
    let mut all = Vec::new();
    for pool in view.pools.iter().copied() {
        let is_held = match view.snapshot.upgrade_spec.pools.get(&pool.object.name) {
            None => false,
            Some(PoolOverride::Hold | PoolOverride::Pin(_)) => true,
        };
        if is_held || pool.object.managed_by == ManagedBy::Topology {
            continue;
        }
        let mut at = view.lowest(pool);
        let mut stops = Vec::new();
        let ends = goal.path.iter().skip(1).map(Some).chain([None]);
        for (release, next) in goal.path.iter().zip(ends) {
            let stays = next.is_some_and(|next| skew::kubelet(at, next.version()).is_ok());
            if stays || at >= release.version() {
                continue;
            }
            at = release.version();
            stops.push(*release);
        }
        all.push((pool, stops));
    }
    all
}

fn swap(view: &ClassicView<'_>, step: &Step<'_>) -> Result<Action, Waiting> {
    let pool = PoolId::ControlPlane;
    let source = match &view.control_plane.infrastructure {
        None => None,
        Some(reference) => {
            let wanted = Wanted::control_plane(view, step, reference)?;
            Some(template::source(view, &pool, step, &wanted)?)
        }
    };
    Ok(swap_to(view, Course::To(*step), source, true))
}

/// The write that points the control plane somewhere, or makes its template before that.
pub(super) fn swap_to(view: &ClassicView<'_>, to: Course<'_>, source: Option<Source>, has_converged: bool) -> Action {
    let control_plane = view.control_plane;
    let template = control_plane.infrastructure.as_ref();
    let destination = Destination {
        upgrade: view.snapshot.upgrade_spec.id(),
        now: view.snapshot.now,
        to,
        template: source.as_ref().map(Source::reference),
        bootstrap: None,
        origin: Origin {
            release: view.release_of(&control_plane.object, &control_plane.version, template),
            has_converged,
        },
    };
    let swap = swap::control_plane(control_plane, destination);
    // Another kind's webhooks may ask for the template first.
    let tried = match control_plane.flavor {
        Flavor::Kubeadm { .. } => Some(&swap),
        Flavor::Other => None,
    };
    let mint = source.and_then(|source| source.mint_for(tried));
    mint.unwrap_or(Action::SwapControlPlane(swap))
}
