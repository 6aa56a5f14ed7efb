//! One Cluster.

use instar_api::{HealthStatus, MachineUpgradePhase, PreflightResult, PreflightStatus, RollbackExtent};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Cell, Details, Layout, Table, Tone, heading, line, paragraph, with_details, words};
use crate::{
    ClusterKind, MachineRow, PathStepState, PoolSection, Report, UpgradeSection, age,
    listed::{LISTED, divide},
};

/// What is to be said of a Cluster, as text.
#[must_use]
pub fn of_cluster(report: &Report, layout: &Layout, now: Timestamp) -> String {
    let mut text = String::new();
    head(&mut text, report, layout, now);
    let pools = report.control_plane.iter();
    section(&mut text, "Control plane", pools_table(pools), layout);
    section(&mut text, "Pools", pools_table(report.pools.iter()), layout);
    machines(&mut text, &report.machines, layout, now);
    health(&mut text, &report.health, layout, now);
    for why in &report.unread {
        text.push_str(&paragraph(why, "Not shown: ", "           ", layout));
    }
    text
}

fn section<const COLUMNS: usize>(text: &mut String, title: &str, table: Option<Table<COLUMNS>>, layout: &Layout) {
    heading(text, title, layout);
    let Some(table) = table else {
        text.push_str("none\n");
        return;
    };
    text.push_str(&table.text(layout));
}

fn head(text: &mut String, report: &Report, layout: &Layout, now: Timestamp) {
    let cluster = &report.cluster;
    let kind = match (cluster.kind, &cluster.class) {
        (ClusterKind::Classic, _) => "classic".to_owned(),
        (ClusterKind::Topology, None) => "topology".to_owned(),
        (ClusterKind::Topology, Some(class)) => format!("topology, class {class}"),
    };
    let version = if cluster.version.is_empty() {
        "unknown"
    } else {
        &cluster.version
    };
    let mut value = format!("{}/{} ({kind}), version {version}", cluster.namespace, cluster.name);
    if cluster.deleting {
        value.push_str(", being deleted");
    } else if cluster.paused {
        value.push_str(", paused");
    }
    line(text, "Cluster", &value, layout);
    if let Some(version) = &cluster.requested {
        let value = format!("{version}, and no ClusterUpgrade goes there yet");
        line(text, "Requested", &value, layout);
    }
    match &report.upgrade {
        None => line(text, "Upgrade", "none", layout),
        Some(upgrade) => upgrade_lines(text, upgrade, layout, now),
    }
}

fn upgrade_lines(text: &mut String, upgrade: &UpgradeSection, layout: &Layout, now: Timestamp) {
    let what = if upgrade.operation.is_rollback() {
        format!("{} of {}", upgrade.operation.as_str(), upgrade.target)
    } else {
        format!("{} to {}", upgrade.operation.as_str(), upgrade.target)
    };
    let since = upgrade
        .started
        .as_ref()
        .map(|started| format!(", begun {} ago", ago(started, now)));
    let seen = if upgrade.observed {
        ""
    } else {
        " (of an earlier spec: the controller has not answered yet)"
    };
    let paused = if upgrade.paused { ", paused" } else { "" };
    let phase = upgrade.phase.as_str();
    let value = format!(
        "{}: {what}, {phase}{paused}{}{seen}",
        upgrade.name,
        since.unwrap_or_default()
    );
    // The word is painted after the paragraph is laid out, since colours have no width.
    let mut lines = String::new();
    line(&mut lines, "Upgrade", &value, layout);
    let painted = words::phase(upgrade.phase).paint(phase, layout.colour);
    text.push_str(&lines.replacen(&format!(", {phase}"), &format!(", {painted}"), 1));
    if !upgrade.path.is_empty() {
        let steps = upgrade.path.iter().map(|step| match step.state {
            PathStepState::Done => format!("{} (done)", step.release),
            PathStepState::Current => format!("{} (now)", step.release),
            PathStepState::ToCome => step.release.clone(),
        });
        line(text, "Path", &steps.collect::<Vec<String>>().join(" > "), layout);
    }
    if upgrade.machines > 0 {
        line(text, "Machines", &progress(upgrade), layout);
    }
    if let Some(window) = &upgrade.window {
        line(text, "Window", &window.message, layout);
    }
    checks(text, upgrade, layout);
    if let Some(rollback) = &upgrade.rollback {
        let why = if rollback.why.is_empty() {
            String::new()
        } else {
            format!(": {}", rollback.why)
        };
        let value = match rollback.possible {
            RollbackExtent::All => "all of it can be taken back".to_owned(),
            RollbackExtent::Workers => format!("the workers alone can be taken back{why}"),
            RollbackExtent::Nothing => format!("nothing can be taken back{why}"),
        };
        line(text, "Way back", &value, layout);
    }
}

fn progress(upgrade: &UpgradeSection) -> String {
    let left = upgrade.time_left.map_or_else(
        || "-".to_owned(),
        |left| {
            let text = |seconds| age(SignedDuration::from_secs(seconds));
            let (least, most) = (text(left.at_least_seconds), text(left.at_most_seconds));
            let range = if least == most {
                least
            } else {
                format!("{least} to {most}")
            };
            let of = if left.samples == 1 { "machine" } else { "machines" };
            format!("{range}, by {} {of} of this upgrade", left.samples)
        },
    );
    let done = format!("{} of {} where they go", upgrade.converged, upgrade.machines);
    if upgrade.converged < upgrade.machines && !upgrade.phase.is_finished() {
        format!("{done}; time left: {left}")
    } else {
        done
    }
}

