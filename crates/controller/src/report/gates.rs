//! What changed of an upgrade's gates between two statuses: an Event and a count for each.

use instar_api::{
    Approval, ClusterUpgrade, ClusterUpgradeStatus, EventReason, HealthImpact, HealthReason, HealthStatus,
    PreflightResult, WindowsAre,
};
use instar_planner::{AddonProblem, AddonState, Snapshot, Waiting};

use super::status_of_this_edit;

/// Which gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum GateKind {
    /// The maintenance windows.
    Window,
    /// A check before the upgrade.
    Preflight,
    /// An approval.
    Approval,
    /// An add-on of a release, or a gate of a policy.
    Addon,
}

impl GateKind {
    pub(crate) const ALL: [Self; 4] = [Self::Window, Self::Preflight, Self::Approval, Self::Addon];
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
            (GateKind::Preflight | GateKind::Approval | GateKind::Addon, Self::Open) => EventReason::GateOpened,
            (GateKind::Preflight | GateKind::Approval | GateKind::Addon, Self::Closed) => EventReason::GateClosed,
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

/// What is known to let through: that a row is gone says only that nothing asks for its gate.
#[derive(Debug, Default)]
pub(crate) struct LetThrough<'a> {
    /// The approvals of the upgrade.
    pub(crate) approvals: &'a [Approval],
    /// The add-ons and gates that are open.
    pub(crate) addons: Vec<String>,
}

/// The add-ons and gates that are open.
pub(crate) fn open_addons(snapshot: &Snapshot) -> Vec<String> {
    let found = snapshot.addons.found.values().flatten();
    let open = found.filter(|gate| gate.state == AddonState::Open);
    open.map(|gate| gate.id.to_string()).collect()
}

/// What is told of what an upgrade waits for. After a start every add-on has to stay ready for a while again. Where the status
/// says nothing of it and something else holds the upgrade, that is no news: it would be told, and taken back a moment later.
pub(super) fn told(upgrade: &ClusterUpgrade, waiting: &[Waiting]) -> Vec<Waiting> {
    let Some(before) = status_of_this_edit(upgrade) else {
        return waiting.to_vec();
    };
    let was_closed = closed_addons(before);
    let settles_again = |waiting: &Waiting| {
        if let Waiting::AddonClosed(closed) = waiting
            && closed.problem == AddonProblem::Settling
        {
            let id = closed.id.to_string();
            !was_closed.iter().any(|(other, _)| *other == id)
        } else {
            false
        }
    };
    // What stays as it is holds nothing.
    let holds = |waiting: &Waiting| waiting.reason().impact() != HealthImpact::None && !settles_again(waiting);
    if waiting.iter().any(holds) {
        waiting
            .iter()
            .filter(|waiting| !settles_again(waiting))
            .cloned()
            .collect()
    } else {
        waiting.to_vec()
    }
}

