//! The snapshot of a topology cluster, read: what is the topology controller's, in order.

use instar_capi::{ManagedBy, labels::TOPOLOGY_DEPLOYMENT_NAME};
use instar_domain::KubeVersion;
use jiff::{civil::Date, tz::TimeZone};

use crate::{
    cluster_api::machines_there,
    decision::Waiting,
    observed::read,
    pool_id::PoolId,
    settled::{control_plane_settled, converged, is_only_unready, replaces, rolled_out},
    snapshot::{
        ClusterKind, ConditionStatus, ControlPlane, Flavor, Machine, MachineDeployment, MachinePool, MachineSet,
        Snapshot, Topology,
    },
};

/// A topology cluster of which everything could be read. What a user put beside the topology is
/// left out: neither Cluster API nor Instar moves it.
pub(super) struct TopologyView<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) topology: &'a Topology,
    pub(super) today: Date,
    pub(super) control_plane: &'a ControlPlane,
    pub(super) pools: Vec<&'a MachineDeployment>,
    pub(super) machine_pools: Vec<&'a MachinePool>,
    pub(super) machine_sets: Vec<&'a MachineSet>,
    machines: Vec<&'a Machine>,
}

impl<'a> TopologyView<'a> {
    pub(super) fn read(snapshot: &'a Snapshot) -> Result<Self, Vec<Waiting>> {
        let mut unreadable: Vec<_> = snapshot.unreadable.iter().collect();
        let mut pools = read(&snapshot.pools, &mut unreadable);
        let mut machine_sets = read(&snapshot.machine_sets, &mut unreadable);
        let mut machine_pools = read(&snapshot.machine_pools, &mut unreadable);
        let mut machines = read(&snapshot.machines, &mut unreadable);
        let topology = match &snapshot.cluster.kind {
            ClusterKind::Classic(_) => None,
            ClusterKind::Topology(topology) => topology.read_or(&mut unreadable),
        };
        let control_plane = match &snapshot.control_plane {
            None => return Err(vec![Waiting::NoControlPlane]),
            Some(control_plane) => control_plane.read_or(&mut unreadable),
        };
        let (Some(topology), Some(control_plane), true) = (topology, control_plane, unreadable.is_empty()) else {
            unreadable.sort();
            return Err(unreadable.into_iter().cloned().map(Waiting::Unreadable).collect());
        };
        pools.retain(|pool| pool.object.managed_by == ManagedBy::Topology);
        machine_pools.retain(|pool| pool.object.managed_by == ManagedBy::Topology);
        let is_of_pool = |name: &String| pools.iter().any(|pool| pool.object.name == *name);
        machine_sets.retain(|set| set.pool.as_ref().is_some_and(is_of_pool));
        machines.retain(|machine| match &machine.pool {
            None | Some(PoolId::MachinePool(_)) => false,
            Some(PoolId::ControlPlane) => true,
            Some(PoolId::Workers(name)) => is_of_pool(name),
        });
        // Lists come in any order; names decide.
        pools.sort_by(|a, b| a.object.name.cmp(&b.object.name));
        machine_sets.sort_by(|a, b| a.name.cmp(&b.name));
        machine_pools.sort_by(|a, b| a.object.name.cmp(&b.object.name));
        machines.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self {
            snapshot,
            topology,
            today: snapshot.now.to_zoned(TimeZone::UTC).date(),
            control_plane,
            pools,
            machine_pools,
            machine_sets,
            machines,
        })
    }

    pub(super) fn machines_of(&self, pool: &PoolId) -> impl Iterator<Item = &'a Machine> {
        let machines = self.machines.iter().copied();
        machines.filter(move |machine| machine.pool.as_ref() == Some(pool))
    }

    /// Whether something says or runs another version than the Cluster's.
    pub(super) fn is_moving(&self) -> bool {
        let wanted = &self.topology.version;
        self.versions().any(|version| version != wanted)
    }

    /// Whether the control plane is kubeadm's: where another one stands admission doesn't see, without which it takes no
    /// version that goes down.
    pub(super) const fn is_kubeadms(&self) -> bool {
        match self.control_plane.flavor {
            Flavor::Kubeadm { .. } => true,
            Flavor::Other => false,
        }
    }

    /// Whether the topology controller has seen the Cluster as it is, and has nothing left to do.
    pub(super) fn is_reconciled(&self) -> bool {
        self.topology.reconciled().is_some_and(|condition| {
            condition.status == ConditionStatus::True
                && condition.observed_generation >= self.snapshot.cluster.generation
        })
    }

    /// The lowest version that something says, or that the Cluster carries pins for: where an upgrade
    /// that is under way began.
    pub(super) fn lowest(&self) -> &'a KubeVersion {
        let pins = self.topology.pins.iter();
        let covered = pins.flat_map(|pins| pins.adopted.iter().chain(pins.releases.keys()));
        let lowest = self.versions().chain(covered).min();
        lowest.unwrap_or(&self.topology.version)
    }

    fn versions(&self) -> impl Iterator<Item = &'a KubeVersion> {
        let sets = self.machine_sets.iter().filter(|set| set.replicas > 0);
        std::iter::once(&self.control_plane.version)
            .chain(self.pools.iter().map(|pool| &pool.version))
            .chain(sets.map(|set| &set.version))
            .chain(self.machine_pools.iter().map(|pool| &pool.version))
            .chain(self.machines.iter().map(|machine| &machine.version))
    }

    /// What workers say or run.
    pub(super) fn workers(&self) -> impl Iterator<Item = &'a KubeVersion> {
        let machines = self.machines.iter();
        let machines = machines.filter(|machine| machine.pool != Some(PoolId::ControlPlane));
        let pools = self.pools.iter().map(|pool| &pool.version);
        pools
            .chain(self.machine_pools.iter().map(|pool| &pool.version))
            .chain(self.machine_pools.iter().flat_map(|pool| &pool.observed))
            .chain(machines.map(|machine| &machine.version))
    }

    /// Whether the control plane is all that its spec says, and nothing else.
    pub(super) fn control_plane_settled(&self) -> bool {
        let machines: Vec<_> = self.machines_of(&PoolId::ControlPlane).collect();
        control_plane_settled(self.control_plane, &machines)
    }

    /// Whether Cluster API has begun with the workers, and the control plane isn't ready though no machine of it is
    /// replaced: it had come to its version before, so that is no rollout.
    pub(super) fn workers_have_begun(&self) -> bool {
        let wanted = &self.topology.version;
        let machines: Vec<_> = self.machines_of(&PoolId::ControlPlane).collect();
        let pools = self.pools.iter().map(|pool| &pool.version);
        let mut pools = pools.chain(self.machine_pools.iter().map(|pool| &pool.version));
        let there = machines_there(self.control_plane, &machines);
        is_only_unready(self.control_plane, &machines, there) && pools.any(|version| version == wanted)
    }

    /// Whether a pool is all that its spec says, and nothing else.
    pub(super) fn pool_settled(&self, pool: &MachineDeployment) -> bool {
        let id = PoolId::Workers(pool.object.name.clone());
        let machines: Vec<&Machine> = self.machines_of(&id).collect();
        rolled_out(pool, self.machine_sets.iter().copied(), &machines)
            && machines.iter().all(|machine| converged(machine, &pool.version))
    }

    /// Whether machines of a pool are still to be replaced.
    pub(super) fn replaces(&self, pool: &MachineDeployment) -> bool {
        let id = PoolId::Workers(pool.object.name.clone());
        let machines: Vec<&Machine> = self.machines_of(&id).collect();
        replaces(pool, self.machine_sets.iter().copied(), &machines)
    }

    /// Whether some machine is at another version than its pool says.
    pub(super) fn is_rolling(&self, pool: &MachineDeployment) -> bool {
        let id = PoolId::Workers(pool.object.name.clone());
        self.machines_of(&id).any(|machine| machine.version != pool.version)
    }

    /// Where the order that is asked for has a pool, by its name in the topology or its own; the others come after it.
    pub(super) fn place(&self, pool: &MachineDeployment) -> usize {
        let in_topology = pool.labels.get(TOPOLOGY_DEPLOYMENT_NAME);
        let is_called = |name: &String| *name == pool.object.name || Some(name) == in_topology;
        let mut order = self.snapshot.upgrade_spec.order.iter();
        order.position(is_called).unwrap_or(usize::MAX)
    }

    pub(super) fn machine_pool_settled(pool: &MachinePool) -> bool {
        pool.observed.iter().all(|seen| seen.is_build_of(&pool.version))
    }
}
