//! From a decision to the record: the status of a `ClusterUpgrade`, written when it changes.

mod failure;
mod gates;
mod health;
mod hooks;
mod lifecycle;
mod preflight;
mod progress;
mod refused;
mod rollback;
mod window;

use instar_api::{ClusterUpgrade, ClusterUpgradeStatus, FailureReason, HealthReason, HealthStatus, UpgradePhase};
use instar_planner::{Action, Decision, Failed, FailureResponse, Operation, Snapshot, Stage, Waiting};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::{
    execute::ActionDescription,
    text::{cut, same_but_for_numbers},
};
pub(crate) use failure::failed_steps;
use gates::told;
pub(crate) use gates::{GateChange, GateEdge, GateKind, LetThrough, gate_changes, open_addons};
#[cfg(test)]
pub(crate) use health::row_of;
use health::{ROWS, failure_row, rows};
use hooks::runtime_hooks;
use preflight::preflight;
pub(crate) use progress::templates;
use progress::{count, machines, of_phase, pools};
pub(crate) use refused::{put_refused, refused_write};
use rollback::rollback;
use window::window;

pub(crate) use lifecycle::{
    TakenBack, no_way_back, refused, report_missing_cluster, restored, restored_refusal, taken_back, unread,
    unreadable_cluster,
};

/// What the schema takes.
const RELEASES: usize = 64;
const STEP: usize = 512;

/// Whether the controller itself could do what it decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt<'a> {
    /// It could.
    Succeeded,
    /// It is to be seen: what was said before stands.
    Untried,
    /// It couldn't, and this is why.
    Failed {
        /// Machine-readable reason.
        reason: FailureReason,
        /// A sentence for people.
        message: &'a str,
    },
}

/// The status that a decision comes to.
pub(crate) fn status(
    upgrade: &ClusterUpgrade,
    snapshot: &Snapshot,
    decision: &Decision,
    attempt: Attempt<'_>,
) -> ClusterUpgradeStatus {
    let before = upgrade.status.clone().unwrap_or_default();
    let generation = upgrade.metadata.generation.unwrap_or_default();
    let mut health = rows(&before.health, &told(upgrade, &decision.waiting), snapshot);
    add_failure(&mut health, &before, attempt, snapshot.now);
    let phase = phase(decision, &snapshot.upgrade_spec.operation);
    let step = ActionDescription(&decision.action).to_string();
    let mut conditions = before.conditions.clone();
    for condition in conditions_of(phase, &health, attempt, generation, snapshot.now) {
        set(&mut conditions, condition);
    }
    let progress = &decision.progress;
    // Where nothing can be said of the pools, what was known last stays.
    let known = !progress.pools.is_empty();
    let pools = if known { pools(progress) } else { before.pools };
    ClusterUpgradeStatus {
        phase,
        machines: if known { machines(progress) } else { before.machines },
        pool_count: if known {
            count(progress.pools.len())
        } else {
            before.pool_count
        },
        pools: of_phase(phase, pools),
        templates: if known { templates(progress) } else { before.templates },
        path: path(&before.path, &decision.progress.path),
        // What was done last says more than nothing.
        step: if step.is_empty() {
            before.step
        } else {
            step.chars().take(STEP).collect()
        },
        health,
        window: window(phase, snapshot),
        rollback: rollback(upgrade, snapshot),
        runtime_hooks: runtime_hooks(phase, snapshot),
        preflight: preflight(before.preflight, snapshot),
        conditions,
        observed_generation: generation,
    }
}

/// The row of what the controller itself couldn't do: what an upgrade stands still for is in one place.
fn add_failure(rows: &mut Vec<HealthStatus>, before: &ClusterUpgradeStatus, attempt: Attempt<'_>, now: Timestamp) {
    let told = healthy(Some(before)).filter(|healthy| healthy.status == "False");
    let failure = match (attempt, told) {
        (Attempt::Failed { reason, message }, _) => Some(failure_row(&before.health, reason, message, now)),
        (Attempt::Untried, Some(told)) => before.health.iter().find(|row| row.reason == told.reason).cloned(),
        (Attempt::Untried, None) | (Attempt::Succeeded, _) => None,
    };
    // What was refused has a row already, with the object.
    let is_told = |failure: &HealthStatus| rows.iter().any(|row| row.message == failure.message);
    let Some(failure) = failure.filter(|failure| !is_told(failure)) else {
        return;
    };
    // Where as much is to be done about others, it comes first: without it nothing is written.
    let place = rows.iter().position(|row| row.level <= failure.level);
    rows.insert(place.unwrap_or(rows.len()), failure);
    rows.truncate(ROWS);
}

