//! Whether what runs is what a spec says: the same question of classic and of topology clusters.

use instar_capi::{self as capi, Lifecycle, ManagedBy};
use instar_domain::KubeVersion;
use jiff::Timestamp;

use crate::{
    decision::Waiting,
    observed::Observed,
    pause::PausedBy,
    pool_id::PoolId,
    snapshot::{
        ConditionStatus, ControlPlane, InfrastructurePool, Machine, MachineDeployment, MachinePhase, MachinePool,
        MachineSet, Node, Object, Snapshot, TemplateRef,
    },
};

/// Whether some object of a topology cluster says another version than the Cluster: it moves,
/// whoever edited the version.
pub(crate) fn is_topology_moving(snapshot: &Snapshot) -> bool {
    let Some(topology) = snapshot.cluster.topology() else {
        return false;
    };
    let control_plane = snapshot.control_plane.iter().filter_map(Observed::read);
    let pools = snapshot.pools.iter().filter_map(Observed::read);
    let pools = pools.filter(|pool| pool.object.managed_by == ManagedBy::Topology);
    let machines = snapshot.machines.iter().filter_map(Observed::read);
    let machines = machines.filter(|machine| machine.pool == Some(PoolId::ControlPlane));
    control_plane
        .map(|control_plane| &control_plane.version)
        .chain(pools.map(|pool| &pool.version))
        .chain(machines.map(|machine| &machine.version))
        .any(|version| *version != topology.version)
}

/// Whether a machine is as the spec of its pool says.
pub(crate) fn matches_spec(machine: &Machine, version: &KubeVersion, template: Option<&TemplateRef>) -> bool {
    let from = machine.template.as_ref();
    let same_template = template.is_none_or(|template| from.is_none_or(|from| *from == template.name));
    machine.version == *version && same_template
}

/// Whether a machine runs that version, and so does its node. A kubelet says its distribution's mark too, which the
/// Machine's version need not have.
pub(crate) fn converged(machine: &Machine, version: &KubeVersion) -> bool {
    let node = match &machine.node {
        Node::Absent | Node::Joined { version: None, .. } => false,
        Node::Joined {
            version: Some(node), ..
        } => node.is_same_upstream(version),
    };
    machine.version == *version && machine.phase == MachinePhase::Running && node
}

/// Those of a pool's new machines that aren't there yet, and why.
pub(crate) fn unready<'a>(
    machines: impl IntoIterator<Item = &'a Machine>,
    version: &KubeVersion,
) -> impl Iterator<Item = Waiting> {
    machines
        .into_iter()
        .filter(|machine| machine.lifecycle == Lifecycle::Active && !converged(machine, version))
        .map(|machine| not_ready(machine, version))
}

fn not_ready(machine: &Machine, version: &KubeVersion) -> Waiting {
    let (name, phase) = (machine.name.clone(), machine.phase);
    match &machine.node {
        Node::Joined {
            version: Some(node), ..
        } if !node.is_same_upstream(version) => Waiting::NodeVersion {
            machine: name,
            version: version.clone(),
            node: node.clone(),
        },
        Node::Absent | Node::Joined { .. } => Waiting::MachineNotReady { name, phase },
    }
}

/// Whether a control plane is all that its spec says, and nothing else. What was observed of an older
/// edit counts for nothing. Cluster API writes its conditions before its counts: after a swap that changes no version,
/// full counts are of before while the condition says that machines are replaced.
pub(crate) fn control_plane_settled(control_plane: &ControlPlane, machines: &[&Machine]) -> bool {
    let (object, version) = (&control_plane.object, &control_plane.version);
    let template = control_plane.infrastructure.as_ref();
    let observed = &control_plane.observed;
    // Where there are Machines, they say which build they run.
    let runs =
        |seen: &KubeVersion| seen.is_build_of(version) || (!machines.is_empty() && seen.is_same_upstream(version));
    object.observed_generation >= object.generation
        && !is_rolling_out(object)
        && !observed.is_empty()
        && observed.iter().all(runs)
        && control_plane.replicas.is_none_or(|counts| {
            let counted = [counts.total, counts.ready, counts.up_to_date];
            counted.iter().all(|count| *count == counts.desired)
        })
        && machines
            .iter()
            .all(|machine| matches_spec(machine, version, template) && converged(machine, version))
}

/// Whether some machines of a control plane aren't made from what its spec says. One that is, and isn't well, is no
/// rollout.
pub(crate) fn control_plane_rolls(control_plane: &ControlPlane, machines: &[&Machine]) -> bool {
    let template = control_plane.infrastructure.as_ref();
    machines
        .iter()
        .any(|machine| !matches_spec(machine, &control_plane.version, template))
        || control_plane
            .replicas
            .is_some_and(|counts| counts.up_to_date < counts.total)
        || control_plane.object.observed_generation < control_plane.object.generation
}

