//! What Cluster API makes of a snapshot while nothing is written: each pool becomes what its spec says, if it can.

use std::collections::{BTreeMap, BTreeSet};

use instar_planner::{
    Condition, ConditionStatus, ControlPlane, JoinRule, Lifecycle, Machine, MachineDeployment, MachinePhase,
    MachinePool, MachineSet, Node, NodeReadiness, Object, Observed, PausedBy, PoolId, Replicas, Rollout, Snapshot,
    UpToDate,
};
use jiff::Timestamp;

use crate::apply::read_mut;

/// Who deletes the machines of a pool that replaces only those that are deleted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDelete {
    /// Nobody.
    Waits,
    /// Their user.
    Deleted,
}

/// Which pools have changed, each with how many of its machines were replaced.
pub(crate) type Replaced = BTreeMap<PoolId, u32>;

/// All that can come to its end does. The order of machines within a pool doesn't matter to the planner, and that of pools
/// is its own.
pub(crate) fn converge(snapshot: &mut Snapshot, on_delete: OnDelete) -> Replaced {
    let mut replaced = Replaced::new();
    let now = snapshot.now;
    if snapshot.cluster.lifecycle != Lifecycle::Active {
        return replaced;
    }
    if let Some(Observed::Read(control_plane)) = &mut snapshot.control_plane
        && control_plane.object.lifecycle == Lifecycle::Active
        && let Some(count) = converge_control_plane(control_plane, &mut snapshot.machines, now)
    {
        replaced.insert(PoolId::ControlPlane, count);
    }
    let control_plane = match &snapshot.control_plane {
        Some(Observed::Read(control_plane)) => Some(control_plane.version.clone()),
        Some(Observed::Invalid(_)) | None => None,
    };
    let settled = settled_deployments(snapshot);
    for pool in read_mut(&mut snapshot.pools).filter(|pool| !settled.contains(&pool.object.name)) {
        // `machineset_preflight.go`: the same minor, unless that isn't asked.
        let makes = control_plane.as_ref().is_none_or(|version| match pool.joins {
            JoinRule::SameMinor => pool.version.minor() == version.minor(),
            JoinRule::AnyMinor => pool.version.minor() <= version.minor(),
        });
        let goes = match pool.rollout {
            Rollout::Rolling => true,
            Rollout::OnDelete => on_delete == OnDelete::Deleted,
        };
        let stands = pool.object.lifecycle != Lifecycle::Active || pool.rollout_paused.is_some();
        if stands || !makes {
            continue;
        }
        let parts = Parts {
            machines: &mut snapshot.machines,
            sets: &mut snapshot.machine_sets,
            now,
        };
        if let Some(count) = converge_deployment(pool, parts, goes) {
            replaced.insert(PoolId::Workers(pool.object.name.clone()), count);
        }
    }
    for pool in read_mut(&mut snapshot.machine_pools) {
        let mut all = read_mut(&mut snapshot.infrastructure_pools);
        let infrastructure = all.find(|other| other.is(&pool.infrastructure));
        let mut changed = says_paused(&mut pool.object, &pool.paused_by);
        let mut is_paused = pool.paused_by != PausedBy::NoOne;
        if let Some(infrastructure) = infrastructure {
            changed |= says_paused(&mut infrastructure.object, &infrastructure.paused_by);
            is_paused |= infrastructure.paused_by != PausedBy::NoOne;
            if !is_paused {
                changed |= observe(&mut infrastructure.object);
            }
        }
        let made = if is_paused {
            None
        } else {
            converge_machine_pool(pool, &mut snapshot.machines, now)
        };
        if made.is_some() || changed {
            replaced.insert(PoolId::MachinePool(pool.object.name.clone()), made.unwrap_or(0));
        }
    }
    replaced
}