/// The status of a completed upgrade once something of it was set back, or stands again; nothing where it says so.
pub(crate) fn drifted(
    upgrade: &ClusterUpgrade,
    drift: &[Waiting],
    snapshot: &Snapshot,
) -> Option<ClusterUpgradeStatus> {
    const DRIFTED: &str = HealthReason::Drifted.as_str();
    let before = upgrade.status.clone()?;
    let is_drift = |row: &&HealthStatus| row.reason == DRIFTED;
    let found = rows(&before.health, drift, snapshot);
    if before.health.iter().filter(is_drift).eq(&found) {
        return None;
    }
    let condition = Condition {
        type_: DRIFTED.to_owned(),
        status: if found.is_empty() { "False" } else { "True" }.to_owned(),
        reason: if found.is_empty() { "InPlace" } else { DRIFTED }.to_owned(),
        message: found.first().map_or_else(String::new, |first| first.message.clone()),
        observed_generation: upgrade.metadata.generation,
        last_transition_time: Time(snapshot.now),
    };
    let mut conditions = before.conditions.clone();
    set(&mut conditions, condition);
    let others = before.health.iter().filter(|row| !is_drift(row)).cloned();
    let health = found.into_iter().chain(others).take(ROWS).collect();
    Some(ClusterUpgradeStatus {
        health,
        conditions,
        ..before
    })
}

/// Whether the record says that the controller itself can't do what it decided.
pub(crate) fn is_ill(status: Option<&ClusterUpgradeStatus>) -> bool {
    healthy(status).is_some_and(|healthy| healthy.status == "False")
}

/// Whether the record tells of this very trouble.
pub(crate) fn tells_of(status: Option<&ClusterUpgradeStatus>, reason: FailureReason, message: &str) -> bool {
    healthy(status).is_some_and(|healthy| healthy.reason == reason.as_str() && healthy.message == cut(message))
}

/// The message of a trouble: the one that the record has, where that says the same but for numbers. What varies from
/// one try to the next is no reason to write it again.
pub(crate) fn steady(status: Option<&ClusterUpgradeStatus>, reason: FailureReason, message: String) -> String {
    let told = healthy(status).filter(|healthy| healthy.reason == reason.as_str());
    match told {
        Some(told) if same_but_for_numbers(&told.message, &cut(&message)) => told.message.clone(),
        Some(_) | None => message,
    }
}

/// The condition of that type; a status has one of each.
fn healthy(status: Option<&ClusterUpgradeStatus>) -> Option<&Condition> {
    let mut conditions = status?.conditions.iter();
    conditions.find(|condition| condition.type_ == "Healthy")
}

/// Whether the status stands while what an upgrade waits to know isn't known. After a start that is so of all: each would
/// be told that it isn't known, and a moment later once more what its status said before.
pub(crate) fn stands_until_known(upgrade: &ClusterUpgrade, decision: &Decision) -> bool {
    decision.action == Action::Nothing && status_of_this_edit(upgrade).is_some()
}

/// The status, where it is of what the upgrade asks for now, and of one that goes on.
fn status_of_this_edit(upgrade: &ClusterUpgrade) -> Option<&ClusterUpgradeStatus> {
    let status = upgrade.status.as_ref()?;
    let is_open = matches!(
        status.phase,
        UpgradePhase::Held | UpgradePhase::ControlPlane | UpgradePhase::Workers | UpgradePhase::Verifying
    );
    let is_current = !is_ill(Some(status)) && upgrade.metadata.generation == Some(status.observed_generation);
    (is_open && is_current).then_some(status)
}

/// Whether there is anything to write. A condition's times alone are nothing new.
pub(crate) fn differs(before: Option<&ClusterUpgradeStatus>, after: &ClusterUpgradeStatus) -> bool {
    before != Some(after)
}

fn phase(decision: &Decision, operation: &Operation) -> UpgradePhase {
    match decision.progress.stage {
        Stage::Held if decision.waiting.iter().any(Waiting::refuses) => UpgradePhase::Refused,
        Stage::Held if decision.failed().is_some_and(ends) => UpgradePhase::Failed,
        Stage::Held => UpgradePhase::Held,
        Stage::ControlPlane => UpgradePhase::ControlPlane,
        Stage::Workers => UpgradePhase::Workers,
        Stage::Verifying => UpgradePhase::Verifying,
        Stage::Complete => match operation {
            Operation::Upgrade | Operation::Refresh | Operation::Rollback(_) | Operation::Restart => {
                UpgradePhase::Completed
            }
            Operation::Abort => UpgradePhase::Aborted,
        },
    }
}

