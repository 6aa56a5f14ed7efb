//! The rows of `status.health`: what an upgrade waits for and what isn't well, grouped by cause, since when, and what to
//! do next.

use instar_api::{FailureReason, HealthReason, HealthStatus};
use instar_capi::WorkerKind;
use instar_planner::{Snapshot, Waiting};
use jiff::Timestamp;

use super::progress::whole_seconds;
use crate::text::cut;

/// What the schema takes.
pub(super) const ROWS: usize = 32;

/// How many further objects of one cause a message names.
const NAMED: usize = 3;

/// What a row is made from.
pub(super) struct Found {
    pub(super) reason: HealthReason,
    /// The object that it is about; empty where no single one is.
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) message: String,
    pub(super) next: String,
    /// Since when, if the object itself says so.
    pub(super) since: Option<Timestamp>,
}

/// The rows of what was found, the highest level first. `before` are those that the record has: what was found before
/// keeps its time.
pub(super) fn rows(before: &[HealthStatus], waiting: &[Waiting], snapshot: &Snapshot) -> Vec<HealthStatus> {
    // Templates that are kept are in a list of their own.
    let told = waiting
        .iter()
        .filter(|waiting| !matches!(waiting, Waiting::Retained { .. }));
    let mut rows: Vec<HealthStatus> = grouped(told.map(|waiting| found(waiting, snapshot)))
        .into_iter()
        .map(|group| grouped_row(before, group, snapshot.now))
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.level));
    rows.truncate(ROWS);
    rows
}

/// The row of what the controller couldn't do. Its message names the object.
pub(super) fn failure_row(
    before: &[HealthStatus],
    reason: FailureReason,
    message: &str,
    now: Timestamp,
) -> HealthStatus {
    let reason = reason.health();
    let found = Found {
        reason,
        kind: String::new(),
        name: String::new(),
        message: message.to_owned(),
        next: reason.next(),
        since: None,
    };
    row(before, found, now)
}

/// The row of one thing that was found.
pub(super) fn row(before: &[HealthStatus], found: Found, now: Timestamp) -> HealthStatus {
    grouped_row(before, Group::of(found), now)
}

