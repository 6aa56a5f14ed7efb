//! What the checks before an upgrade found.

use instar_api::PreflightStatus;
use instar_planner::{CheckOutcome, PreflightOutcome, Problem, Snapshot, checks_are_asked};
use jiff::Timestamp;

use super::progress::whole_seconds;
use crate::text::cut;

/// Of an upgrade that has begun, what was found before stays.
pub(super) fn preflight(before: Vec<PreflightStatus>, snapshot: &Snapshot) -> Vec<PreflightStatus> {
    if !checks_are_asked(snapshot) {
        return before;
    }
    let found = snapshot.preflight.iter();
    found.map(|found| status(found, &before, snapshot.now)).collect()
}

fn status(found: &CheckOutcome, before: &[PreflightStatus], now: Timestamp) -> PreflightStatus {
    let (check, result) = (found.check, found.outcome.result());
    let is_same = |before: &&PreflightStatus| before.check == check && before.result == result;
    let since = before.iter().find(is_same).and_then(|before| before.since.clone());
    let problem = problem(&found.outcome);
    PreflightStatus {
        check,
        result,
        kind: problem.map_or_else(String::new, |problem| problem.kind.clone()),
        name: problem.map_or_else(String::new, |problem| problem.name.clone()),
        message: cut(&message(found)),
        snapshot: found.snapshot.clone(),
        since: Some(since.unwrap_or_else(|| whole_seconds(now))),
    }
}

const fn problem(outcome: &PreflightOutcome) -> Option<&Problem> {
    match outcome {
        PreflightOutcome::Pass | PreflightOutcome::NotApplicable(_) => None,
        PreflightOutcome::Warn(problem)
        | PreflightOutcome::Fail(problem)
        | PreflightOutcome::Unknown(problem)
        | PreflightOutcome::Skipped { problem, .. } => Some(problem),
    }
}

fn message(found: &CheckOutcome) -> String {
    match &found.outcome {
        PreflightOutcome::Pass => String::new(),
        PreflightOutcome::NotApplicable(reason) => reason.clone(),
        PreflightOutcome::Warn(problem) | PreflightOutcome::Fail(problem) => {
            format!("{}; {}", problem.message, found.check.remedy())
        }
        PreflightOutcome::Unknown(problem) => problem.message.clone(),
        PreflightOutcome::Skipped { problem, skip } => format!(
            "{} skipped it at {} (\"{}\"): {}",
            skip.user, skip.time, skip.reason, problem.message
        ),
    }
}

#[cfg(test)]
mod tests {
    use instar_api::{PreflightCheck, PreflightResult};
    use instar_planner::{Direction, Observed, PoolState, SwapEntry, SwapHistory};

    use super::*;
    use crate::report::progress::tests::snapshot;

    fn found(outcome: PreflightOutcome) -> CheckOutcome {
        CheckOutcome {
            check: PreflightCheck::ClusterAvailable,
            outcome,
            snapshot: None,
        }
    }

    fn problem() -> Problem {
        Problem {
            kind: "Cluster".to_owned(),
            name: "c".to_owned(),
            message: "it is not available".to_owned(),
        }
    }

    #[test]
    fn the_time_stays_while_the_result_does() {
        let mut seen = snapshot();
        let mut written = Vec::new();
        let mut at = |second: i64, outcome: PreflightOutcome| {
            seen.now = Timestamp::from_second(second).unwrap();
            seen.preflight = vec![found(outcome)];
            written = preflight(std::mem::take(&mut written), &seen);
            let status = &written[0];
            let since = status.since.as_ref().map(|since| since.0.as_second());
            (status.result, since, status.message.clone())
        };
        let failed = "it is not available; solve what Cluster API's message says";
        assert_eq!(
            at(10, PreflightOutcome::Fail(problem())),
            (PreflightResult::Fail, Some(10), failed.to_owned())
        );
        assert_eq!(at(20, PreflightOutcome::Fail(problem())).1, Some(10));
        assert_eq!(at(30, PreflightOutcome::Unknown(problem())).1, Some(30));
        let skip = instar_planner::Skip {
            user: "ann".to_owned(),
            time: Timestamp::UNIX_EPOCH,
            reason: "a test".to_owned(),
        };
        let skipped = PreflightOutcome::Skipped {
            problem: problem(),
            skip,
        };
        let said = "ann skipped it at 1970-01-01T00:00:00Z (\"a test\"): it is not available";
        assert_eq!(at(40, skipped), (PreflightResult::Skipped, Some(40), said.to_owned()));
        let pass = at(50, PreflightOutcome::Pass);
        assert_eq!(pass, (PreflightResult::Pass, Some(50), String::new()));
    }

    #[test]
    fn once_it_has_begun_what_was_found_stays() {
        let mut seen = snapshot();
        seen.preflight = vec![found(PreflightOutcome::Pass)];
        let before = preflight(Vec::new(), &seen);
        assert_eq!(before.len(), 1);
        let Some(Observed::Read(control_plane)) = &mut seen.control_plane else {
            panic!("it can be read")
        };
        let state = PoolState {
            version: "v1.34.3".parse().unwrap(),
            release: None,
            template: None,
            bootstrap: None,
            etcd: instar_planner::ComponentImage::default(),
            core_dns: instar_planner::ComponentImage::default(),
        };
        let entry = SwapEntry {
            upgrade: seen.upgrade_spec.id(),
            since: seen.now,
            before: state.clone(),
            after: state,
            converged: None,
            direction: Direction::Forward,
        };
        control_plane.object.swap_history = Some(SwapHistory::with(None, entry));
        seen.preflight = Vec::new();
        assert_eq!(preflight(before.clone(), &seen), before);
    }
}