/// Whether the upgrade ends by a failure.
const fn ends(failed: &Failed) -> bool {
    match failed.response {
        FailureResponse::End { .. } => true,
        FailureResponse::Confirm { .. }
        | FailureResponse::Hold
        | FailureResponse::NotTakenBack { .. }
        | FailureResponse::TakeBack { .. } => false,
    }
}

/// The planner tells what is left of the path; the record keeps what was there before it.
fn path(before: &[String], left: &[String]) -> Vec<String> {
    let path = if before.ends_with(left) { before } else { left };
    path.iter().take(RELEASES).cloned().collect()
}

fn conditions_of(
    phase: UpgradePhase,
    health: &[HealthStatus],
    attempt: Attempt<'_>,
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let (progressing, completed) = match phase {
        UpgradePhase::ControlPlane | UpgradePhase::Workers | UpgradePhase::Verifying => (true, false),
        UpgradePhase::Completed => (false, true),
        UpgradePhase::Pending
        | UpgradePhase::Held
        | UpgradePhase::Refused
        | UpgradePhase::RollingBack
        | UpgradePhase::RolledBack
        | UpgradePhase::Aborted
        | UpgradePhase::Failed => (false, false),
    };
    let message = health.first().map_or_else(String::new, |first| first.message.clone());
    let condition = |kind: &str, holds: bool, reason: &str, message: &str| Condition {
        type_: kind.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message: cut(message),
        observed_generation: Some(generation),
        last_transition_time: Time(now),
    };
    let healthy = match attempt {
        Attempt::Succeeded => Some(condition("Healthy", true, "Fine", "")),
        Attempt::Untried => None,
        Attempt::Failed { reason, message } => Some(condition("Healthy", false, reason.as_str(), message)),
    };
    let mut conditions = vec![
        condition("Progressing", progressing, phase.as_str(), &message),
        condition("Completed", completed, phase.as_str(), &message),
    ];
    conditions.extend(healthy);
    conditions
}

