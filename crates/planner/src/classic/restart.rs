//! New machines of what is there: first of the control plane, then of one pool after the other.
//!
//! A pool is written once, and Cluster API replaces what was made before the time that is written. Whether it has done so
//! follows from when Machines and MachineSets were made, since nothing else of them differs. What was made by a MachineSet
//! from before is replaced whenever it was made: so it is MachineSets that count of a MachineDeployment.

use instar_capi::{Lifecycle, ManagedBy};
use instar_catalog::Resolved;
use instar_domain::BuildOrder;
use jiff::Timestamp;

use super::{
    Next,
    arrival::{arrival, rolling_out as pool_rolls},
    control_plane::{Outlook, ends_by_itself, rolling_out},
    ending,
    place::Place,
    progress::Ends,
    view::{ClassicView, blocking_reason, stopped},
    workers::{self, Heading, WorkerRollout},
};
use crate::{
    cluster_api::said,
    decision::{Action, Decision, Stage, Waiting},
    gates,
    pool_id::PoolId,
    restart::{NoRestart, is_before, time},
    settled::{converged, unready},
    snapshot::{Flavor, JoinRule, Machine, MachineDeployment, Object, Rollout},
    swap::{self, Course, Destination, Origin},
    upgrade_spec::Target,
};

/// What is restarted.
pub(super) struct Restart {
    /// What was made before is replaced.
    after: Timestamp,
    /// The release that the control plane is at, where it is known: its add-ons are asked as in an upgrade.
    pub(super) release: Option<String>,
}

/// Where an object is.
enum Standing {
    /// All of it was made afterwards.
    New,
    /// It has still to be written.
    Due,
    /// Cluster API replaces it.
    Rolls,
}

pub(super) fn plan(view: &ClassicView<'_>) -> Decision {
    let snapshot = view.snapshot;
    let mut waiting = refused(view);
    let Some(after) = time(&snapshot.upgrade_spec).filter(|_| waiting.is_empty()) else {
        if waiting.is_empty() {
            let upgrade = snapshot.upgrade_spec.upgrade.clone();
            waiting.push(NoRestart::NotStarted { upgrade }.into());
        }
        return super::decide(view, &Ends::HERE, Vec::new(), Stage::Held, Action::Nothing, waiting);
    };
    let control_plane = view.control_plane;
    let template = control_plane.infrastructure.as_ref();
    let restart = Restart {
        after,
        release: view.release_of(&control_plane.object, &control_plane.version, template),
    };
    let (stage, action) = restart.next(view, &mut waiting);
    let stage = if gates::stands_still(&waiting) {
        Stage::Held
    } else {
        stage
    };
    let action = gates::begin(snapshot, action, &waiting);
    waiting.extend(machine_pools(view));
    waiting.extend(super::without_version(snapshot));
    let ends = Ends {
        control_plane: !view
            .machines_of(&PoolId::ControlPlane)
            .iter()
            .any(|machine| is_before(machine, after)),
        workers: Some(Heading::Restart(&restart)),
    };
    super::decide(view, &ends, Vec::new(), stage, action, waiting)
}

/// Whether Cluster API replaces machines of a pool for the restart that is asked for.
pub(super) fn is_under_way(view: &ClassicView<'_>, pool: &MachineDeployment) -> bool {
    let after = time(&view.snapshot.upgrade_spec).filter(|_| view.swapped(&pool.object).is_some());
    after.is_some_and(|after| {
        let stands = |machine: &&Machine| machine.lifecycle != Lifecycle::Deleting && is_before(machine, after);
        let machines = view.machines_of(&PoolId::Workers(pool.object.name.clone()));
        pool.rollout_after >= Some(after) && (has_old_set(view, pool, after) || machines.iter().any(stands))
    })
}