/// The MachineDeployments of which nothing changes by waiting. Of a hundred that is all but a few, each time.
fn settled_deployments(snapshot: &Snapshot) -> BTreeSet<String> {
    let mut sets: BTreeMap<&str, Vec<&MachineSet>> = BTreeMap::new();
    for set in snapshot.machine_sets.iter().filter_map(Observed::read) {
        if let Some(pool) = &set.pool {
            sets.entry(pool.as_str()).or_default().push(set);
        }
    }
    let mut machines: BTreeMap<&str, Vec<&Machine>> = BTreeMap::new();
    for machine in snapshot.machines.iter().filter_map(Observed::read) {
        if let Some(PoolId::Workers(pool)) = &machine.pool {
            machines.entry(pool.as_str()).or_default().push(machine);
        }
    }
    let pools = snapshot.pools.iter().filter_map(Observed::read);
    let settled = pools.filter(|pool| {
        let name = pool.object.name.as_str();
        let sets = sets.get(name).map(Vec::as_slice).unwrap_or_default();
        let machines = machines.get(name).map(Vec::as_slice).unwrap_or_default();
        Deployed::of(pool, sets, machines, snapshot.now).is_settled(pool)
    });
    settled.map(|pool| pool.object.name.clone()).collect()
}

/// What there is of a MachineDeployment.
struct Deployed {
    has_old_set: bool,
    has_new_set: bool,
    machines: usize,
    /// How many of them are as its spec says.
    right: usize,
}

impl Deployed {
    fn of(pool: &MachineDeployment, sets: &[&MachineSet], machines: &[&Machine], now: Timestamp) -> Self {
        let is_new = |set: &MachineSet| {
            set.version == pool.version && set.infrastructure == pool.infrastructure && set.bootstrap == pool.bootstrap
        };
        let template = Some(&pool.infrastructure.name);
        let is_right = |machine: &&&Machine| {
            is_there(machine, &pool.version, template) && !is_expired(machine, pool.rollout_after, now)
        };
        Self {
            has_old_set: sets.iter().any(|set| set.replicas > 0 && !is_new(set)),
            has_new_set: sets.iter().any(|set| is_new(set)),
            machines: machines.len(),
            right: machines.iter().filter(is_right).count(),
        }
    }

    const fn all_right(&self) -> bool {
        self.right == self.machines
    }

    /// Whether its controller has seen its spec, and all is as that says.
    fn is_settled(&self, pool: &MachineDeployment) -> bool {
        let object = &pool.object;
        object.observed_generation >= object.generation
            && self.has_new_set
            && !self.has_old_set
            && self.all_right()
            && self.machines >= wanted(pool)
    }
}

fn wanted(pool: &MachineDeployment) -> usize {
    usize::try_from(pool.replicas).unwrap_or(usize::MAX)
}

/// Its controller has seen its spec, and all that it says of its machines is of before.
fn observe(object: &mut Object) -> bool {
    let is_late = object.observed_generation < object.generation;
    object.observed_generation = object.generation;
    is_late
}

/// What it said of its machines is over.
fn forget_conditions(object: &mut Object) {
    object.conditions.retain(|condition| condition.kind == "Paused");
}

/// The condition that says whether its controller leaves it alone, where it has one.
fn says_paused(object: &mut Object, paused_by: &PausedBy) -> bool {
    let (status, generation) = match paused_by {
        PausedBy::NoOne => (ConditionStatus::False, object.generation),
        PausedBy::User | PausedBy::Upgrade(_) => (ConditionStatus::True, object.generation),
    };
    let Some(condition) = object
        .conditions
        .iter_mut()
        .find(|condition| condition.kind == "Paused")
    else {
        return false;
    };
    let said = Condition {
        status,
        observed_generation: generation,
        ..condition.clone()
    };
    let changed = *condition != said;
    *condition = said;
    changed
}