/// The time stays while the status does.
fn set(conditions: &mut Vec<Condition>, mut condition: Condition) {
    match conditions.iter_mut().find(|before| before.type_ == condition.type_) {
        None => conditions.push(condition),
        Some(before) => {
            if before.status == condition.status {
                condition.last_transition_time = before.last_transition_time.clone();
            }
            *before = condition;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_comes_and_goes_and_is_written_once() {
        let mut upgrade = ClusterUpgrade::new("up", instar_api::ClusterUpgradeSpec::default());
        let other = row_of("NoVersion", "");
        upgrade.status = Some(ClusterUpgradeStatus {
            phase: UpgradePhase::Completed,
            health: vec![other],
            ..ClusterUpgradeStatus::default()
        });
        let snapshot = progress::tests::snapshot();
        let drift = [Waiting::Drifted {
            pool: instar_planner::PoolId::Workers("md-0".to_owned()),
            what: instar_planner::SetBack::Template {
                written: "new".to_owned(),
                found: "old".to_owned(),
            },
        }];
        let said = |status: &ClusterUpgradeStatus| {
            let reasons: Vec<String> = status.health.iter().map(|waiting| waiting.reason.clone()).collect();
            (reasons.join(" "), status.conditions[0].status.clone())
        };
        assert_eq!(drifted(&upgrade, &[], &snapshot), None);
        let status = drifted(&upgrade, &drift, &snapshot).unwrap();
        assert_eq!(said(&status), ("Drifted NoVersion".to_owned(), "True".to_owned()));
        assert_eq!(status.phase, UpgradePhase::Completed);
        upgrade.status = Some(status);
        assert_eq!(drifted(&upgrade, &drift, &snapshot), None);
        let status = drifted(&upgrade, &[], &snapshot).unwrap();
        assert_eq!(said(&status), ("NoVersion".to_owned(), "False".to_owned()));
    }

    #[test]
    fn what_is_not_known_yet_is_no_news_of_an_upgrade_that_goes_on() {
        let decision = |action: Action| Decision {
            action,
            waiting: Vec::new(),
            progress: instar_planner::Progress {
                stage: Stage::Held,
                path: Vec::new(),
                pools: Vec::new(),
                templates: Vec::new(),
            },
            unread: Vec::new(),
        };
        let stands = |phase: Option<UpgradePhase>, observed: i64| {
            let mut upgrade = ClusterUpgrade::new("up", instar_api::ClusterUpgradeSpec::default());
            upgrade.metadata.generation = Some(2);
            upgrade.status = phase.map(|phase| ClusterUpgradeStatus {
                phase,
                observed_generation: observed,
                ..ClusterUpgradeStatus::default()
            });
            stands_until_known(&upgrade, &decision(Action::Nothing))
        };
        assert!(stands(Some(UpgradePhase::Held), 2) && stands(Some(UpgradePhase::Workers), 2));
        assert!(!stands(Some(UpgradePhase::Held), 1), "it was edited since");
        assert!(
            !stands(Some(UpgradePhase::Pending), 2) && !stands(None, 2),
            "nothing is told yet"
        );
        assert!(!stands(Some(UpgradePhase::Refused), 2), "it has begun again");
    }

    #[test]
    fn what_the_controller_cannot_do_is_a_row_until_it_can() {
        let rolling = || vec![row_of("PoolRollingOut", "md-0 goes to v1.34.1")];
        let told = |before: &ClusterUpgradeStatus, attempt: Attempt<'_>| {
            let mut rows = rolling();
            add_failure(&mut rows, before, attempt, Timestamp::UNIX_EPOCH);
            let conditions = conditions_of(UpgradePhase::Workers, &rows, attempt, 1, Timestamp::UNIX_EPOCH);
            let mut status = before.clone();
            status.health = rows;
            for condition in conditions {
                set(&mut status.conditions, condition);
            }
            status
        };
        let first = |status: &ClusterUpgradeStatus| (status.health.len(), status.health[0].message.clone());
        let failed = Attempt::Failed {
            reason: FailureReason::WriteFailed,
            message: "swapping KubeadmControlPlane c: 422",
        };
        let fine = told(&ClusterUpgradeStatus::default(), Attempt::Untried);
        assert_eq!(fine.health, rolling());
        let ill = told(&fine, failed);
        assert_eq!(first(&ill), (2, "swapping KubeadmControlPlane c: 422".to_owned()));
        assert_eq!(told(&ill, failed), ill);
        // What is to be seen yet takes nothing back.
        assert_eq!(told(&ill, Attempt::Untried), ill);
        assert_eq!(told(&ill, Attempt::Succeeded).health, rolling());
    }

    #[test]
    fn an_error_that_differs_in_a_port_is_told_as_before() {
        let told = |reason: FailureReason, message: &str| ClusterUpgradeStatus {
            conditions: conditions_of(
                UpgradePhase::Workers,
                &[],
                Attempt::Failed { reason, message },
                1,
                Timestamp::UNIX_EPOCH,
            ),
            ..ClusterUpgradeStatus::default()
        };
        let steady = |before: &ClusterUpgradeStatus, message: &str| {
            steady(Some(before), FailureReason::WriteFailed, message.to_owned())
        };
        let before = told(FailureReason::WriteFailed, "swapping md-0: reset by 10.0.0.1:43124");
        let again = steady(&before, "swapping md-0: reset by 10.0.0.1:50001");
        assert_eq!(again, "swapping md-0: reset by 10.0.0.1:43124");
        assert!(tells_of(Some(&before), FailureReason::WriteFailed, &again));
        let other = "swapping md-1: reset by 10.0.0.1:50001";
        assert_eq!(steady(&before, other), other);
        let unread = told(FailureReason::ReadFailed, "swapping md-0: reset by 10.0.0.1:43124");
        assert_eq!(steady(&unread, &again), again, "another reason");
        let long = "a".repeat(2000);
        let before = told(FailureReason::WriteFailed, &long);
        assert_eq!(steady(&before, &long), cut(&long));
    }

    #[test]
    fn the_path_keeps_what_was_passed() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let whole = names(&["v1.34.1-1", "v1.35.1-1"]);
        assert_eq!(path(&[], &whole), whole);
        assert_eq!(path(&whole, &names(&["v1.35.1-1"])), whole);
        assert_eq!(path(&whole, &[]), whole);
        assert_eq!(path(&whole, &names(&["v1.36.1-1"])), names(&["v1.36.1-1"]));
    }
}