/// Whether all machines of a control plane are as its spec says and none is replaced, though it isn't settled: it isn't
/// ready. `there` are those that are as the spec says.
pub(crate) fn is_only_unready(control_plane: &ControlPlane, machines: &[&Machine], there: u32) -> bool {
    let desired = control_plane.replicas.map_or(0, |counts| counts.desired);
    let is_complete = desired > 0 && there >= desired;
    is_complete && !control_plane_rolls(control_plane, machines) && !is_rolling_out(&control_plane.object)
}

/// Whether a MachinePool is all that its spec says, and nothing else. Without Machines, its counts say nothing of
/// versions, so those that its nodes run have to.
pub(crate) fn machine_pool_settled(
    pool: &MachinePool,
    infrastructure: &InfrastructurePool,
    machines: &[&Machine],
) -> bool {
    let is_of_this_edit = |object: &Object, paused_by: &PausedBy| {
        let paused = object.paused().map(|paused| paused.status) == Some(ConditionStatus::True);
        object.observed_generation >= object.generation && (!paused || *paused_by == PausedBy::User)
    };
    let is_counted = pool.replicas.is_none_or(|counts| {
        let counted = [counts.total, counts.ready, counts.up_to_date];
        counted.iter().all(|count| *count == counts.desired)
    });
    let is_empty = pool.replicas.is_some_and(|counts| counts.desired == 0);
    is_of_this_edit(&pool.object, &pool.paused_by)
        && is_of_this_edit(&infrastructure.object, &infrastructure.paused_by)
        && is_counted
        && (is_empty || !pool.observed.is_empty())
        && pool.observed.iter().all(|seen| seen.is_same_upstream(&pool.version))
        && machines.iter().all(|machine| converged(machine, &pool.version))
}

fn is_rolling_out(object: &Object) -> bool {
    let mut conditions = object.conditions.iter();
    conditions
        .any(|condition| condition.kind == capi::Condition::ROLLING_OUT && condition.status == ConditionStatus::True)
}

/// Whether machines of a pool are still to be replaced. One that is being deleted is under way.
pub(crate) fn replaces<'a>(
    pool: &MachineDeployment,
    mut sets: impl Iterator<Item = &'a MachineSet>,
    machines: &[&Machine],
) -> bool {
    let is_old = |set: &MachineSet| {
        set.version != pool.version || set.infrastructure != pool.infrastructure || set.bootstrap != pool.bootstrap
    };
    sets.any(|set| set.pool.as_ref() == Some(&pool.object.name) && set.replicas > 0 && is_old(set))
        || machines.iter().any(|machine| {
            machine.lifecycle != Lifecycle::Deleting
                && !matches_spec(machine, &pool.version, Some(&pool.infrastructure))
        })
}

/// Whether a pool is all that its spec says, and nothing else, be it ready or not. An autoscaler
/// moves the count of replicas at any time, so the MachineSet's is taken and not the pool's.
pub(crate) fn rolled_out<'a>(
    pool: &MachineDeployment,
    sets: impl Iterator<Item = &'a MachineSet>,
    machines: &[&Machine],
) -> bool {
    let makes = |set: &&MachineSet| {
        set.version == pool.version && set.infrastructure == pool.infrastructure && set.bootstrap == pool.bootstrap
    };
    let (new, old): (Vec<_>, Vec<_>) = sets
        .filter(|set| set.pool.as_ref() == Some(&pool.object.name))
        .partition(makes);
    let wanted = new.iter().map(|set| set.replicas).fold(0, u32::saturating_add);
    pool.object.observed_generation >= pool.object.generation
        && old.iter().all(|set| set.replicas == 0)
        && u32::try_from(machines.len()).is_ok_and(|there| there >= wanted)
        && machines
            .iter()
            .all(|machine| matches_spec(machine, &pool.version, Some(&pool.infrastructure)))
}

/// When a machine was made that has had no node for long.
pub(crate) fn stuck_since(snapshot: &Snapshot, machine: &Machine) -> Option<Timestamp> {
    let since = machine.created?;
    match (machine.lifecycle, &machine.node) {
        (Lifecycle::Active | Lifecycle::Paused, Node::Absent) => {
            (snapshot.now.duration_since(since) >= snapshot.machine_start).then_some(since)
        }
        (Lifecycle::Deleting, _) | (_, Node::Joined { .. }) => None,
    }
}
