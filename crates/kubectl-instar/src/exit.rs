//! How a run ends: the same for every verb.

use std::process::ExitCode;

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
    pub const fn of_phase(phase: UpgradePhase) -> Self {
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

    /// What a report says. A Cluster without an upgrade has nothing to wait for.
    pub fn of_report(report: &Report) -> Self {
        match &report.upgrade {
            None => Self::Done,
            Some(upgrade) if !upgrade.observed => Self::StillGoing,
            Some(upgrade) if upgrade.paused && !upgrade.phase.is_finished() => Self::Blocked,
            Some(upgrade) => Self::of_phase(upgrade.phase),
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
