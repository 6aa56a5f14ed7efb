//! What a check before an upgrade came to.

use instar_api::{EtcdSnapshotStatus, PreflightCheck, PreflightResult};
use instar_capi::WorkerKind;
use jiff::Timestamp;

/// What one check came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckOutcome {
    pub check: PreflightCheck,
    pub outcome: PreflightOutcome,
    /// The newest snapshot of etcd that the check found; absent for the other checks.
    pub snapshot: Option<EtcdSnapshotStatus>,
}

/// What a check came to, its mode and what is skipped included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PreflightOutcome {
    Pass,
    /// Its mode is Warn: nothing is held.
    Warn(Problem),
    Fail(Problem),
    /// It can't be said.
    Unknown(Problem),
    /// A user lets the upgrade through all the same.
    Skipped {
        problem: Problem,
        skip: Skip,
    },
    /// There is nothing to look at, and this is why.
    NotApplicable(String),
}

/// What is wrong, or why that can't be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The kind of the object to look at first.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// A sentence, with the objects.
    pub message: String,
}

/// Who skipped a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    pub user: String,
    pub time: Timestamp,
    pub reason: String,
}

impl PreflightOutcome {
    /// Whether the upgrade doesn't begin before it comes to something else.
    #[must_use]
    pub const fn holds(&self) -> bool {
        match self {
            Self::Fail(_) | Self::Unknown(_) => true,
            Self::Pass | Self::Warn(_) | Self::Skipped { .. } | Self::NotApplicable(_) => false,
        }
    }

    /// As the status says it.
    #[must_use]
    pub const fn result(&self) -> PreflightResult {
        match self {
            Self::Pass => PreflightResult::Pass,
            Self::Warn(_) => PreflightResult::Warn,
            Self::Fail(_) => PreflightResult::Fail,
            Self::Unknown(_) => PreflightResult::Unknown,
            Self::Skipped { .. } => PreflightResult::Skipped,
            Self::NotApplicable(_) => PreflightResult::NotApplicable,
        }
    }
}

impl Problem {
    /// What is wrong with a pool, or with a Machine.
    #[must_use]
    pub fn of_worker(kind: WorkerKind, name: &str, message: String) -> Self {
        Self {
            kind: kind.to_string(),
            name: name.to_owned(),
            message,
        }
    }
}
