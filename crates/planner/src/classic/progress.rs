//! How far it has come, for people to read.

use instar_capi::Lifecycle;

use super::{
    goal::Goal,
    retire,
    view::ClassicView,
    workers::{self, Heading},
};
use crate::{
    decision::{MachineProgress, MachineState, PoolProgress, Stage, TemplateProgress, TemplateState},
    pool_id::PoolId,
    restart,
    settled::{converged, matches_spec},
    snapshot::{Machine, MachinePhase, Node, Snapshot, TemplateRef},
};

/// Where pools end.
pub(super) struct Ends<'a> {
    /// Whether the control plane's spec is where it ends.
    pub(super) control_plane: bool,
    /// Where the workers go; absent where their specs are where they end.
    pub(super) workers: Option<Heading<'a>>,
}

impl<'a> Ends<'a> {
    /// Their specs are where all of them end.
    pub(super) const HERE: Self = Self {
        control_plane: true,
        workers: None,
    };

    pub(super) fn of(goal: &Goal<'a>) -> Self {
        Self {
            control_plane: goal.path.is_empty(),
            workers: Some(Heading::Forward(goal.demand)),
        }
    }
}

/// Each pool.
pub(super) fn pools(view: &ClassicView<'_>, ends: &Ends<'_>) -> Vec<PoolProgress> {
    let control_plane = view.control_plane;
    let first = Pool {
        snapshot: view.snapshot,
        id: PoolId::ControlPlane,
        version: &control_plane.version,
        template: control_plane.infrastructure.as_ref(),
        settled: ends.control_plane,
    };
    let others = view.pools.iter().map(|pool| Pool {
        snapshot: view.snapshot,
        id: PoolId::Workers(pool.object.name.clone()),
        version: &pool.version,
        template: Some(&pool.infrastructure),
        settled: ends
            .workers
            .is_none_or(|heading| workers::is_settled(view, pool, heading)),
    });
    std::iter::once(first)
        .chain(others)
        .map(|pool| pool.progress(view))
        .collect()
}

struct Pool<'a> {
    snapshot: &'a Snapshot,
    id: PoolId,
    version: &'a instar_domain::KubeVersion,
    template: Option<&'a TemplateRef>,
    settled: bool,
}

impl Pool<'_> {
    fn progress(self, view: &ClassicView<'_>) -> PoolProgress {
        let machines = view.machines_of(&self.id).into_iter().map(|machine| {
            let (node, version) = match &machine.node {
                Node::Absent => (None, None),
                Node::Joined { name, version } => (Some(name.clone()), version.clone()),
            };
            MachineProgress {
                name: machine.name.clone(),
                node,
                state: self.state(machine),
                version,
            }
        });
        PoolProgress {
            version: self.version.clone(),
            machines: machines.collect(),
            pool: self.id,
        }
    }

    fn state(&self, machine: &Machine) -> MachineState {
        if machine.phase == MachinePhase::Failed {
            return MachineState::Failed;
        }
        let goes = machine.lifecycle == Lifecycle::Deleting || machine.phase == MachinePhase::Deleting;
        if goes {
            return MachineState::Upgrading;
        }
        if !matches_spec(machine, self.version, self.template) || restart::is_replaced(self.snapshot, machine) {
            return MachineState::Pending;
        }
        match (converged(machine, self.version), self.settled) {
            (true, true) => MachineState::Running,
            (true, false) => MachineState::Pending,
            (false, _) => MachineState::Upgrading,
        }
    }
}

/// What was minted for the cluster, and what each is there for.
pub(super) fn templates(view: &ClassicView<'_>, stage: Stage) -> Vec<TemplateProgress> {
    let complete = match stage {
        Stage::Held | Stage::ControlPlane | Stage::Workers | Stage::Verifying => false,
        Stage::Complete => true,
    };
    let states = retire::states(view).into_iter();
    states
        .map(|minted| TemplateProgress {
            template: minted.template.reference(),
            release: minted.release.to_owned(),
            state: match minted.state {
                // Before the upgrade's end the time of deletion is not known.
                TemplateState::Previous { .. } if !complete => TemplateState::Previous { until: None },
                TemplateState::Unused { .. } if !complete => TemplateState::Unused { until: None },
                other @ (TemplateState::InUse
                | TemplateState::InMachineSet
                | TemplateState::Previous { .. }
                | TemplateState::Unused { .. }) => other,
            },
        })
        .collect()
}