fn converge_control_plane(
    control_plane: &mut ControlPlane,
    machines: &mut [Observed<Machine>],
    now: Timestamp,
) -> Option<u32> {
    let (version, template) = (control_plane.version.clone(), control_plane.infrastructure.clone());
    let is_late = observe(&mut control_plane.object);
    let rolls = control_plane.object.conditions.iter().any(|condition| {
        condition.kind == instar_capi::Condition::ROLLING_OUT && condition.status == ConditionStatus::True
    });
    let counts = control_plane.replicas;
    let is_counted = counts.is_none_or(|counts| {
        [counts.total, counts.ready, counts.up_to_date]
            .iter()
            .all(|count| *count == counts.desired)
    });
    let observed = !control_plane.observed.is_empty()
        && control_plane
            .observed
            .iter()
            .all(|seen| seen.is_same_upstream(&version));
    let mut own: Vec<&mut Machine> = read_mut(machines)
        .filter(|machine| machine.pool == Some(PoolId::ControlPlane))
        .collect();
    let name = template.map(|template| template.name);
    let settled = own.iter().all(|machine| {
        is_there(machine, &version, name.as_ref()) && !is_expired(machine, control_plane.rollout_after, now)
    });
    if !is_late && !rolls && is_counted && observed && settled {
        return None;
    }
    let there = u32::try_from(own.len()).unwrap_or(u32::MAX);
    let desired = counts.map_or(there, |counts| counts.desired);
    for machine in &mut own {
        become_new(machine, &version, name.as_ref(), now);
    }
    control_plane.observed = vec![version];
    control_plane.replicas = counts.map(|_| Replicas {
        desired,
        total: desired,
        ready: desired,
        up_to_date: desired,
    });
    forget_conditions(&mut control_plane.object);
    Some(desired)
}

struct Parts<'a> {
    machines: &'a mut Vec<Observed<Machine>>,
    sets: &'a mut Vec<Observed<MachineSet>>,
    now: Timestamp,
}

fn converge_deployment(pool: &mut MachineDeployment, parts: Parts<'_>, goes: bool) -> Option<u32> {
    let Parts { machines, sets, now } = parts;
    let name = pool.object.name.clone();
    let id = PoolId::Workers(name.clone());
    let sets_of_pool = |set: &&MachineSet| set.pool.as_ref() == Some(&name);
    let own_sets: Vec<&MachineSet> = sets.iter().filter_map(Observed::read).filter(sets_of_pool).collect();
    let machines_of_pool = |machine: &&Machine| machine.pool.as_ref() == Some(&id);
    let own: Vec<&Machine> = machines
        .iter()
        .filter_map(Observed::read)
        .filter(machines_of_pool)
        .collect();
    let there = Deployed::of(pool, &own_sets, &own, now);
    if there.is_settled(pool) {
        return None;
    }
    let is_late = observe(&mut pool.object);
    let template = Some(&pool.infrastructure.name);
    let (has_old_set, all_right) = (there.has_old_set, there.all_right());
    if !goes && (has_old_set || !all_right) {
        // What is there waits for its user; that the spec was seen is all that happens.
        return is_late.then_some(0);
    }
    // All machines of a pool are of one MachineSet in the end, also where only its bootstrap has changed.
    let kept = if has_old_set { 0 } else { there.right };
    let count = wanted(pool).saturating_sub(kept);
    sets.retain(|set| set.read().is_none_or(|set| set.pool.as_ref() != Some(&name)));
    machines.retain(|machine| machine.read().is_none_or(|machine| machine.pool.as_ref() != Some(&id)));
    sets.push(Observed::Read(MachineSet {
        name: format!("{name}-forecast"),
        pool: Some(name.clone()),
        version: pool.version.clone(),
        infrastructure: pool.infrastructure.clone(),
        bootstrap: pool.bootstrap.clone(),
        replicas: pool.replicas,
        lifecycle: Lifecycle::Active,
        created: Some(now),
        blocked: None,
    }));
    machines.extend((0..pool.replicas).map(|number| {
        let mut machine = blank(format!("{name}-forecast-{number}"), id.clone(), pool);
        become_new(&mut machine, &pool.version, template, now);
        Observed::Read(machine)
    }));
    forget_conditions(&mut pool.object);
    Some(u32::try_from(count).unwrap_or(u32::MAX))
}

