//! Where the maintenance windows of an upgrade stand.

use instar_api::{ClusterUpgradeStatus, EventReason, UpgradePhase, WindowStatus, WindowsAre};
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

/// The Event at an edge, with its note. What was never said before is none: a status that begins says it.
pub(crate) fn news(
    before: Option<&ClusterUpgradeStatus>,
    after: &ClusterUpgradeStatus,
) -> Option<(EventReason, String)> {
    let (before, after) = (before?.window.as_ref()?, after.window.as_ref()?);
    if before.state == after.state {
        return None;
    }
    let until = after.until.as_ref();
    let until = until.map_or_else(String::new, |until| format!(" until {}", until.0));
    Some(match after.state {
        WindowsAre::Open => (
            EventReason::WindowOpened,
            format!("The maintenance window is open{until}"),
        ),
        WindowsAre::Closed => (
            EventReason::WindowClosed,
            format!("The maintenance windows are closed{until}: {}", after.message),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::progress::tests::snapshot;

    #[test]
    fn an_edge_is_told_once() {
        let mut seen = snapshot();
        let status = |seen: &Snapshot, phase: UpgradePhase| ClusterUpgradeStatus {
            window: window(phase, seen),
            ..ClusterUpgradeStatus::default()
        };
        let unset = status(&seen, UpgradePhase::Workers);
        assert_eq!(unset.window, None);
        let until = Some("2026-12-05T21:00:00Z".parse().unwrap());
        seen.gates.insert(Gate::Window, GateState::Open { until });
        let open = status(&seen, UpgradePhase::Workers);
        let reason = "no maintenance window is open".to_owned();
        seen.gates.insert(Gate::Window, GateState::Closed { reason, until });
        let closed = status(&seen, UpgradePhase::Workers);
        assert_eq!(news(None, &open), None);
        assert_eq!(news(Some(&unset), &closed), None);
        assert_eq!(news(Some(&closed), &closed), None);
        let (reason, note) = news(Some(&open), &closed).unwrap();
        assert_eq!(reason, EventReason::WindowClosed);
        assert_eq!(
            note,
            "The maintenance windows are closed until 2026-12-05T21:00:00Z: no maintenance window is open"
        );
        let (reason, note) = news(Some(&closed), &open).unwrap();
        assert_eq!(reason, EventReason::WindowOpened);
        assert_eq!(note, "The maintenance window is open until 2026-12-05T21:00:00Z");
        let over = status(&seen, UpgradePhase::Completed);
        assert_eq!(over.window, None, "it has finished");
        // As the API server stores them, one after the other.
        let mut stored = serde_json::json!({});
        for next in [&open, &closed, &open, &over] {
            json_patch::merge(&mut stored, &serde_json::to_value(next).unwrap());
            let read: ClusterUpgradeStatus = serde_json::from_value(stored.clone()).unwrap();
            assert_eq!(read, *next);
        }
    }
}
