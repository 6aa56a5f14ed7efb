//! Which rows a cluster gets to, from the rows below them, and on from them.

use std::{collections::BTreeSet, iter};

use instar_domain::Minor;

use super::{ProblemKind, RefusedStep};
use crate::Release;

/// The rows of a minor, oldest first.
struct Group<'a> {
    minor: Minor,
    rows: Vec<&'a Release>,
}

/// What two minors, one after the other, have between them.
enum Between {
    /// A cluster gets from the one to the other.
    Passable,
    /// It doesn't: a minor is missing, or each step is refused. Clusters may be created above it.
    Closed(ProblemKind),
}

/// What is wrong, each with the row that it is about.
pub(super) fn problems<'a>(rows: &[&'a Release]) -> Vec<(Option<&'a Release>, ProblemKind)> {
    let groups = groups(rows);
    let mut problems = Vec::new();
    // Clusters can be created at each row of the oldest minor.
    let mut present = names(groups.first());
    let mut passable = Vec::new();
    for (below, above) in groups.iter().zip(groups.iter().skip(1)) {
        let reached = reached(below, above, &present);
        match between(below, above, &reached) {
            Between::Closed(why) => {
                problems.push((None, why));
                present = names(Some(above));
                passable.push(false);
            }
            Between::Passable => {
                let missed = above.rows.iter().filter(|row| !reached.contains(row.name()));
                problems.extend(missed.map(|row| (Some(*row), unreachable(below, above, row))));
                present = reached;
                passable.push(true);
            }
        }
    }
    let pairs = groups.iter().zip(groups.iter().skip(1));
    for ((below, above), _) in pairs.zip(passable).filter(|(_, passable)| *passable) {
        problems.extend(dead_ends(below, above).into_iter().map(|(row, what)| (Some(row), what)));
    }
    problems
}

fn groups<'a>(rows: &[&'a Release]) -> Vec<Group<'a>> {
    rows.chunk_by(|one, other| one.version().minor() == other.version().minor())
        .filter_map(|rows| {
            let minor = rows.first()?.version().minor();
            Some(Group {
                minor,
                rows: rows.to_vec(),
            })
        })
        .collect()
}

fn names<'a>(group: Option<&Group<'a>>) -> BTreeSet<&'a str> {
    let rows = group.into_iter().flat_map(|group| &group.rows);
    rows.map(|row| row.name()).collect()
}

/// The rows of the minor above that a cluster gets to: from a row below at which it can be, or from a row of their own
/// minor that it has got to.
fn reached<'a>(below: &Group<'a>, above: &Group<'a>, present: &BTreeSet<&str>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    for (at, row) in above.rows.iter().enumerate() {
        let older = above.rows.iter().take(at).filter(|from| reached.contains(from.name()));
        let mut from = below
            .rows
            .iter()
            .filter(|from| present.contains(from.name()))
            .chain(older);
        if from.any(|from| from.refuses_step_to(row).is_none()) {
            reached.insert(row.name());
        }
    }
    reached
}

fn between(below: &Group<'_>, above: &Group<'_>, reached: &BTreeSet<&str>) -> Between {
    let next = Minor {
        major: below.minor.major,
        minor: below.minor.minor + 1,
    };
    if above.minor != next {
        return Between::Closed(ProblemKind::Gap {
            below: below.minor,
            missing: next,
            above: above.minor,
        });
    }
    if !reached.is_empty() {
        return Between::Passable;
    }
    let pairs = above
        .rows
        .iter()
        .flat_map(|to| below.rows.iter().map(move |from| (*from, *to)));
    Between::Closed(ProblemKind::MinorBlocked {
        below: below.minor,
        above: above.minor,
        steps: refused(pairs),
    })
}

fn unreachable(below: &Group<'_>, above: &Group<'_>, row: &Release) -> ProblemKind {
    let older = above.rows.iter().take_while(|from| from.name() != row.name());
    let from = below.rows.iter().chain(older);
    ProblemKind::Unreachable {
        steps: refused(from.map(|from| (*from, row))),
    }
}

/// The rows of the minor below from which no row of the one above is got to, also not by way of another row of theirs.
fn dead_ends<'a>(below: &Group<'a>, above: &Group<'a>) -> Vec<(&'a Release, ProblemKind)> {
    let leaves = |row: &Release| above.rows.iter().any(|to| row.refuses_step_to(to).is_none());
    let mut leaving: BTreeSet<&str> = below
        .rows
        .iter()
        .filter(|row| leaves(row))
        .map(|row| row.name())
        .collect();
    // Another row of the same version may be gone to from each, so one pass over the rows isn't enough.
    let by_way = |row: &Release, leaving: &BTreeSet<&str>| {
        let mut others = below.rows.iter().filter(|other| leaving.contains(other.name()));
        others.any(|other| row.refuses_step_to(other).is_none())
    };
    iter::repeat_with(|| {
        let more: Vec<&str> = below
            .rows
            .iter()
            .filter(|row| !leaving.contains(row.name()) && by_way(row, &leaving))
            .map(|row| row.name())
            .collect();
        leaving.extend(&more);
        more.len()
    })
    .find(|more| *more == 0);
    let stuck = below.rows.iter().filter(|row| !leaving.contains(row.name()));
    stuck
        .map(|row| {
            let steps = refused(above.rows.iter().map(|to| (*row, *to)));
            (
                *row,
                ProblemKind::DeadEnd {
                    next: above.minor,
                    steps,
                },
            )
        })
        .collect()
}

fn refused<'a>(pairs: impl Iterator<Item = (&'a Release, &'a Release)>) -> Vec<RefusedStep> {
    pairs
        .filter_map(|(from, to)| {
            Some(RefusedStep {
                from: from.name().to_owned(),
                to: to.name().to_owned(),
                why: from.refuses_step_to(to)?,
            })
        })
        .collect()
}