/// Why nothing of the Cluster is restarted: all that is asked for is, or nothing.
fn refused(view: &ClassicView<'_>) -> Vec<Waiting> {
    let (snapshot, control_plane) = (view.snapshot, view.control_plane);
    let object = &control_plane.object;
    match control_plane.flavor {
        Flavor::Kubeadm { .. } => {}
        Flavor::Other => {
            let refused = NoRestart::ControlPlane {
                namespace: snapshot.cluster.namespace.clone(),
                kind: object.kind.clone(),
                name: object.name.clone(),
            };
            return vec![refused.into()];
        }
    }
    let (target, present) = (&snapshot.upgrade_spec.target, &control_plane.version);
    if !runs(view, target) {
        let refused = NoRestart::OtherVersion {
            target: target.as_str().to_owned(),
            present: present.clone(),
        };
        return vec![refused.into()];
    }
    let pools = view.pools.iter().filter(|pool| is_asked_for(view, pool));
    let no_machine = |pool: &&&MachineDeployment| {
        let is_other = match pool.joins {
            JoinRule::SameMinor => pool.version.minor() != present.minor(),
            JoinRule::AnyMinor => false,
        };
        let is_ahead = pool.version.compare(present) == BuildOrder::Greater && !pool.version.is_same_upstream(present);
        pool.object.lifecycle != Lifecycle::Deleting && (is_other || is_ahead)
    };
    let refused = pools.filter(no_machine).map(|pool| {
        NoRestart::OtherMinor {
            pool: PoolId::Workers(pool.object.name.clone()),
            version: pool.version.clone(),
            control_plane: present.clone(),
        }
        .into()
    });
    refused.collect()
}

/// Whether a target is what the control plane's spec says.
fn runs(view: &ClassicView<'_>, target: &Target) -> bool {
    let (present, catalog) = (&view.control_plane.version, &view.snapshot.catalog);
    match target {
        Target::Release(name) => catalog.named_anywhere(name).is_some_and(|row| row.version() == present),
        // A version runs also where the catalog has no row of it.
        Target::Text(text) if *text == present.to_string() => true,
        Target::Text(text) => match catalog.resolve(text, Some(present), None, view.today) {
            Ok(Resolved::Unchanged) => true,
            Ok(Resolved::Release(row)) => row.version() == present,
            Err(_) => false,
        },
    }
}

/// Whether a pool is the user's, and isn't left out.
fn is_asked_for(view: &ClassicView<'_>, pool: &MachineDeployment) -> bool {
    let is_left_out = view.snapshot.upgrade_spec.pools.contains_key(&pool.object.name);
    pool.object.managed_by == ManagedBy::User && !is_left_out
}

fn has_old(view: &ClassicView<'_>, pool: &MachineDeployment, after: Timestamp) -> bool {
    let machines = view.machines_of(&PoolId::Workers(pool.object.name.clone()));
    has_old_set(view, pool, after) || machines.iter().any(|machine| is_before(machine, after))
}

fn has_old_set(view: &ClassicView<'_>, pool: &MachineDeployment, after: Timestamp) -> bool {
    let name = &pool.object.name;
    let mut sets = view.machine_sets.iter().filter(|set| set.pool.as_ref() == Some(name));
    sets.any(|set| set.replicas > 0 && set.created.is_some_and(|created| created < after))
}

/// The MachinePools, which a restart leaves to their user. It is said at the end too.
fn machine_pools(view: &ClassicView<'_>) -> impl Iterator<Item = Waiting> {
    let pools = view.machine_pools.iter();
    pools.map(|pool| {
        let name = pool.object.name.clone();
        NoRestart::MachinePool { name }.into()
    })
}

