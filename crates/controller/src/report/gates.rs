//! What changed of an upgrade's gates between two statuses: an Event and a count for each.

use instar_api::{
    Approval, ClusterUpgradeStatus, EventReason, HealthReason, HealthStatus, PreflightResult, WindowsAre,
};

/// Which gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum GateKind {
    /// The maintenance windows.
    Window,
    /// A check before the upgrade.
    Preflight,
    /// An approval.
    Approval,
}

impl GateKind {
    pub(crate) const ALL: [Self; 3] = [Self::Window, Self::Preflight, Self::Approval];
}

/// What it became.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum GateEdge {
    Open,
    Closed,
}

impl GateEdge {
    pub(crate) const ALL: [Self; 2] = [Self::Open, Self::Closed];

    /// The Event that tells of it.
    pub(crate) const fn event(self, gate: GateKind) -> EventReason {
        match (gate, self) {
            (GateKind::Window, Self::Open) => EventReason::WindowOpened,
            (GateKind::Window, Self::Closed) => EventReason::WindowClosed,
            (GateKind::Preflight | GateKind::Approval, Self::Open) => EventReason::GateOpened,
            (GateKind::Preflight | GateKind::Approval, Self::Closed) => EventReason::GateClosed,
        }
    }
}

/// A gate that opened or closed, with the note of its Event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct GateChange {
    pub(crate) gate: GateKind,
    pub(crate) to: GateEdge,
    pub(crate) note: String,
}

/// What changed; `given` are the approvals of the upgrade. Windows that were never told of are no change: a status that
/// begins says where they stand.
pub(crate) fn gate_changes(
    before: Option<&ClusterUpgradeStatus>,
    after: &ClusterUpgradeStatus,
    given: &[Approval],
) -> Vec<GateChange> {
    let none = ClusterUpgradeStatus::default();
    let before = before.unwrap_or(&none);
    let mut changes: Vec<GateChange> = window(before, after).into_iter().collect();
    changes.extend(preflight(before, after));
    changes.extend(approvals(before, after, given));
    changes
}

fn window(before: &ClusterUpgradeStatus, after: &ClusterUpgradeStatus) -> Option<GateChange> {
    let (before, after) = (before.window.as_ref()?, after.window.as_ref()?);
    if before.state == after.state {
        return None;
    }
    let until = after.until.as_ref();
    let until = until.map_or_else(String::new, |until| format!(" until {}", until.0));
    let (to, note) = match after.state {
        WindowsAre::Open => (GateEdge::Open, format!("The maintenance window is open{until}")),
        WindowsAre::Closed => (
            GateEdge::Closed,
            format!("The maintenance windows are closed{until}: {}", after.message),
        ),
    };
    Some(GateChange {
        gate: GateKind::Window,
        to,
        note,
    })
}

fn preflight(before: &ClusterUpgradeStatus, after: &ClusterUpgradeStatus) -> Vec<GateChange> {
    let changes = after.preflight.iter().filter_map(|now| {
        let mut known = before.preflight.iter();
        let was_held = known.any(|before| before.check == now.check && holds(before.result));
        let (to, note) = match (was_held, holds(now.result)) {
            (false, false) | (true, true) => return None,
            (false, true) => (
                GateEdge::Closed,
                format!("Check {} holds the upgrade: {}", now.check, now.message),
            ),
            (true, false) if now.message.is_empty() => {
                (GateEdge::Open, format!("Check {} holds the upgrade no more", now.check))
            }
            (true, false) => (
                GateEdge::Open,
                format!("Check {} holds the upgrade no more: {}", now.check, now.message),
            ),
        };
        Some(GateChange {
            gate: GateKind::Preflight,
            to,
            note,
        })
    });
    changes.collect()
}

const fn holds(result: PreflightResult) -> bool {
    match result {
        PreflightResult::Fail | PreflightResult::Unknown => true,
        PreflightResult::Pass | PreflightResult::Warn | PreflightResult::Skipped | PreflightResult::NotApplicable => {
            false
        }
    }
}

/// Each approval that is missing is told by its message, which names part, version and target. Where it isn't asked for at
/// the moment, since something else holds the upgrade, it wasn't given.
fn approvals(before: &ClusterUpgradeStatus, after: &ClusterUpgradeStatus, given: &[Approval]) -> Vec<GateChange> {
    let (was, is) = (missing(before), missing(after));
    let closed = is
        .iter()
        .filter(|message| !was.contains(message))
        .map(|message| GateChange {
            gate: GateKind::Approval,
            to: GateEdge::Closed,
            note: format!("An approval is missing: {message}"),
        });
    let is_given = |message: &str| given.iter().any(|approval| message.contains(&approval.entry()));
    let opened = was
        .iter()
        .filter(|message| !is.contains(message) && is_given(message))
        .map(|message| GateChange {
            gate: GateKind::Approval,
            to: GateEdge::Open,
            note: format!("An approval is missing no more: {message}"),
        });
    closed.chain(opened).collect()
}

