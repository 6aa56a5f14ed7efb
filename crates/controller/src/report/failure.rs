//! Steps of an upgrade that have failed.

use instar_api::{ClusterUpgradeStatus, HealthReason, HealthStatus};
use instar_planner::FailureResponse;

/// What a status says of steps that have failed and the one before it didn't.
pub(crate) fn failed_steps<'s>(
    before: Option<&ClusterUpgradeStatus>,
    after: &'s ClusterUpgradeStatus,
) -> impl Iterator<Item = &'s str> {
    let known: Vec<(String, String)> = before
        .iter()
        .flat_map(|status| rows(status))
        .map(|row| (row.reason.clone(), row.name.clone()))
        .collect();
    let new = rows(after).filter(move |row| !known.contains(&(row.reason.clone(), row.name.clone())));
    new.map(|row| row.message.as_str())
}

/// Those that count.
fn rows(status: &ClusterUpgradeStatus) -> impl Iterator<Item = &HealthStatus> {
    let reasons = [
        HealthReason::StalledStep,
        HealthReason::CanaryFailed,
        HealthReason::VerificationFailed,
    ];
    let is_failure = move |row: &&HealthStatus| reasons.iter().any(|reason| row.reason == reason.as_str());
    let failures = status.health.iter().filter(is_failure);
    failures.filter(|row| !row.message.contains(FailureResponse::TO_CONFIRM))
}

#[cfg(test)]
mod tests {
    use instar_api::UpgradePhase;
    use instar_planner::{
        Action, Decision, Failed, Failure, FailureResponse, Operation, PoolId, Progress, RollbackScope, Stage, Waiting,
    };
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::report::{phase, row_of};

    #[test]
    fn only_what_ends_an_upgrade_is_its_phase() {
        let take_back = FailureResponse::TakeBack {
            scope: RollbackScope::Workers,
            because: None,
        };
        for (response, stage, expected) in [
            (FailureResponse::Hold, Stage::Held, UpgradePhase::Held),
            (FailureResponse::Hold, Stage::Workers, UpgradePhase::Workers),
            (take_back, Stage::Held, UpgradePhase::Held),
            (
                FailureResponse::End { because: None },
                Stage::Held,
                UpgradePhase::Failed,
            ),
        ] {
            let failure = Failure::StalledStep {
                pool: PoolId::ControlPlane,
                since: Timestamp::UNIX_EPOCH,
                deadline: SignedDuration::from_mins(30),
                machine: None,
            };
            let decision = Decision {
                action: Action::Nothing,
                waiting: vec![Waiting::Failed(Box::new(Failed { failure, response }))],
                progress: Progress {
                    stage,
                    path: Vec::new(),
                    pools: Vec::new(),
                    templates: Vec::new(),
                },
                unread: Vec::new(),
            };
            assert_eq!(phase(&decision, &Operation::Upgrade), expected, "{decision:?}");
        }
        assert!(UpgradePhase::Failed.is_finished());
        assert_eq!(UpgradePhase::of_finished("Failed"), UpgradePhase::Failed);
    }

    #[test]
    fn a_step_that_has_failed_is_told_once() {
        let status = |rows: &[(&str, &str)]| ClusterUpgradeStatus {
            health: rows.iter().map(|(reason, message)| row_of(reason, message)).collect(),
            ..ClusterUpgradeStatus::default()
        };
        let none = status(&[("PoolRollingOut", "on its way")]);
        let stalled = status(&[("StalledStep", "since noon"), ("PoolRollingOut", "on its way")]);
        let still = status(&[("StalledStep", "since one")]);
        let told = |before: Option<&ClusterUpgradeStatus>, after| failed_steps(before, after).collect::<Vec<_>>();
        assert_eq!(told(None, &stalled), ["since noon"]);
        assert_eq!(told(Some(&none), &stalled), ["since noon"]);
        let to_confirm = format!("since noon; {} one", FailureResponse::TO_CONFIRM);
        let to_confirm = status(&[("StalledStep", &to_confirm)]);
        assert!(told(Some(&none), &to_confirm).is_empty());
        assert_eq!(told(Some(&to_confirm), &stalled), ["since noon"]);
        assert!(told(Some(&stalled), &still).is_empty());
        assert!(told(Some(&stalled), &none).is_empty());
    }
}