/// What changed. Windows that were never told of are no change: a status that begins says where they stand.
pub(crate) fn gate_changes(
    before: Option<&ClusterUpgradeStatus>,
    after: &ClusterUpgradeStatus,
    let_through: &LetThrough<'_>,
) -> Vec<GateChange> {
    let none = ClusterUpgradeStatus::default();
    let before = before.unwrap_or(&none);
    let mut changes: Vec<GateChange> = window(before, after).into_iter().collect();
    changes.extend(preflight(before, after));
    changes.extend(approvals(before, after, let_through.approvals));
    changes.extend(addons(before, after, &let_through.addons));
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

/// Each add-on and gate is told by the begin of its message, which names it.
fn addons(before: &ClusterUpgradeStatus, after: &ClusterUpgradeStatus, open: &[String]) -> Vec<GateChange> {
    let (was, is) = (closed_addons(before), closed_addons(after));
    let closed = is.iter().filter(|(id, _)| !was.iter().any(|(other, _)| other == id));
    let closed = closed.map(|(_, message)| GateChange {
        gate: GateKind::Addon,
        to: GateEdge::Closed,
        note: format!("The upgrade waits: {message}"),
    });
    let is_open = |id: &String| open.contains(id) && !is.iter().any(|(other, _)| other == id);
    let opened = was.iter().filter(|(id, _)| is_open(id));
    let opened = opened.map(|(id, _)| GateChange {
        gate: GateKind::Addon,
        to: GateEdge::Open,
        note: format!("The upgrade waits no more for {id}"),
    });
    closed.chain(opened).collect()
}

/// What they are called, with their messages.
fn closed_addons(status: &ClusterUpgradeStatus) -> Vec<(String, &str)> {
    let reasons = [
        HealthReason::AddonNotReady,
        HealthReason::AddonFailed,
        HealthReason::AddonUnknown,
        HealthReason::AddonTimedOut,
    ];
    let rows = status
        .health
        .iter()
        .filter(|row| reasons.iter().any(|reason| row.reason == reason.as_str()));
    let named = rows.filter_map(|row| Some((row.message.split_once("): ")?.0, row.message.as_str())));
    named.map(|(id, message)| (format!("{id})"), message)).collect()
}

fn missing(status: &ClusterUpgradeStatus) -> Vec<&str> {
    let is_approval = |row: &&HealthStatus| row.reason == HealthReason::ApprovalMissing.as_str();
    let rows = status.health.iter().filter(is_approval);
    rows.map(|row| row.message.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use instar_api::{GatePoint, PreflightCheck, PreflightStatus, UpgradePhase};
    use instar_planner::{AddonId, AddonOwner, AddonProblem, ClosedAddon, Gate, GateState, Waiting};

    use super::*;
    use crate::report::{health::rows, progress::tests::snapshot, window::window};

    fn said(before: Option<&ClusterUpgradeStatus>, after: &ClusterUpgradeStatus) -> Vec<String> {
        let given = ["v1.34.1", "v1.35.1"].map(|version| Approval {
            before: instar_api::ApprovedPart::Workers,
            version: version.to_owned(),
            target: "v1.35".to_owned(),
            set_by: None,
        });
        let let_through = LetThrough {
            approvals: &given,
            addons: vec!["gate cni of UpgradePolicy p (BeforeWorkers v1.35.1)".to_owned()],
        };
        let changes = gate_changes(before, after, &let_through);
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
                snapshot: None,
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
    fn an_addon_is_told_of_when_it_begins_to_hold_and_when_it_lets_through() {
        let seen = snapshot();
        let waits = |name: &str, message: &str| {
            let id = AddonId {
                owner: AddonOwner::Policy("p".to_owned()),
                name: name.to_owned(),
                when: GatePoint::BeforeWorkers,
                version: "v1.35.1".parse().unwrap(),
            };
            let closed = ClosedAddon {
                id,
                kind: "DaemonSet".to_owned(),
                object: name.to_owned(),
                problem: AddonProblem::NotReady,
                message: message.to_owned(),
                until: None,
            };
            ClusterUpgradeStatus {
                health: rows(&[], &[Waiting::AddonClosed(Box::new(closed))], &seen),
                ..ClusterUpgradeStatus::default()
            }
        };
        let none = ClusterUpgradeStatus::default();
        let (first, later) = (waits("cni", "not ready (1): a"), waits("cni", "not ready (2): b"));
        assert_eq!(
            said(Some(&none), &first),
            ["GateClosed The upgrade waits: gate cni of UpgradePolicy p (BeforeWorkers v1.35.1): not ready (1): a"]
        );
        assert!(said(Some(&first), &later).is_empty());
        assert_eq!(
            said(Some(&later), &none),
            ["GateOpened The upgrade waits no more for gate cni of UpgradePolicy p (BeforeWorkers v1.35.1)"]
        );
        assert!(
            said(Some(&waits("dns", "no")), &none).is_empty(),
            "it is only not asked for any more"
        );
    }

    #[test]
    fn an_addon_that_settles_again_after_a_start_is_no_news() {
        let closed = |name: &str, problem: AddonProblem| {
            Waiting::AddonClosed(Box::new(ClosedAddon {
                id: AddonId {
                    owner: AddonOwner::Policy("p".to_owned()),
                    name: name.to_owned(),
                    when: GatePoint::BeforeWorkers,
                    version: "v1.35.1".parse().unwrap(),
                },
                kind: "DaemonSet".to_owned(),
                object: name.to_owned(),
                problem,
                message: "because".to_owned(),
                until: None,
            }))
        };
        let approval = Waiting::ApprovalMissing {
            part: instar_api::ApprovedPart::Workers,
            version: "v1.35.1".parse().unwrap(),
            target: "v1.35".into(),
        };
        let said_before = |generation: i64, waiting: &[Waiting]| {
            let mut upgrade = ClusterUpgrade::new("up", instar_api::ClusterUpgradeSpec::default());
            upgrade.metadata.generation = Some(2);
            upgrade.status = Some(ClusterUpgradeStatus {
                phase: UpgradePhase::Held,
                observed_generation: generation,
                health: rows(&[], waiting, &snapshot()),
                ..ClusterUpgradeStatus::default()
            });
            upgrade
        };
        let settling = closed("cni", AddonProblem::Settling);
        let both = [settling.clone(), approval.clone()];
        let held = said_before(2, std::slice::from_ref(&approval));
        assert_eq!(told(&held, &both), from_ref(&approval));
        let version = "v1.35.1".parse().unwrap();
        let beside = [settling.clone(), Waiting::Superseded { version }];
        assert_eq!(told(&held, &beside), beside, "what stays holds nothing");
        let only = std::slice::from_ref(&settling);
        assert_eq!(told(&held, only), only, "it holds the upgrade alone");
        let known = said_before(2, &[closed("cni", AddonProblem::NotReady), approval.clone()]);
        assert_eq!(told(&known, &both), both, "it was not ready");
        assert_eq!(told(&said_before(1, from_ref(&approval)), &both), both, "another edit");
        let broken = [closed("cni", AddonProblem::NotReady), approval];
        assert_eq!(told(&held, &broken), broken, "it isn't ready any more");
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
