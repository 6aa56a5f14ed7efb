//! The upgrade, as its record says it.

use instar_api::{ClusterUpgrade, ClusterUpgradeStatus, HealthLevel, Pins, UpgradePhase};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::{
    Assessment, PathStep, PathStepState, PoolSection, ShownUpgrade, TimeLeft, UpgradeSection,
    pace::{self, Arrival},
    record,
};

pub(super) fn of(
    record: &ClusterUpgrade,
    pins: Option<&Pins>,
    control_plane: Option<&PoolSection>,
    arrivals: Vec<Arrival>,
) -> UpgradeSection {
    let status = record.status.clone().unwrap_or_default();
    let spec = &record.spec;
    let (converged, machines) = counts(&status.machines);
    UpgradeSection {
        name: record.name_any(),
        shown: ShownUpgrade::of(record),
        operation: spec.operation,
        target: record::target(record).to_owned(),
        phase: status.phase,
        paused: spec.paused,
        observed: record::is_observed(record),
        started: record::began(record).map(Time),
        path: path(&status, pins, control_plane),
        step: status.step.clone(),
        converged,
        machines,
        time_left: time_left(&status, spec.paused, arrivals, machines.saturating_sub(converged)),
        window: status.window,
        preflight: status.preflight,
        rollback: status.rollback,
    }
}

/// `5/7`, as the status has it; 0 of 0 before it says anything.
fn counts(text: &str) -> (u32, u32) {
    let parsed = text.split_once('/').and_then(|(converged, machines)| {
        let converged = converged.parse().ok()?;
        Some((converged, machines.parse().ok()?))
    });
    parsed.unwrap_or_default()
}

/// Nothing is left of what is over, and what is held, or waits for a user, takes as long as that does.
fn time_left(status: &ClusterUpgradeStatus, paused: bool, arrivals: Vec<Arrival>, left: u32) -> Option<TimeLeft> {
    let goes_on = match status.phase {
        UpgradePhase::ControlPlane | UpgradePhase::Workers => !paused,
        UpgradePhase::Pending
        | UpgradePhase::Held
        | UpgradePhase::Verifying
        | UpgradePhase::Completed
        | UpgradePhase::Refused
        | UpgradePhase::RollingBack
        | UpgradePhase::RolledBack
        | UpgradePhase::Aborted
        | UpgradePhase::Failed => false,
    };
    let waits_for_user = status.health.iter().any(|row| row.level == HealthLevel::Error);
    if goes_on && !waits_for_user {
        pace::time_left(arrivals, left)
    } else {
        None
    }
}

/// Where the control plane is on the path follows from its version, by the pins.
fn path(status: &ClusterUpgradeStatus, pins: Option<&Pins>, control_plane: Option<&PoolSection>) -> Vec<PathStep> {
    let version_of = |release: &str| {
        let mut pins = pins.into_iter().flat_map(|pins| &pins.releases);
        let found = pins.find(|(_, pin)| pin.release == release);
        found.map(|(version, _)| version.to_string()).unwrap_or_default()
    };
    let versions: Vec<String> = status.path.iter().map(|release| version_of(release)).collect();
    let now = control_plane.filter(|pool| !pool.version.is_empty());
    let at = now.and_then(|pool| versions.iter().position(|version| *version == pool.version));
    let arrived = now.is_some_and(|pool| pool.assessment == Assessment::UpToDate);
    let state = |step: usize| match at {
        _ if status.phase == UpgradePhase::Completed => PathStepState::Done,
        Some(at) if step < at || (step == at && arrived) => PathStepState::Done,
        Some(at) if step == at => PathStepState::Current,
        Some(_) | None => PathStepState::ToCome,
    };
    let steps = status.path.iter().zip(versions).enumerate();
    steps
        .map(|(step, (release, version))| PathStep {
            release: release.clone(),
            version,
            state: state(step),
        })
        .collect()
}
