//! What is wrong with the rows of a catalog as a whole: each may be fine by itself, and still no cluster gets to it.
//!
//! What is said holds for a control plane of kubeadm with a stacked etcd. Others have no etcd that a row moves.

mod reach;
mod text;
mod versions;

#[cfg(test)]
mod tests;

use instar_api::{CatalogName, Tier, Values};
use instar_domain::{KubeVersion, Minor};
use jiff::civil::Date;

use crate::{Catalog, Release, StepRefusal};

pub use versions::names_version;

/// Something that is wrong with a catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Of which catalog.
    pub catalog: CatalogName,
    /// The row that it is about; absent where it is about several.
    pub release: Option<String>,
    /// What it is.
    pub what: ProblemKind,
}

/// What may be wrong with a catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProblemKind {
    /// Rows of the two minors exist, and none of a minor between them.
    Gap {
        /// The newest minor below the gap.
        below: Minor,
        /// The first that is missing.
        missing: Minor,
        /// The oldest minor above the gap.
        above: Minor,
    },
    /// No row of the one minor leads to a row of the next one.
    MinorBlocked {
        /// The one.
        below: Minor,
        /// The next one.
        above: Minor,
        /// What stands in the way, for each pair of rows.
        steps: Vec<RefusedStep>,
    },
    /// No row that a cluster can be at leads to this one.
    Unreachable {
        /// What stands in the way from each row below it.
        steps: Vec<RefusedStep>,
    },
    /// From this row no cluster gets to the next minor.
    DeadEnd {
        /// The next minor.
        next: Minor,
        /// What stands in the way to each of its rows.
        steps: Vec<RefusedStep>,
    },
    /// Another row has the same version and revision, so their names decide which of them is taken.
    SameRevision {
        /// The other row.
        other: String,
    },
    /// The day has passed.
    EndOfLife {
        /// Its last day.
        day: Date,
    },
    /// It has the tier Latest, and a newer version is supported.
    NotLatest {
        /// The newer one.
        newer: KubeVersion,
    },
    /// A value of a machine image names another version than the row's.
    OtherVersion {
        /// Where it is set.
        pointer: String,
        /// What is set.
        value: String,
        /// The version in it.
        found: String,
    },
}

/// A step between two rows that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedStep {
    /// The row that runs.
    pub from: String,
    /// The row to go to.
    pub to: String,
    /// Why not.
    pub why: StepRefusal,
}

/// What a problem leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It may be meant so.
    Warning,
    /// Some cluster can't be upgraded.
    Error,
}

impl Severity {
    /// In lower case, as compilers print it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl ProblemKind {
    /// What it leads to.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        match self {
            Self::Gap { .. } | Self::MinorBlocked { .. } | Self::Unreachable { .. } => Severity::Error,
            Self::DeadEnd { .. }
            | Self::SameRevision { .. }
            | Self::EndOfLife { .. }
            | Self::NotLatest { .. }
            | Self::OtherVersion { .. } => Severity::Warning,
        }
    }
}

/// What is wrong with a catalog on that day: first what concerns several rows, then row by row, the oldest first.
#[must_use]
pub fn problems(catalog: &Catalog, today: Date) -> Vec<Problem> {
    let of = |release: Option<&Release>, what: ProblemKind| Problem {
        catalog: catalog.name().clone(),
        release: release.map(|row| row.name().to_owned()),
        what,
    };
    let rows: Vec<&Release> = catalog.releases().collect();
    let mut problems: Vec<Problem> = reach::problems(&rows)
        .into_iter()
        .map(|(row, what)| of(row, what))
        .collect();
    problems.sort_by_key(|problem| problem.release.is_some());
    for (at, row) in rows.iter().enumerate() {
        let before = rows.get(..at).and_then(<[_]>::last);
        let same = before.filter(|before| before.version() == row.version() && before.revision() == row.revision());
        let same = same.map(|before| ProblemKind::SameRevision {
            other: before.name().to_owned(),
        });
        let end = row
            .end_of_life()
            .filter(|day| *day < today)
            .map(|day| ProblemKind::EndOfLife { day });
        let all = same.into_iter().chain(end).chain(not_latest(row, &rows, today));
        problems.extend(all.chain(other_versions(row)).map(|what| of(Some(row), what)));
    }
    problems
}

fn not_latest(row: &Release, rows: &[&Release], today: Date) -> Option<ProblemKind> {
    let newest = rows.iter().rev().find(|row| row.is_supported(today))?;
    (row.tier() == Tier::Latest && newest.version() > row.version()).then(|| ProblemKind::NotLatest {
        newer: newest.version().clone(),
    })
}

fn other_versions(row: &Release) -> impl Iterator<Item = ProblemKind> {
    row.images().flat_map(Values::iter).filter_map(move |(pointer, value)| {
        let text = value.as_str()?;
        let found = versions::other(text, row.version())?;
        Some(ProblemKind::OtherVersion {
            pointer: pointer.to_string(),
            value: text.to_owned(),
            found,
        })
    })
}