impl Restart {
    fn next(&self, view: &ClassicView<'_>, waiting: &mut Vec<Waiting>) -> (Stage, Action) {
        match self.control_plane(view, waiting) {
            Next::Write(action) => return (Stage::ControlPlane, *action),
            Next::Wait => return (Stage::ControlPlane, Action::Nothing),
            Next::Done => {}
        }
        let rollout = WorkerRollout {
            pools: view.pools.clone(),
            machine_pools: Vec::new(),
            heading: Heading::Restart(self),
        };
        match workers::next(view, &rollout, waiting) {
            Next::Write(action) => (Stage::Workers, *action),
            Next::Wait => (Stage::Workers, Action::Nothing),
            Next::Done => {
                let version = &view.control_plane.version;
                let held = gates::before_completion(view.snapshot, version, self.release.as_deref());
                if held.is_empty() {
                    ending(view, waiting)
                } else {
                    waiting.extend(held);
                    (Stage::Verifying, Action::Nothing)
                }
            }
        }
    }

    fn control_plane(&self, view: &ClassicView<'_>, waiting: &mut Vec<Waiting>) -> Next {
        let control_plane = view.control_plane;
        let (object, present) = (&control_plane.object, control_plane.rollout_after);
        let machines = view.machines_of(&PoolId::ControlPlane);
        let has_old = machines.iter().any(|machine| is_before(machine, self.after));
        let mut rolling = rolling_out(view, &Outlook::LAST);
        let standing = match self.standing(view, &PoolId::ControlPlane, object, present, has_old) {
            Ok(standing) => standing,
            Err(reason) => {
                waiting.push(reason);
                return Next::Wait;
            }
        };
        match standing {
            // What was counted may be of before.
            Standing::Rolls if rolling.is_empty() => rolling.push(self.control_plane_rolls(view, &machines)),
            Standing::Rolls | Standing::Due | Standing::New => {}
        }
        if !rolling.is_empty() {
            waiting.extend(rolling);
            return Next::Wait;
        }
        match standing {
            Standing::Rolls => return Next::Wait,
            Standing::New => {
                let (version, template) = (&control_plane.version, control_plane.infrastructure.as_ref());
                let write = super::convergence(view, PoolId::ControlPlane, object, version, template);
                return write.map_or(Next::Done, |write| Next::Write(Box::new(write)));
            }
            Standing::Due => {}
        }
        let before = waiting.len();
        let pools = view.pools.iter().filter(|pool| ends_by_itself(view, pool));
        for pool in pools.filter(|pool| !view.rolled_out(pool)) {
            waiting.extend(pool_rolls(view, pool));
        }
        if waiting.len() == before {
            let version = &control_plane.version;
            waiting.extend(gates::before_control_plane(
                view.snapshot,
                version,
                self.release.as_deref(),
            ));
        }
        if waiting.len() > before {
            return Next::Wait;
        }
        let destination = Destination {
            upgrade: view.snapshot.upgrade_spec.id(),
            now: view.snapshot.now,
            to: Course::Restart(&control_plane.version, self.after),
            template: control_plane.infrastructure.clone(),
            bootstrap: None,
            origin: Origin {
                release: self.release.clone(),
                has_converged: false,
            },
        };
        let swap = swap::restart_control_plane(control_plane, destination);
        Next::Write(Box::new(Action::SwapControlPlane(swap)))
    }

    /// Whether Cluster API still has to be told, or why it can't be. It replaces nothing for a time that has not come, and
    /// a user's own is not overwritten.
    fn standing(
        &self,
        view: &ClassicView<'_>,
        pool: &PoolId,
        object: &Object,
        present: Option<Timestamp>,
        has_old: bool,
    ) -> Result<Standing, Waiting> {
        if !has_old {
            return Ok(Standing::New);
        }
        let (pool, after) = (pool.clone(), self.after);
        match present {
            Some(present) if present > view.snapshot.now => Err(NoRestart::Scheduled { pool, after: present }.into()),
            Some(present) if present >= after => Ok(Standing::Rolls),
            // Once is enough: another client would set it back again.
            Some(_) | None if view.swapped(object).is_some() => Err(NoRestart::Unset { pool, after }.into()),
            Some(_) | None => Ok(Standing::Due),
        }
    }

