//! The checks before an upgrade begins: what of a cluster has to be well, and what a policy and the upgrade's user make
//! of what isn't.
//!
//! A check looks at the snapshot alone, one file of `checks` each; its name, its mode and what to do about it stand in
//! [`PreflightCheck`]. What isn't known is told from what fails, and holds the upgrade too.
//!
//! Invariants: no client, no IO, no clock (now is the snapshot's); every function is total.

mod checks;
mod finding;
mod flags;
mod lifecycle;
mod unread;

use std::collections::BTreeMap;

use instar_api::{Enforcement, PreflightCheck, PreflightSkip};
use instar_planner::{CheckOutcome, PreflightOutcome, Problem, Skip, Snapshot};
use jiff::Timestamp;

use finding::Finding;

pub use checks::is_judged;
pub use unread::{Unread, unread};

/// Asks every check that isn't off. A check that `modes` doesn't name has its default mode; `skips` are those of the
/// upgrade.
#[must_use]
pub fn examine(
    snapshot: &Snapshot,
    modes: &BTreeMap<PreflightCheck, Enforcement>,
    skips: &[PreflightSkip],
) -> Vec<CheckOutcome> {
    let asked = PreflightCheck::ALL.iter().filter_map(|check| {
        let mode = modes.get(check).copied().unwrap_or_else(|| check.default_mode());
        let outcome = match mode {
            Enforcement::Off => return None,
            Enforcement::Warn => warned(checks::look(*check, snapshot)),
            Enforcement::Enforce => {
                let skip = skips.iter().find(|skip| skip.name == *check);
                enforced(checks::look(*check, snapshot), skip, snapshot.now)
            }
        };
        Some(CheckOutcome { check: *check, outcome })
    });
    asked.collect()
}

fn warned(finding: Finding) -> PreflightOutcome {
    match finding {
        Finding::Pass => PreflightOutcome::Pass,
        Finding::NotApplicable(reason) => PreflightOutcome::NotApplicable(reason),
        Finding::Fail(problem) | Finding::Unknown(problem) | Finding::Warn(problem) => PreflightOutcome::Warn(problem),
    }
}

fn enforced(finding: Finding, skip: Option<&PreflightSkip>, now: Timestamp) -> PreflightOutcome {
    let (problem, held): (Problem, fn(Problem) -> PreflightOutcome) = match finding {
        Finding::Pass => return PreflightOutcome::Pass,
        Finding::NotApplicable(reason) => return PreflightOutcome::NotApplicable(reason),
        Finding::Warn(problem) => return PreflightOutcome::Warn(problem),
        Finding::Fail(problem) => (problem, PreflightOutcome::Fail),
        Finding::Unknown(problem) => (problem, PreflightOutcome::Unknown),
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
