//! The checks before an upgrade begins: what of a cluster has to be well, and what a policy and the upgrade's user make
//! of what isn't.
//!
//! A check looks at the snapshot, and some at what was read of the workload cluster or of the provider's platform
//! ([`workload`]), one file of `checks` each; its name, its mode and what to do about it stand in
//! [`PreflightCheck`]. What isn't known is told from what fails, and holds the upgrade too.
//!
//! Invariants: no client, no IO, no clock (now is the snapshot's, or given); every function is total.

mod checks;
mod cluster_api;
mod finding;
mod flags;
mod images;
mod lifecycle;
mod removed_apis;
mod unread;
pub mod workload;

use std::collections::{BTreeMap, BTreeSet};

use instar_addons::{SnapshotQuery, SnapshotReading};
use instar_api::{
    ClusterRead, Enforcement, OnUnknown, PreflightCheck, PreflightSettings, PreflightSkip, WorkloadAccess,
};
use instar_planner::{CheckOutcome, PreflightOutcome, Problem, Skip, Snapshot};
use jiff::Timestamp;

use finding::Finding;
use workload::{Deadlines, ImageAt, Probe, Workload};

pub use checks::is_judged;
pub use unread::{Unread, unread};

/// Asks every check that isn't off. A check that `settings` don't name has its default mode; `skips` are those of the
/// upgrade.
#[must_use]
pub fn examine(
    snapshot: &Snapshot,
    settings: &PreflightSettings,
    skips: &[PreflightSkip],
    workload: Workload<'_>,
) -> Vec<CheckOutcome> {
    let asked = PreflightCheck::ALL.iter().filter_map(|check| {
        let look = || checks::look(*check, snapshot, settings, workload);
        let outcome = match mode(*check, settings, workload.access) {
            Enforcement::Off => return None,
            Enforcement::Warn => warned(look()),
            Enforcement::Enforce => {
                let skip = skips.iter().find(|skip| skip.name == *check);
                enforced(look(), on_unknown(*check, settings), skip, snapshot.now)
            }
        };
        Some(CheckOutcome {
            check: *check,
            outcome,
            snapshot: checks::snapshot(*check, settings, workload),
        })
    });
    asked.collect()
}

/// What has to be read of the workload cluster for the checks that aren't off.
#[must_use]
pub fn probes(settings: &PreflightSettings, access: &WorkloadAccess) -> BTreeSet<Probe> {
    let is_asked = |check: &PreflightCheck| mode(*check, settings, access) != Enforcement::Off;
    let asked = PreflightCheck::ALL.iter().copied().filter(is_asked);
    let probes = asked.filter_map(checks::probe);
    probes.filter(|probe| probe.of_workload_cluster().is_some()).collect()
}

/// The images that have to be looked for, where that check isn't off.
#[must_use]
pub fn images(snapshot: &Snapshot, settings: &PreflightSettings, access: &WorkloadAccess) -> BTreeSet<ImageAt> {
    match mode(PreflightCheck::MachineImagePresent, settings, access) {
        Enforcement::Off => BTreeSet::new(),
        Enforcement::Warn | Enforcement::Enforce => checks::machine_image_present::queries(snapshot),
    }
}

/// What has to be looked at for snapshots of etcd, where that check isn't off. A look that was taken is not compiled again.
#[must_use]
pub fn snapshots(
    snapshot: &Snapshot,
    settings: &PreflightSettings,
    access: &WorkloadAccess,
    known: &[SnapshotReading],
) -> Vec<SnapshotQuery> {
    match mode(PreflightCheck::EtcdSnapshot, settings, access) {
        Enforcement::Off => Vec::new(),
        Enforcement::Warn | Enforcement::Enforce => {
            checks::etcd_snapshot::queries(snapshot, &settings.etcd_snapshots, access, known)
        }
    }
}

