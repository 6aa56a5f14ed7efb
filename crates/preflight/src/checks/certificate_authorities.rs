//! The certificate authorities of the workload cluster outlive the upgrade, and the next.

use instar_planner::{Problem, Snapshot};
use jiff::{SignedDuration, Timestamp};

use super::read;
use crate::{
    finding::Finding,
    workload::{AuthoritySource, Facts, Probe, Workload},
};

/// A machine that joins gets certificates that end no later than the authority.
const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Their renewal replaces every machine, so it is planned long before.
const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);

pub(super) fn look(snapshot: &Snapshot, workload: Workload<'_>) -> Finding {
    match read(workload, snapshot, Probe::Authorities, Facts::authorities) {
        Ok(authorities) => {
            let ends = authorities.ends.iter();
            Finding::of_all(ends.map(|(source, end)| judge(*source, *end, snapshot)))
        }
        Err(finding) => finding,
    }
}

fn judge(source: AuthoritySource, end: Timestamp, snapshot: &Snapshot) -> Finding {
    let left = end.duration_since(snapshot.now);
    let problem = |ends: &str| Problem {
        kind: "Cluster".to_owned(),
        name: snapshot.cluster.name.clone(),
        message: format!("{} {ends} at {end}", source.words()),
    };
    if left <= SignedDuration::ZERO {
        Finding::Fail(problem("ended"))
    } else if left <= SOON {
        Finding::Fail(problem("ends within 30 days,"))
    } else if left <= YEAR {
        Finding::Warn(problem("ends within a year,"))
    } else {
        Finding::Pass
    }
}
