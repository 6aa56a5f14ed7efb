//! Where the maintenance windows of an upgrade stand.

use instar_api::{UpgradePhase, WindowStatus, WindowsAre};
use instar_planner::{Gate, GateState, Snapshot};

use super::progress::whole_seconds;
use crate::text::cut;

/// Nothing of an upgrade that has finished: its record doesn't change any more.
pub(super) fn window(phase: UpgradePhase, snapshot: &Snapshot) -> Option<WindowStatus> {
    let state = snapshot.gates.get(&Gate::Window).filter(|_| !phase.is_finished())?;
    Some(match state {
        GateState::Open { until } => WindowStatus {
            state: WindowsAre::Open,
            until: until.map(whole_seconds),
            message: String::new(),
        },
        GateState::Closed { reason, until } => WindowStatus {
            state: WindowsAre::Closed,
            until: until.map(whole_seconds),
            message: cut(reason),
        },
    })
}