fn converge_machine_pool(pool: &mut MachinePool, machines: &mut [Observed<Machine>], now: Timestamp) -> Option<u32> {
    let version = pool.version.clone();
    let is_late = observe(&mut pool.object);
    let is_counted = pool.replicas.is_none_or(|counts| {
        [counts.total, counts.ready, counts.up_to_date]
            .iter()
            .all(|count| *count == counts.desired)
    });
    let observed = pool.observed.iter().all(|seen| seen.is_same_upstream(&version));
    let name = pool.object.name.clone();
    let is_own = |machine: &Machine| machine.pool.is_none() && machine.maker.as_ref() == Some(&name);
    let mut own: Vec<&mut Machine> = read_mut(machines).filter(|machine| is_own(machine)).collect();
    let settled = own.iter().all(|machine| is_there(machine, &version, None));
    if !is_late && is_counted && observed && settled {
        return None;
    }
    for machine in &mut own {
        become_new(machine, &version, None, now);
    }
    let there = u32::try_from(pool.observed.len()).unwrap_or(u32::MAX);
    let desired = pool.replicas.map_or(there, |counts| counts.desired);
    if desired > 0 {
        pool.observed = vec![version; pool.observed.len().max(1)];
    }
    pool.replicas = pool.replicas.map(|_| Replicas {
        desired,
        total: desired,
        ready: desired,
        up_to_date: desired,
    });
    Some(desired)
}

/// Whether a machine is as the spec of its pool says, and runs.
fn is_there(machine: &Machine, version: &instar_domain::KubeVersion, template: Option<&String>) -> bool {
    let runs = match &machine.node {
        Node::Absent | Node::Joined { version: None, .. } => false,
        Node::Joined {
            version: Some(node), ..
        } => node.is_same_upstream(version),
    };
    let same_template = template.is_none() || machine.template.is_none() || machine.template.as_ref() == template;
    machine.version == *version
        && same_template
        && runs
        && machine.phase == MachinePhase::Running
        && machine.lifecycle == Lifecycle::Active
}

/// Whether `spec.rollout.after` has come, and the machine is from before it.
fn is_expired(machine: &Machine, after: Option<Timestamp>, now: Timestamp) -> bool {
    after.is_some_and(|after| after < now && machine.rollout_time.is_some_and(|made| made < after))
}

fn blank(name: String, pool: PoolId, of: &MachineDeployment) -> Machine {
    Machine {
        name,
        pool: Some(pool),
        maker: None,
        version: of.version.clone(),
        template: Some(of.infrastructure.name.clone()),
        phase: MachinePhase::Running,
        node: Node::Absent,
        node_readiness: NodeReadiness::Unknown { message: String::new() },
        lifecycle: Lifecycle::Active,
        created: None,
        deletion_waits_for: None,
        up_to_date: UpToDate::Unknown,
        rollout_time: None,
    }
}

/// In its place is one that is as the spec says, and runs.
fn become_new(machine: &mut Machine, version: &instar_domain::KubeVersion, template: Option<&String>, now: Timestamp) {
    machine.version = version.clone();
    if let (Some(present), Some(template)) = (&mut machine.template, template) {
        present.clone_from(template);
    }
    machine.phase = MachinePhase::Running;
    machine.node = Node::Joined {
        name: machine.name.clone(),
        version: Some(version.clone()),
    };
    machine.node_readiness = NodeReadiness::Ready { since: now };
    machine.lifecycle = Lifecycle::Active;
    machine.created = None;
    machine.deletion_waits_for = None;
    machine.up_to_date = UpToDate::Unknown;
    machine.rollout_time = Some(now);
}
