//! Problems as sentences, with what to do.

use std::fmt;

use instar_domain::Minor;

use super::{ProblemKind, RefusedStep};
use crate::{StepRefusal, etcd::Etcd};

/// So many steps are listed before they are only counted.
const LISTED: usize = 3;

impl ProblemKind {
    /// Its name, in the letters of a rule's.
    #[must_use]
    pub const fn id(&self) -> &'static str {
        match self {
            Self::Gap { .. } => "gap",
            Self::MinorBlocked { .. } => "minor-blocked",
            Self::Unreachable { .. } => "unreachable",
            Self::DeadEnd { .. } => "dead-end",
            Self::SameRevision { .. } => "same-revision",
            Self::EndOfLife { .. } => "end-of-life",
            Self::NotLatest { .. } => "not-latest",
            Self::OtherVersion { .. } => "other-version",
        }
    }
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { below, missing, above } => write!(
                f,
                "no row is of {missing}, and a control plane can't skip a minor: no cluster gets from {below} to {above}; \
                 add a row of {missing}"
            ),
            Self::MinorBlocked { below, above, steps } => {
                write!(
                    f,
                    "no cluster gets from {below} to {above}: {}; {}",
                    listed(steps),
                    cure(steps, *below)
                )
            }
            Self::Unreachable { steps } => {
                write!(f, "no cluster gets to this row: {}", listed(steps))?;
                f.write_str("; correct it, or add a row that leads to it")
            }
            Self::DeadEnd { next, steps } => {
                write!(f, "from this row no cluster gets to {next}: {}", listed(steps))?;
                f.write_str("; add a row that leads on from it")
            }
            Self::SameRevision { other } => write!(
                f,
                "spec.revision is that of {other}, which has the same version: give it a higher one, or the names decide \
                 which of them is taken"
            ),
            Self::EndOfLife { day } => write!(
                f,
                "its last day was {day} (spec.support.endOfLife): no prefix resolves to it, and who goes to it is warned; \
                 set a later day, or delete the row once no Cluster is pinned to it"
            ),
            Self::NotLatest { newer } => write!(
                f,
                "spec.support.tier is Latest, and {newer} is newer and supported: set it to Supported"
            ),
            Self::OtherVersion { pointer, value, found } => write!(
                f,
                "the value {value:?} at {pointer} names {found}, which is not the version of this row: see that it is the \
                 right image"
            ),
        }
    }
}

fn listed(steps: &[RefusedStep]) -> String {
    let mut listed: Vec<String> = steps
        .iter()
        .take(LISTED)
        .map(|RefusedStep { from, to, why }| format!("{from} to {to}: {why}"))
        .collect();
    match steps.len().saturating_sub(LISTED) {
        0 => {}
        more => listed.push(format!("and {more} more")),
    }
    if listed.is_empty() {
        return "no row is below it".to_owned();
    }
    listed.join("; ")
}

/// What opens the way, where one thing does.
fn cure(steps: &[RefusedStep], below: Minor) -> String {
    let is_etcd = |step: &RefusedStep| match &step.why {
        StepRefusal::Etcd { present, next } => !Etcd::is_minor_below(next, present),
        StepRefusal::NotNewer | StepRefusal::SkipsMinor | StepRefusal::Source { .. } | StepRefusal::CoreDns { .. } => {
            false
        }
    };
    if steps.iter().any(is_etcd) {
        format!("add a row of {below} with spec.components.etcd.imageTag 3.5.26-0")
    } else {
        format!("add a row of {below} that leads on, or correct those above it")
    }
}
