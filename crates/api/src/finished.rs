//! What a ClusterUpgrade says of its own end: in its status, and in an annotation that survives `clusterctl move`.

use std::fmt;

use crate::{ClusterUpgrade, FINISHED_ANNOTATION, UpgradePhase};

/// What the annotation [`FINISHED_ANNOTATION`] of an upgrade says that is or was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishedMarker {
    /// It is over.
    Over(UpgradePhase),
    /// It isn't over: it has another target, for which nothing of its pools was changed yet, and had reached the one before.
    CompletedBefore,
    /// Over: that other target was refused.
    RefusedAfterCompleted,
    /// Over: it failed on the way to that other target, before any pool was changed.
    FailedAfterCompleted,
    /// Over: it was aborted there.
    AbortedAfterCompleted,
    /// Over: a restart that was refused since its Cluster was created again after it was asked for.
    RefusedAfterMove {
        /// Its `spec.retry` then: only a higher one asks once more.
        retry: u32,
    },
}

/// How an upgrade that isn't under way ended, for those that ask what it has left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeOutcome {
    /// It has reached its target.
    Completed,
    /// What it had changed was taken back.
    TakenBack,
    /// It goes on, or it ended before its target.
    Neither,
}

/// The texts of those that have one beside that of a phase.
const COMPLETED_BEFORE: &str = "CompletedBefore";
const REFUSED_AFTER_COMPLETED: &str = "RefusedAfterCompleted";
const FAILED_AFTER_COMPLETED: &str = "FailedAfterCompleted";
const ABORTED_AFTER_COMPLETED: &str = "AbortedAfterCompleted";
/// The number comes behind it.
const REFUSED_AFTER_MOVE: &str = "RefusedAfterMove/";

impl FinishedMarker {
    /// Reads the annotation's text. What isn't known counts as refused, so that nothing is done for it.
    #[must_use]
    pub fn read(text: &str) -> Self {
        match text {
            COMPLETED_BEFORE => Self::CompletedBefore,
            REFUSED_AFTER_COMPLETED => Self::RefusedAfterCompleted,
            FAILED_AFTER_COMPLETED => Self::FailedAfterCompleted,
            ABORTED_AFTER_COMPLETED => Self::AbortedAfterCompleted,
            _ => {
                let retry = text.strip_prefix(REFUSED_AFTER_MOVE).and_then(|text| text.parse().ok());
                retry.map_or_else(
                    || Self::Over(UpgradePhase::of_finished(text)),
                    |retry| Self::RefusedAfterMove { retry },
                )
            }
        }
    }

    /// The marker of an upgrade that has one. A garbled one was put there too.
    #[must_use]
    pub fn of(upgrade: &ClusterUpgrade) -> Option<Self> {
        let annotations = upgrade.metadata.annotations.as_ref()?;
        Some(Self::read(annotations.get(FINISHED_ANNOTATION)?))
    }

    /// The phase at its end; absent where it isn't over.
    #[must_use]
    pub const fn phase(self) -> Option<UpgradePhase> {
        match self {
            Self::Over(phase) => Some(phase),
            Self::CompletedBefore => None,
            Self::RefusedAfterCompleted | Self::RefusedAfterMove { .. } => Some(UpgradePhase::Refused),
            Self::FailedAfterCompleted => Some(UpgradePhase::Failed),
            Self::AbortedAfterCompleted => Some(UpgradePhase::Aborted),
        }
    }

    /// How what it has changed ended, whatever was asked of it since.
    #[must_use]
    pub const fn outcome(self) -> UpgradeOutcome {
        match self {
            Self::Over(phase) => phase.outcome(),
            Self::CompletedBefore
            | Self::RefusedAfterCompleted
            | Self::FailedAfterCompleted
            | Self::AbortedAfterCompleted => UpgradeOutcome::Completed,
            Self::RefusedAfterMove { .. } => UpgradeOutcome::Neither,
        }
    }
}

/// The annotation's text.
impl fmt::Display for FinishedMarker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Over(phase) => f.write_str(phase.as_str()),
            Self::CompletedBefore => f.write_str(COMPLETED_BEFORE),
            Self::RefusedAfterCompleted => f.write_str(REFUSED_AFTER_COMPLETED),
            Self::FailedAfterCompleted => f.write_str(FAILED_AFTER_COMPLETED),
            Self::AbortedAfterCompleted => f.write_str(ABORTED_AFTER_COMPLETED),
            Self::RefusedAfterMove { retry } => write!(f, "{REFUSED_AFTER_MOVE}{retry}"),
        }
    }
}

impl UpgradePhase {
    /// Whether an upgrade in this phase was completed, was taken back, or neither.
    #[must_use]
    pub const fn outcome(self) -> UpgradeOutcome {
        match self {
            Self::Completed => UpgradeOutcome::Completed,
            Self::RolledBack => UpgradeOutcome::TakenBack,
            Self::Pending
            | Self::Held
            | Self::ControlPlane
            | Self::Workers
            | Self::Verifying
            | Self::Refused
            | Self::RollingBack
            | Self::Aborted
            | Self::Failed => UpgradeOutcome::Neither,
        }
    }
}

impl ClusterUpgrade {
    /// The phase at the end of an upgrade that is over; absent of one that isn't, or whose spec was edited since. The status
    /// knows, and the annotation where there is none.
    #[must_use]
    pub fn finished_phase(&self) -> Option<UpgradePhase> {
        let generation = self.metadata.generation.unwrap_or_default();
        match self.status.as_ref().filter(|status| status.observed_generation > 0) {
            Some(status) => status.is_finished(generation).then_some(status.phase),
            None => FinishedMarker::of(self)?.phase(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_marker_is_read_as_it_is_written() {
        let finished = UpgradePhase::ALL.into_iter().filter(|phase| phase.is_finished());
        let over = finished.map(FinishedMarker::Over);
        let others = [
            FinishedMarker::CompletedBefore,
            FinishedMarker::RefusedAfterCompleted,
            FinishedMarker::FailedAfterCompleted,
            FinishedMarker::AbortedAfterCompleted,
            FinishedMarker::RefusedAfterMove { retry: 0 },
            FinishedMarker::RefusedAfterMove { retry: u32::MAX },
        ];
        for marker in over.chain(others) {
            assert_eq!(FinishedMarker::read(&marker.to_string()), marker);
        }
        for garbled in [
            "",
            "garbled",
            "Workers",
            "CompletedLater",
            "RefusedAfterMove/",
            "RefusedAfterMove/-1",
        ] {
            let refused = FinishedMarker::Over(UpgradePhase::Refused);
            assert_eq!(FinishedMarker::read(garbled), refused, "{garbled}");
        }
    }

    #[test]
    fn without_a_status_the_marker_says_whether_it_is_over() {
        let mut upgrade = ClusterUpgrade::new("up", crate::ClusterUpgradeSpec::default());
        assert_eq!(upgrade.finished_phase(), None);
        for (text, phase) in [
            ("Completed", Some(UpgradePhase::Completed)),
            ("CompletedBefore", None),
            ("FailedAfterCompleted", Some(UpgradePhase::Failed)),
            ("garbled", Some(UpgradePhase::Refused)),
        ] {
            upgrade.metadata.annotations = Some([(FINISHED_ANNOTATION.to_owned(), text.to_owned())].into());
            assert_eq!(upgrade.finished_phase(), phase, "{text}");
        }
    }
}