/// What passed needs no words.
fn checks(text: &mut String, upgrade: &UpgradeSection, layout: &Layout) {
    let passed = |check: &&PreflightStatus| match check.result {
        PreflightResult::Pass | PreflightResult::NotApplicable => true,
        PreflightResult::Warn | PreflightResult::Fail | PreflightResult::Unknown | PreflightResult::Skipped => false,
    };
    let all = upgrade.preflight.len();
    if all == 0 {
        return;
    }
    let good = upgrade.preflight.iter().filter(passed).count();
    let others = upgrade.preflight.iter().filter(|check| !passed(check));
    let others = others.map(|check| format!("{} {}", check.check.as_str(), words::check(check.result)));
    let others: Vec<String> = others.collect();
    let others = if others.is_empty() {
        String::new()
    } else {
        format!("; {}", others.join(", "))
    };
    line(text, "Checks", &format!("{good} of {all} passed{others}"), layout);
}

fn pools_table<'a>(pools: impl Iterator<Item = &'a PoolSection>) -> Option<Table<7>> {
    let mut table = Table::new([
        "NAME",
        "KIND",
        "VERSION",
        "MACHINES",
        "UPGRADING",
        "FAILED",
        "ASSESSMENT",
    ]);
    let mut any = false;
    for pool in pools {
        any = true;
        let failed = if pool.failed > 0 { Tone::Bad } else { Tone::Plain };
        table.push([
            Cell::plain(&pool.name),
            Cell::plain(&pool.kind.0),
            Cell::plain(&pool.version),
            Cell::plain(format!("{}/{}", pool.converged, pool.machines)),
            Cell::plain(pool.upgrading.to_string()),
            Cell::toned(pool.failed.to_string(), failed),
            Cell::toned(pool.assessment.as_str(), words::assessment(pool.assessment)),
        ]);
    }
    any.then_some(table)
}

fn machines(text: &mut String, machines: &[MachineRow], layout: &Layout, now: Timestamp) {
    let is_there = |machine: &MachineRow| machine.phase == MachineUpgradePhase::Running;
    let (shown, left_out) = match layout.details {
        Details::None => return,
        Details::All => divide(machines, usize::MAX, |_| true),
        Details::Machines => divide(machines, LISTED, |_| true),
        Details::Health => divide(machines, LISTED, |machine| !is_there(machine)),
    };
    if shown.is_empty() {
        return;
    }
    let mut table = Table::new(["NAME", "POOL", "NODE", "VERSION", "PHASE", "AGE"]);
    for machine in &shown {
        let (phase, tone) = words::machine(machine.phase);
        let created = machine.created.as_ref().map(|created| ago(created, now));
        table.push([
            Cell::plain(&machine.name),
            Cell::plain(&machine.pool),
            Cell::plain(&machine.node),
            Cell::plain(&machine.version),
            Cell::toned(phase, tone),
            Cell::plain(created.unwrap_or_default()),
        ]);
    }
    heading(text, "Machines", layout);
    let below = shown.iter().map(|machine| match layout.details {
        Details::Health | Details::All if !machine.message.is_empty() => {
            paragraph(&machine.message, "  ", "  ", layout)
        }
        Details::None | Details::Machines | Details::Health | Details::All => String::new(),
    });
    with_details(text, &table, below, layout);
    let there = left_out.iter().filter(|machine| is_there(machine)).count();
    let left_out = match (left_out.len() - there, there) {
        (0, 0) => return,
        (0, there) => format!("{there} more that are where they go"),
        (to_come, 0) => format!("{to_come} more whose turn has not come"),
        (to_come, there) => format!("{to_come} more whose turn has not come, and {there} that are where they go"),
    };
    text.push_str(&paragraph(&format!("{left_out}: --details all"), "", "", layout));
}

fn health(text: &mut String, rows: &[HealthStatus], layout: &Layout, now: Timestamp) {
    heading(text, "Health", layout);
    if rows.is_empty() {
        text.push_str("nothing is waited for\n");
        return;
    }
    let mut table = Table::new(["SINCE", "LEVEL", "IMPACT", "REASON", "OBJECT"]);
    for row in rows {
        let object = match (row.kind.as_str(), row.count) {
            ("", _) => String::new(),
            (kind, 1) => format!("{kind}/{}", row.name),
            (kind, count) => format!("{kind}/{} and {} more", row.name, count - 1),
        };
        table.push([
            Cell::plain(ago(&row.since, now)),
            Cell::toned(row.level.as_str(), words::level(row.level)),
            Cell::plain(row.impact.as_str()),
            Cell::plain(&row.reason),
            Cell::plain(object),
        ]);
    }
    let below = rows.iter().map(|row| match layout.details {
        Details::None | Details::Machines => String::new(),
        Details::Health | Details::All => {
            let message = paragraph(&row.message, "  ", "  ", layout);
            let next = match row.next.as_str() {
                "" => String::new(),
                next => paragraph(next, "  Next: ", "        ", layout),
            };
            message + &next
        }
    });
    with_details(text, &table, below, layout);
}

fn ago(time: &Time, now: Timestamp) -> String {
    age(now.duration_since(time.0))
}
