//! Which gates an upgrade of a topology Cluster has between its steps, and why.

use instar_api::{RuntimeHooksAre, RuntimeHooksStatus, UpgradePhase};
use instar_planner::{RuntimeHooks, Snapshot};

use crate::text::cut;

/// Nothing of an upgrade that has finished: its record doesn't change any more.
pub(super) fn runtime_hooks(phase: UpgradePhase, snapshot: &Snapshot) -> Option<RuntimeHooksStatus> {
    let topology = snapshot.cluster.topology().filter(|_| !phase.is_finished())?;
    let (state, message) = match &topology.hooks {
        RuntimeHooks::On => (
            RuntimeHooksAre::On,
            "Cluster API asks Instar before each step, so gates hold each step of the control plane, and its MachinePools"
                .to_owned(),
        ),
        RuntimeHooks::Off(why) => (
            RuntimeHooksAre::Off,
            format!("gates hold the edit of the version and each MachineDeployment, and no step in between: {why}"),
        ),
        hooks @ (RuntimeHooks::Unknown(_) | RuntimeHooks::NotLooked) => (
            RuntimeHooksAre::Unknown,
            format!(
                "it isn't known whether gates hold each step: {}",
                hooks.why_not().unwrap_or_default()
            ),
        ),
    };
    Some(RuntimeHooksStatus {
        state,
        message: cut(&message),
    })
}
