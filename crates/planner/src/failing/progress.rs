//! Whether a step makes progress: what counts are machines that become ready.

use instar_api::OnClose;
use instar_capi::Lifecycle;
use instar_domain::KubeVersion;
use jiff::Timestamp;

use super::measured::deadline;
use crate::{
    failure::Failure,
    observed::Observed,
    pool_id::PoolId,
    restart,
    settled::matches_spec,
    snapshot::{ControlPlane, Machine, MachineDeployment, NodeReadiness, Object, Rollout, Snapshot, TemplateRef},
    swap_history::SwapEntry,
};

/// The control plane, or a MachineDeployment that replaces its machines itself.
pub(super) struct Pool<'a> {
    pub(super) id: PoolId,
    object: &'a Object,
    version: &'a KubeVersion,
    template: Option<&'a TemplateRef>,
    /// How many machines it should have; absent where that isn't known.
    replicas: Option<u32>,
}

impl<'a> Pool<'a> {
    pub(super) fn control_plane(control_plane: &'a ControlPlane) -> Self {
        Self {
            id: PoolId::ControlPlane,
            object: &control_plane.object,
            version: &control_plane.version,
            template: control_plane.infrastructure.as_ref(),
            replicas: control_plane.replicas.map(|counts| counts.desired),
        }
    }

    pub(super) fn workers(pool: &'a MachineDeployment) -> Option<Self> {
        match pool.rollout {
            // What closed windows have stopped is waited for.
            Rollout::Rolling if pool.rollout_paused.is_none() => {}
            Rollout::Rolling | Rollout::OnDelete => return None,
        }
        Some(Self {
            id: PoolId::Workers(pool.object.name.clone()),
            object: &pool.object,
            version: &pool.version,
            template: Some(&pool.infrastructure),
            replicas: Some(pool.replicas),
        })
    }
}

/// A pool on its way to what its spec says.
pub(super) struct Step<'a> {
    pool: Pool<'a>,
    /// The swap that it goes by; absent where this upgrade has not swapped it, or another client has changed it since.
    swap: Option<&'a SwapEntry>,
    /// The machines that are as the spec says.
    new: Vec<&'a Machine>,
    old: Vec<&'a Machine>,
}

impl<'a> Step<'a> {
    pub(super) fn of(snapshot: &'a Snapshot, pool: Pool<'a>) -> Self {
        let machines = snapshot.machines.iter().filter_map(Observed::read);
        let mut machines: Vec<&Machine> = machines
            .filter(|machine| machine.pool.as_ref() == Some(&pool.id))
            .collect();
        machines.sort_by(|a, b| a.name.cmp(&b.name));
        let (new, old) = machines.into_iter().partition(|machine| {
            matches_spec(machine, pool.version, pool.template) && !restart::is_replaced(snapshot, machine)
        });
        let history = pool.object.swap_history.as_ref();
        let swap = history.and_then(|history| history.last_of(&snapshot.upgrade_spec.id()));
        let template = pool.template.map(|template| &template.name);
        let swap = swap.filter(|swap| swap.after.is_at(pool.version, template));
        Self { pool, swap, new, old }
    }

    pub(super) fn stalled(&self, snapshot: &Snapshot) -> Option<Failure> {
        let deadline = deadline(snapshot);
        let since = self.last_progress(snapshot)?;
        (snapshot.now.duration_since(since) >= deadline).then(|| Failure::StalledStep {
            pool: self.pool.id.clone(),
            since,
            deadline,
            machine: self
                .missing()
                .chain(self.unready())
                .next()
                .map(|machine| machine.name.clone()),
        })
    }

    /// When it is stalled, if nothing changes until then.
    pub(super) fn deadline(&self, snapshot: &Snapshot) -> Option<Timestamp> {
        let since = self.last_progress(snapshot)?;
        since.checked_add(deadline(snapshot)).ok()
    }

    /// When it made the last progress; absent where it is its user's turn, an old machine is being deleted, or where no
    /// time is known.
    fn last_progress(&self, snapshot: &Snapshot) -> Option<Timestamp> {
        match self.pool.object.lifecycle {
            Lifecycle::Active => {}
            Lifecycle::Paused | Lifecycle::Deleting => return None,
        }
        let of_step = self.swap.filter(|swap| swap.converged.is_none()).and_then(|swap| {
            // Nothing says for how long windows have stopped it since: what counts is how long each machine takes.
            let may_have_stood = match (&self.pool.id, snapshot.on_close) {
                (PoolId::Workers(_) | PoolId::MachinePool(_), OnClose::FinishMachine) => true,
                (PoolId::ControlPlane, _) | (_, OnClose::FinishPool) => false,
            };
            // What a drain waits for has a row of its own, and to go back would drain as much.
            let is_draining = self.old.iter().any(|machine| machine.lifecycle == Lifecycle::Deleting);
            (!is_draining && !may_have_stood).then(|| self.of_step(swap))
        });
        // A machine on its own, however the others do.
        let is_ours = self.swap.is_some() || snapshot.cluster.topology().is_some();
        // One that came after all were there is its user's: a pool that is scaled up, for example.
        let arrived = self.swap.and_then(|swap| swap.converged);
        let made = self.missing().filter(|_| is_ours).filter_map(|machine| machine.created);
        let of_machine = made.filter(|made| arrived.is_none_or(|arrived| *made < arrived)).min();
        match (of_step, of_machine) {
            (Some(step), Some(machine)) => Some(step.min(machine)),
            (one, other) => one.or(other),
        }
    }

    fn of_step(&self, swap: &SwapEntry) -> Timestamp {
        let ready = self.new.iter().filter_map(|machine| match machine.node_readiness {
            NodeReadiness::Ready { since } => Some(since),
            NodeReadiness::NotReady { .. } | NodeReadiness::Unknown { .. } => None,
        });
        let ready = ready.max();
        let stand = self.old.iter().filter(|machine| machine.lifecycle == Lifecycle::Active);
        let is_short = self
            .pool
            .replicas
            .is_none_or(|replicas| u32::try_from(stand.count()).is_ok_and(|stand| stand < replicas));
        // Where none has become ready yet and all the old ones stand, a machine that is made in place of another one that
        // didn't come up, such as by a MachineHealthCheck, is no progress.
        let counts = ready.is_some() || is_short;
        let made = self.missing().filter(|_| counts).filter_map(|machine| machine.created);
        ready
            .into_iter()
            .chain(made)
            .max()
            .map_or(swap.since, |time| time.max(swap.since))
    }

    /// The new machines whose nodes aren't ready.
    fn unready(&self) -> impl Iterator<Item = &'a Machine> {
        let new = self.new.iter().copied();
        new.filter(|machine| match machine.node_readiness {
            NodeReadiness::Ready { .. } => false,
            NodeReadiness::NotReady { .. } | NodeReadiness::Unknown { .. } => machine.lifecycle == Lifecycle::Active,
        })
    }

    /// The new machines that have no node yet.
    fn missing(&self) -> impl Iterator<Item = &'a Machine> {
        let new = self.new.iter().copied();
        new.filter(|machine| machine.lifecycle == Lifecycle::Active && !machine.node.is_joined())
    }
}