/// What need not be read again soon: a check that reads much, and lets the upgrade begin.
#[must_use]
pub fn settled(outcomes: &[CheckOutcome]) -> BTreeSet<Probe> {
    let lets_begin = |outcome: &&CheckOutcome| match &outcome.outcome {
        PreflightOutcome::Pass | PreflightOutcome::NotApplicable(_) => true,
        PreflightOutcome::Warn(_)
        | PreflightOutcome::Fail(_)
        | PreflightOutcome::Unknown(_)
        | PreflightOutcome::Skipped { .. } => false,
    };
    let probes = outcomes
        .iter()
        .filter(lets_begin)
        .filter_map(|outcome| checks::probe(outcome.check));
    probes.filter(|probe| probe.is_heavy()).collect()
}

/// How long the looks of checks may take. Those that read the same share the longest.
#[must_use]
pub fn deadlines(settings: &PreflightSettings) -> Deadlines {
    let mut deadlines = Deadlines {
        probes: BTreeMap::new(),
        snapshots: settings.deadlines.get(&PreflightCheck::EtcdSnapshot).copied(),
    };
    for (check, deadline) in &settings.deadlines {
        if let Some(probe) = checks::probe(*check) {
            let longest = deadlines.probes.entry(probe).or_insert(*deadline);
            *longest = (*longest).max(*deadline);
        }
    }
    deadlines
}

/// Whether a check asks which Cluster API is installed.
#[must_use]
pub fn asks_cluster_api(settings: &PreflightSettings, access: &WorkloadAccess) -> bool {
    mode(PreflightCheck::CapiReady, settings, access) != Enforcement::Off
}

fn mode(check: PreflightCheck, settings: &PreflightSettings, access: &WorkloadAccess) -> Enforcement {
    let default = || match (check.reads(), access) {
        (ClusterRead::Workload, WorkloadAccess::Disabled) => Enforcement::Off,
        (ClusterRead::Workload, WorkloadAccess::Enabled(_) | WorkloadAccess::Unclear(_))
        | (ClusterRead::Management | ClusterRead::Infrastructure, _) => check.default_mode(),
    };
    settings.modes.get(&check).copied().unwrap_or_else(default)
}

fn on_unknown(check: PreflightCheck, settings: &PreflightSettings) -> OnUnknown {
    settings.on_unknown.get(&check).copied().unwrap_or(OnUnknown::Hold)
}

fn warned(finding: Finding) -> PreflightOutcome {
    match finding {
        Finding::Pass => PreflightOutcome::Pass,
        Finding::NotApplicable(reason) => PreflightOutcome::NotApplicable(reason),
        Finding::Fail(problem) | Finding::Unknown(problem) | Finding::Warn(problem) => PreflightOutcome::Warn(problem),
    }
}

fn enforced(finding: Finding, on_unknown: OnUnknown, skip: Option<&PreflightSkip>, now: Timestamp) -> PreflightOutcome {
    let (problem, held): (Problem, fn(Problem) -> PreflightOutcome) = match finding {
        Finding::Pass => return PreflightOutcome::Pass,
        Finding::NotApplicable(reason) => return PreflightOutcome::NotApplicable(reason),
        Finding::Warn(problem) => return PreflightOutcome::Warn(problem),
        Finding::Fail(problem) => (problem, PreflightOutcome::Fail),
        Finding::Unknown(problem) => match on_unknown {
            OnUnknown::Hold => (problem, PreflightOutcome::Unknown),
            OnUnknown::Warn => return PreflightOutcome::Warn(problem),
        },
    };
    match skip.map(|skip| skipped(skip, now)) {
        None => held(problem),
        Some(Ok(skip)) => PreflightOutcome::Skipped { problem, skip },
        Some(Err(why_not)) => held(Problem {
            message: format!("{} ({why_not})", problem.message),
            ..problem
        }),
    }
}

/// Who skips it, or why that doesn't count.
fn skipped(skip: &PreflightSkip, now: Timestamp) -> Result<Skip, String> {
    if let Some(until) = skip.until.filter(|until| *until <= now) {
        return Err(format!("it was skipped until {until}"));
    }
    let Some(set_by) = &skip.set_by else {
        return Err(
            "its entry in spec.preflight.skip has no setBy, which admission writes, so it doesn't count: remove it and add it again".to_owned(),
        );
    };
    Ok(Skip {
        user: set_by.user.clone(),
        time: set_by.time,
        reason: skip.reason.clone(),
    })
}

#[cfg(test)]
mod tests;