    fn control_plane_rolls(&self, view: &ClassicView<'_>, machines: &[&Machine]) -> Waiting {
        let control_plane = view.control_plane;
        let version = &control_plane.version;
        let new = machines
            .iter()
            .filter(|machine| !is_before(machine, self.after) && converged(machine, version));
        Waiting::ControlPlaneRollingOut {
            version: version.clone(),
            lowest: control_plane.observed.iter().min().cloned(),
            there: u32::try_from(new.count()).unwrap_or(u32::MAX),
            desired: control_plane.replicas.map_or(0, |counts| counts.desired),
        }
    }

    /// Where a pool of workers is.
    pub(super) fn place<'a>(
        &self,
        view: &ClassicView<'a>,
        pool: &'a MachineDeployment,
        waiting: &mut Vec<Waiting>,
    ) -> Result<Place<'a>, Waiting> {
        if !is_asked_for(view, pool) {
            return Ok(Place::There);
        }
        let id = PoolId::Workers(pool.object.name.clone());
        let has_old = has_old(view, pool, self.after);
        match self.standing(view, &id, &pool.object, pool.rollout_after, has_old)? {
            Standing::New => Ok(arrival(view, pool, &id, waiting)),
            Standing::Rolls => Ok(self.rolls(view, pool, id, waiting)),
            // What is under way ends first, so that no machine of it is replaced twice.
            Standing::Due if !view.rolled_out(pool) => Ok(arrival(view, pool, &id, waiting)),
            Standing::Due => match blocking_reason(&pool.object) {
                None => Ok(Place::Due(Course::Restart(&pool.version, self.after))),
                Some(reason @ Waiting::Deleting { .. }) => {
                    waiting.push(reason);
                    Ok(Place::There)
                }
                Some(reason) => Err(reason),
            },
        }
    }

    fn rolls<'a>(
        &self,
        view: &ClassicView<'a>,
        pool: &MachineDeployment,
        id: PoolId,
        waiting: &mut Vec<Waiting>,
    ) -> Place<'a> {
        let machines = view.machines_of(&id);
        let (old, new): (Vec<&Machine>, Vec<&Machine>) =
            machines.iter().partition(|machine| is_before(machine, self.after));
        let missing: Vec<Waiting> = unready(new.iter().copied(), &pool.version).collect();
        match (pool.object.lifecycle, pool.rollout) {
            (Lifecycle::Deleting, _) => {
                waiting.extend(stopped(&pool.object));
                return Place::There;
            }
            (Lifecycle::Active, Rollout::OnDelete) if !old.is_empty() && missing.is_empty() => {
                waiting.push(Waiting::OnDelete {
                    pool: id,
                    machines: old.iter().map(|machine| machine.name.clone()).collect(),
                });
                return Place::Stuck;
            }
            (Lifecycle::Active | Lifecycle::Paused, Rollout::OnDelete | Rollout::Rolling) => {}
        }
        waiting.extend(stopped(&pool.object));
        waiting.push(Waiting::PoolRollingOut {
            pool: id,
            version: pool.version.clone(),
            converged: new.iter().filter(|machine| converged(machine, &pool.version)).count(),
            machines: machines.len(),
        });
        waiting.extend(crate::cluster_api::deletions(machines));
        waiting.extend(missing);
        waiting.extend(said(&pool.object));
        match pool.object.lifecycle {
            Lifecycle::Paused => Place::Stuck,
            Lifecycle::Active | Lifecycle::Deleting => Place::Moving,
        }
    }
}

/// The one write by which a pool's machines become new.
pub(super) fn swap_workers(view: &ClassicView<'_>, pool: &MachineDeployment, after: Timestamp) -> Action {
    let template = &pool.infrastructure;
    let destination = Destination {
        upgrade: view.snapshot.upgrade_spec.id(),
        now: view.snapshot.now,
        to: Course::Restart(&pool.version, after),
        template: Some(template.clone()),
        bootstrap: None,
        origin: Origin {
            release: view.release_of(&pool.object, &pool.version, Some(template)),
            has_converged: false,
        },
    };
    Action::SwapWorkers(swap::restart_workers(pool, destination))
}
