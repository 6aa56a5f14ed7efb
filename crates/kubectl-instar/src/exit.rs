//! How a run ends: the same for every verb.

use std::process::ExitCode;

use instar::Outcome;
use instar_api::UpgradePhase;
use instar_report::Report;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[must_use]
pub enum Exit {
    /// Done, or all is well.
    Done,
    /// It is still going, or the time is over.
    StillGoing,
    /// Failed, blocked or refused.
    Blocked,
    /// It couldn't be told.
    Unknown,
}

impl Exit {
    /// What each means, for `--help`.
    pub const HELP: &str = "\
Exit codes: 0 done or pass, 1 failed, blocked or refused, 2 couldn't tell (also: a wrong command line), 3 still going or timed out.";

    /// What an upgrade in this phase says.
    const fn of_phase(phase: UpgradePhase) -> Self {
        match phase {
            UpgradePhase::Completed | UpgradePhase::RolledBack | UpgradePhase::Aborted => Self::Done,
            UpgradePhase::Held | UpgradePhase::Refused | UpgradePhase::Failed => Self::Blocked,
            UpgradePhase::Pending
            | UpgradePhase::ControlPlane
            | UpgradePhase::Workers
            | UpgradePhase::Verifying
            | UpgradePhase::RollingBack => Self::StillGoing,
        }
    }

    /// What an upgrade says: a status of an earlier spec says nothing yet, and what is paused stands.
    pub const fn of(observed: bool, paused: bool, phase: UpgradePhase) -> Self {
        if !observed {
            Self::StillGoing
        } else if paused && !phase.is_finished() {
            Self::Blocked
        } else {
            Self::of_phase(phase)
        }
    }

    /// What a report says. A Cluster without an upgrade has nothing to wait for, if all of it could be read.
    pub fn of_report(report: &Report) -> Self {
        match &report.upgrade {
            None if report.unread.is_empty() => Self::Done,
            None => Self::Unknown,
            Some(upgrade) => Self::of(upgrade.observed, upgrade.paused, upgrade.phase),
        }
    }
}

impl From<Outcome> for Exit {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Done,
            Outcome::CheckFailed => Self::Blocked,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Blocked => Self::from(1),
            Exit::Unknown => Self::from(2),
            Exit::StillGoing => Self::from(3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_has_its_code() {
        for phase in UpgradePhase::ALL {
            let going = Exit::of(false, false, phase);
            assert_eq!(going, Exit::StillGoing, "{phase:?}: of an earlier spec nothing is told");
            let paused = Exit::of(true, true, phase);
            if phase.is_finished() {
                assert_eq!(
                    paused,
                    Exit::of(true, false, phase),
                    "{phase:?}: it is over, paused or not"
                );
            } else {
                assert_eq!(paused, Exit::Blocked, "{phase:?}");
            }
        }
        assert_eq!(Exit::of(true, false, UpgradePhase::Completed), Exit::Done);
        assert_eq!(Exit::of(true, false, UpgradePhase::Held), Exit::Blocked);
        assert_eq!(Exit::of(true, false, UpgradePhase::Workers), Exit::StillGoing);
    }

    #[test]
    fn of_several_the_one_that_needs_a_user_counts() {
        let worst = [Exit::Done, Exit::StillGoing, Exit::Blocked].into_iter().max();
        assert_eq!(worst, Some(Exit::Blocked));
    }
}
