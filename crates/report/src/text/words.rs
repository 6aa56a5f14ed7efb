//! Each state as a word with its colour.

use instar_api::{HealthLevel, MachineUpgradePhase, PreflightResult, UpgradePhase};

use super::Tone;
use crate::Assessment;

pub(crate) const fn phase(phase: UpgradePhase) -> Tone {
    match phase {
        UpgradePhase::Pending | UpgradePhase::ControlPlane | UpgradePhase::Workers | UpgradePhase::Verifying => {
            Tone::Plain
        }
        UpgradePhase::Held | UpgradePhase::RollingBack | UpgradePhase::RolledBack | UpgradePhase::Aborted => {
            Tone::Warning
        }
        UpgradePhase::Completed => Tone::Good,
        UpgradePhase::Refused | UpgradePhase::Failed => Tone::Bad,
    }
}

pub(crate) const fn assessment(assessment: Assessment) -> Tone {
    match assessment {
        Assessment::Empty | Assessment::Progressing | Assessment::Pending => Tone::Plain,
        Assessment::UpToDate => Tone::Good,
        Assessment::Held => Tone::Warning,
        Assessment::Degraded | Assessment::Stalled => Tone::Bad,
    }
}

pub(crate) const fn level(level: HealthLevel) -> Tone {
    match level {
        HealthLevel::Info => Tone::Plain,
        HealthLevel::Warning => Tone::Warning,
        HealthLevel::Error => Tone::Bad,
    }
}

pub(crate) const fn machine(phase: MachineUpgradePhase) -> (&'static str, Tone) {
    match phase {
        MachineUpgradePhase::Pending => ("Pending", Tone::Plain),
        MachineUpgradePhase::Upgrading => ("Upgrading", Tone::Plain),
        MachineUpgradePhase::Running => ("Running", Tone::Good),
        MachineUpgradePhase::Failed => ("Failed", Tone::Bad),
    }
}

pub(super) const fn check(result: PreflightResult) -> &'static str {
    match result {
        PreflightResult::Pass => "passed",
        PreflightResult::Warn => "warns",
        PreflightResult::Fail => "failed",
        PreflightResult::Unknown => "unknown",
        PreflightResult::Skipped => "skipped",
        PreflightResult::NotApplicable => "not applicable",
    }
}
