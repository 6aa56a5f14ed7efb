//! What Cluster API says of an object in its conditions, passed on in its words.

use instar_capi::{self as capi, Lifecycle, WorkerKind};

use crate::{
    decision::Waiting,
    settled::{converged, matches_spec},
    snapshot::{Condition, ConditionStatus, ControlPlane, Machine, MachineDeployment, MachineSet, Object},
};

/// The conditions of a control plane or a MachineDeployment that say what it is at.
const TELLING: [&str; 4] = [
    "Paused",
    capi::Condition::ROLLING_OUT,
    "ScalingDown",
    capi::Condition::SCALING_UP,
];

/// The conditions of a control plane or a pool that tell of its health: they ought to be True.
const HEALTH: [&str; 4] = [
    "Available",
    "EtcdClusterHealthy",
    "ControlPlaneComponentsHealthy",
    capi::Condition::MACHINES_READY,
];

impl Condition {
    /// Whether it is one of those that are read of a control plane or a pool, and says something: what it is at, or that
    /// not all is well.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.tells_what_it_is_at() || (self.status != ConditionStatus::True && HEALTH.contains(&self.kind.as_str()))
    }

    fn tells_what_it_is_at(&self) -> bool {
        self.status == ConditionStatus::True && TELLING.contains(&self.kind.as_str()) && !self.message.is_empty()
    }

    fn tells_what_is_not_ready(&self) -> bool {
        self.status != ConditionStatus::True && self.kind == capi::Condition::MACHINES_READY && !self.message.is_empty()
    }
}

/// What an object that hasn't got to what its spec says is at.
pub(crate) fn said(object: &Object) -> impl Iterator<Item = Waiting> {
    conditions(object, Condition::tells_what_it_is_at)
}

/// Why the MachineSets of a pool that are as its spec says make no machine: Cluster API says it of them alone, and of their
/// MachineDeployment only that it scales.
pub(crate) fn makes_none<'a>(
    pool: &MachineDeployment,
    sets: impl IntoIterator<Item = &'a MachineSet>,
) -> impl Iterator<Item = Waiting> {
    let of_pool = sets.into_iter().filter(|set| {
        set.pool.as_ref() == Some(&pool.object.name)
            && set.version == pool.version
            && set.infrastructure == pool.infrastructure
    });
    of_pool.filter_map(|set| {
        Some(Waiting::ClusterApi {
            kind: WorkerKind::MachineSet.to_string(),
            name: set.name.clone(),
            condition: capi::Condition::SCALING_UP.to_owned(),
            message: set.blocked.clone()?,
        })
    })
}

/// How many machines of a control plane are as its spec says, and ready. Where there are no Machines, its own counts
/// say at least how many. Of which template a Machine is need not be known: then no more are than are counted.
pub(crate) fn machines_there(control_plane: &ControlPlane, machines: &[&Machine]) -> u32 {
    if machines.is_empty() {
        return control_plane.replicas.map_or(0, |counts| {
            let both = counts.up_to_date.saturating_add(counts.ready);
            both.saturating_sub(counts.total)
        });
    }
    let (version, template) = (&control_plane.version, control_plane.infrastructure.as_ref());
    let there = machines
        .iter()
        .filter(|machine| matches_spec(machine, version, template) && converged(machine, version));
    let (known, unknown): (Vec<&Machine>, Vec<&Machine>) =
        there.copied().partition(|machine| machine.template.is_some());
    let object = &control_plane.object;
    let counted = match control_plane.replicas {
        Some(_) if object.observed_generation < object.generation => 0,
        Some(counts) => counts.up_to_date,
        None => u32::MAX,
    };
    let number = |machines: Vec<_>| u32::try_from(machines.len()).unwrap_or(u32::MAX);
    number(known).saturating_add(number(unknown).min(counted))
}

/// Why a control plane isn't settled though all its machines are there: those that Cluster API finds not ready.
pub(crate) fn not_ready_though_there<'a>(
    control_plane: &'a ControlPlane,
    machines: &[&Machine],
) -> impl Iterator<Item = Waiting> + use<'a> {
    let there = machines_there(control_plane, machines);
    let all = control_plane.replicas.is_none_or(|counts| there >= counts.desired);
    let object = Some(&control_plane.object).filter(|_| all);
    object
        .into_iter()
        .flat_map(|object| conditions(object, Condition::tells_what_is_not_ready))
}

/// What the deletion of those machines waits for that are being deleted. The words change as often as Cluster API
/// writes them, with each step of a deletion and in a drain at most every 20 seconds.
pub(crate) fn deletions<'a>(machines: impl IntoIterator<Item = &'a Machine>) -> impl Iterator<Item = Waiting> {
    let going = machines
        .into_iter()
        .filter(|machine| machine.lifecycle == Lifecycle::Deleting);
    going.filter_map(|machine| {
        Some(Waiting::ClusterApi {
            kind: WorkerKind::Machine.to_string(),
            name: machine.name.clone(),
            condition: capi::Machine::DELETING.to_owned(),
            message: machine.deletion_waits_for.clone()?,
        })
    })
}

/// One condition in Cluster API's words.
pub(crate) fn says(kind: &str, name: &str, condition: &Condition) -> Waiting {
    Waiting::ClusterApi {
        kind: kind.to_owned(),
        name: name.to_owned(),
        condition: condition.kind.clone(),
        message: condition.message.clone(),
    }
}

fn conditions(object: &Object, is: fn(&Condition) -> bool) -> impl Iterator<Item = Waiting> {
    let mut telling: Vec<&Condition> = object.conditions.iter().filter(|condition| is(condition)).collect();
    telling.sort();
    telling
        .into_iter()
        .map(|condition| says(&object.kind, &object.name, condition))
}