fn found(waiting: &Waiting, snapshot: &Snapshot) -> Found {
    let (kind, name) = match waiting.involved_object() {
        Some(about) => about.kind_and_name(snapshot),
        None => ("", ""),
    };
    Found {
        reason: waiting.reason(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        message: match waiting.words(snapshot) {
            None => waiting.to_string(),
            Some(words) => format!(
                "{waiting}; its infrastructure isn't ready: {}",
                words.trim_start_matches("* ")
            ),
        },
        next: waiting.next(),
        since: waiting.since(snapshot),
    }
}

/// What has one cause: the first, and the names of the others.
struct Group {
    first: Found,
    others: Vec<String>,
    cause: Option<String>,
}

impl Group {
    fn of(first: Found) -> Self {
        Self {
            cause: cause(&first),
            first,
            others: Vec::new(),
        }
    }
}

fn grouped(found: impl Iterator<Item = Found>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for found in found {
        let next = Group::of(found);
        let same = |group: &&mut Group| {
            next.cause.is_some()
                && group.cause == next.cause
                && group.first.reason == next.first.reason
                && group.first.kind == next.first.kind
        };
        match groups.iter_mut().find(same) {
            Some(group) => {
                group.first.since = group.first.since.into_iter().chain(next.first.since).min();
                if group.first.name != next.first.name && !group.others.contains(&next.first.name) {
                    group.others.push(next.first.name);
                }
            }
            None => groups.push(next),
        }
    }
    groups
}

/// What Machines have in common that wait for the same; absent for what stands in a row of its own.
fn cause(found: &Found) -> Option<String> {
    let is_one_of_many = [WorkerKind::Machine, WorkerKind::MachineSet]
        .iter()
        .any(|kind| kind.as_str() == found.kind);
    if !is_one_of_many {
        return None;
    }
    // Pods and times differ from one Machine to the next.
    let budget = disruption_budget(&found.message).map(|name| format!("disruption budget {name}"));
    Some(budget.unwrap_or_else(|| found.message.replace(&found.name, "")))
}

/// The disruption budget that Cluster API's drain of a Machine waits for, as it words it (internal/controllers/machine/
/// drain in Cluster API v1.14).
fn disruption_budget(message: &str) -> Option<&str> {
    let (_, after) = message.split_once("The disruption budget ")?;
    after.split_whitespace().next()
}

fn grouped_row(before: &[HealthStatus], group: Group, now: Timestamp) -> HealthStatus {
    let Group { first, others, .. } = group;
    let is_same = |row: &&HealthStatus| {
        let is_named = row.name == first.name || others.contains(&row.name);
        row.reason == first.reason.as_str() && row.kind == first.kind && is_named
    };
    let known = before.iter().find(is_same).map(|row| row.since.clone());
    let since = first.since.map(whole_seconds).or(known);
    HealthStatus {
        level: first.reason.level(),
        impact: first.reason.impact(),
        since: since.unwrap_or_else(|| whole_seconds(now)),
        count: u32::try_from(others.len()).unwrap_or(u32::MAX - 1).saturating_add(1),
        message: cut(&format!("{}{}", first.message, also(&first.kind, &others))),
        reason: first.reason.to_string(),
        kind: first.kind,
        name: first.name,
        next: cut(&first.next),
    }
}

fn also(kind: &str, others: &[String]) -> String {
    if others.is_empty() {
        return String::new();
    }
    let named = others.iter().take(NAMED).map(String::as_str);
    let named = named.collect::<Vec<_>>().join(", ");
    match others.len().saturating_sub(NAMED) {
        0 => format!("; so it is with {kind} {named}"),
        more => format!("; so it is with {kind} {named} and {more} more"),
    }
}

/// A row of no object.
#[cfg(test)]
pub(crate) fn row_of(reason: &str, message: &str) -> HealthStatus {
    use instar_api::{HealthImpact, HealthLevel};

    HealthStatus {
        level: HealthLevel::Info,
        impact: HealthImpact::None,
        since: whole_seconds(Timestamp::UNIX_EPOCH),
        count: 1,
        kind: String::new(),
        name: String::new(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        next: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use instar_planner::MachinePhase;

    use super::*;
    use crate::report::progress::tests::snapshot;

    fn drain(machine: &str, pod: &str, budget: &str) -> Waiting {
        Waiting::ClusterApi {
            kind: "Machine".to_owned(),
            name: machine.to_owned(),
            condition: "Deleting".to_owned(),
            message: format!(
                "Drain not completed yet: * Pod default/{pod}: cannot evict pod as it would violate the pod's disruption \
                 budget. The disruption budget {budget} needs 3 healthy pods and has 3 currently"
            ),
        }
    }

    fn not_ready(machine: &str) -> Waiting {
        Waiting::MachineNotReady {
            name: machine.to_owned(),
            phase: MachinePhase::Provisioning,
        }
    }

    /// How many, why, and which is named.
    fn said(rows: &[HealthStatus]) -> Vec<(u32, &str, &str)> {
        rows.iter()
            .map(|row| (row.count, row.reason.as_str(), row.name.as_str()))
            .collect()
    }

    #[test]
    fn machines_that_one_budget_holds_are_one_row() {
        let seen = snapshot();
        let waiting = [
            drain("m-0", "web-7", "web"),
            not_ready("m-1"),
            drain("m-2", "web-3", "web"),
            drain("m-3", "db-0", "db"),
            not_ready("m-4"),
        ];
        let rows = rows(&[], &waiting, &seen);
        assert_eq!(
            said(&rows),
            [
                (2, "ClusterApi", "m-0"),
                (2, "MachineNotReady", "m-1"),
                (1, "ClusterApi", "m-3")
            ]
        );
        assert!(
            rows[0].message.ends_with("; so it is with Machine m-2"),
            "{}",
            rows[0].message
        );
        let many: Vec<Waiting> = (0..40).map(|at| not_ready(&format!("m-{at}"))).collect();
        let rows = super::rows(&[], &many, &seen);
        assert_eq!(said(&rows), [(40, "MachineNotReady", "m-0")]);
        assert_eq!(
            rows[0].message,
            "Machine m-0 is Provisioning, and its node isn't ready; so it is with Machine m-1, m-2, m-3 and 36 more"
        );
    }

    #[test]
    fn what_the_provider_says_is_told_of_a_machine_without_a_node_once_that_is_for_long() {
        use instar_planner::{Node, NodeReadiness, Observed};

        let mut seen = snapshot();
        let Some(Observed::Read(machine)) = seen.machines.first_mut() else {
            panic!("no machine");
        };
        let name = machine.name.clone();
        (machine.node, machine.created) = (Node::Absent, Some(seen.now));
        machine.node_readiness = NodeReadiness::Unknown {
            message: "* VirtualMachineProvisioned: unable to find template".to_owned(),
        };
        let message = |seen: &Snapshot| rows(&[], &[not_ready(&name)], seen)[0].message.clone();
        let plain = format!("Machine {name} is Provisioning, and its node isn't ready");
        assert_eq!(message(&seen), plain);
        seen.machine_start = jiff::SignedDuration::ZERO;
        assert_eq!(
            message(&seen),
            format!("{plain}; its infrastructure isn't ready: VirtualMachineProvisioned: unable to find template")
        );
    }

    #[test]
    fn what_needs_a_user_comes_first_and_the_list_is_bounded() {
        let seen = snapshot();
        let paused = |at: usize| Waiting::Paused {
            kind: "MachineDeployment".to_owned(),
            name: format!("md-{at}"),
        };
        let mut waiting: Vec<Waiting> = (0..40).map(paused).collect();
        waiting.push(Waiting::NoControlPlane);
        let rows = rows(&[], &waiting, &seen);
        assert_eq!(rows.len(), ROWS);
        assert_eq!(said(&rows)[..2], [(1, "NoControlPlane", "c"), (1, "Paused", "md-0")]);
    }

    #[test]
    fn the_time_is_the_objects_own_or_that_of_the_first_look() {
        let mut seen = snapshot();
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        seen.now = at(100);
        let first = rows(&[], &[not_ready("m-1"), Waiting::NoControlPlane], &seen);
        assert_eq!(
            first.iter().map(|row| row.since.0).collect::<Vec<_>>(),
            [at(100), at(100)]
        );
        seen.now = at(200);
        // Another Machine of the same cause, named first.
        let again = rows(
            &first,
            &[not_ready("m-0"), not_ready("m-1"), Waiting::NoControlPlane],
            &seen,
        );
        assert_eq!(
            said(&again),
            [(1, "NoControlPlane", "c"), (2, "MachineNotReady", "m-0")]
        );
        assert_eq!(
            again.iter().map(|row| row.since.0).collect::<Vec<_>>(),
            [at(100), at(100)]
        );
        let stuck = Waiting::ControlPlaneStuck {
            machine: "m-9".to_owned(),
            since: at(7),
            version: "v1.34.1".parse().unwrap(),
            next: None,
            remedy: Box::new(instar_planner::StuckRemedy::Repair),
        };
        assert_eq!(rows(&[], &[stuck], &seen)[0].since.0, at(7));
    }

    #[test]
    fn the_next_thing_to_do_is_said() {
        let until = Some("2026-12-05T21:00:00Z".parse().unwrap());
        let closed = Waiting::GateClosed {
            gate: instar_planner::Gate::Window,
            reason: "no maintenance window is open".to_owned(),
            until,
        };
        let rows = rows(&[], &[closed], &snapshot());
        assert_eq!(rows[0].next, "Nothing: it goes on at 2026-12-05T21:00:00Z.");
        assert_eq!((rows[0].level.as_str(), rows[0].impact.as_str()), ("Info", "Stalled"));
    }
}