fn missing(status: &ClusterUpgradeStatus) -> Vec<&str> {
    let is_approval = |row: &&HealthStatus| row.reason == HealthReason::ApprovalMissing.as_str();
    let rows = status.health.iter().filter(is_approval);
    rows.map(|row| row.message.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use instar_api::{PreflightCheck, PreflightStatus, UpgradePhase};
    use instar_planner::{Gate, GateState, Snapshot, Waiting};

    use super::*;
    use crate::report::{health::rows, progress::tests::snapshot, window::window};

    fn said(before: Option<&ClusterUpgradeStatus>, after: &ClusterUpgradeStatus) -> Vec<String> {
        let given = ["v1.34.1", "v1.35.1"].map(|version| Approval {
            before: instar_api::ApprovedPart::Workers,
            version: version.to_owned(),
            target: "v1.35".to_owned(),
            set_by: None,
        });
        let changes = gate_changes(before, after, &given);
        changes
            .iter()
            .map(|GateChange { gate, to, note }| format!("{} {note}", to.event(*gate)))
            .collect()
    }

    #[test]
    fn an_edge_of_a_window_is_told_once() {
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
        let none: [String; 0] = [];
        assert_eq!(said(None, &open), none);
        assert_eq!(said(Some(&unset), &closed), none);
        assert_eq!(said(Some(&closed), &closed), none);
        assert_eq!(
            said(Some(&open), &closed),
            [
                "WindowClosed The maintenance windows are closed until 2026-12-05T21:00:00Z: no maintenance window is open"
            ]
        );
        assert_eq!(
            said(Some(&closed), &open),
            ["WindowOpened The maintenance window is open until 2026-12-05T21:00:00Z"]
        );
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

    #[test]
    fn a_check_is_told_of_when_it_begins_to_hold_and_when_it_ends() {
        let status = |result: PreflightResult, message: &str| ClusterUpgradeStatus {
            preflight: vec![PreflightStatus {
                check: PreflightCheck::ClusterAvailable,
                result,
                kind: String::new(),
                name: String::new(),
                message: message.to_owned(),
                since: None,
            }],
            ..ClusterUpgradeStatus::default()
        };
        let none: [String; 0] = [];
        let pass = status(PreflightResult::Pass, "");
        let failed = status(PreflightResult::Fail, "it isn't");
        let unknown = status(PreflightResult::Unknown, "nobody knows");
        let skipped = status(PreflightResult::Skipped, "ann skipped it");
        assert_eq!(said(None, &pass), none);
        assert_eq!(
            said(None, &failed),
            ["GateClosed Check cluster-available holds the upgrade: it isn't"]
        );
        assert_eq!(said(Some(&failed), &unknown), none);
        assert_eq!(
            said(Some(&failed), &pass),
            ["GateOpened Check cluster-available holds the upgrade no more"]
        );
        assert_eq!(
            said(Some(&unknown), &skipped),
            ["GateOpened Check cluster-available holds the upgrade no more: ann skipped it"]
        );
    }

    #[test]
    fn an_approval_is_told_of_when_it_is_missing_and_when_it_comes() {
        let seen = snapshot();
        let missing = |version: &str| ClusterUpgradeStatus {
            health: rows(
                &[],
                &[Waiting::ApprovalMissing {
                    part: instar_api::ApprovedPart::Workers,
                    version: version.parse().unwrap(),
                    target: "v1.35".into(),
                }],
                &seen,
            ),
            ..ClusterUpgradeStatus::default()
        };
        let given = ClusterUpgradeStatus::default();
        let one = missing("v1.34.1");
        let closed = said(Some(&given), &one);
        assert_eq!(closed.len(), 1);
        let begins = "GateClosed An approval is missing: the workers go to v1.34.1 once that is approved: ";
        assert!(closed[0].starts_with(begins), "{closed:?}");
        assert!(
            said(Some(&one), &given)[0].starts_with("GateOpened An approval is missing no more: the workers go to")
        );
        assert_eq!(said(Some(&one), &missing("v1.35.1")).len(), 2, "another one");
        assert!(said(Some(&one), &one).is_empty());
        let other = missing("v1.36.1");
        assert!(
            said(Some(&other), &given).is_empty(),
            "it wasn't given, and is only not asked for"
        );
    }
}
