//! What an upgrade would do.

use std::{collections::BTreeSet, fmt::Write as _};

use instar_api::{PreflightResult, RollbackExtent};
use serde_json::Value;

use super::{Cell, Details, Layout, Table, Tone, heading, line, paragraph, with_details, words};
use crate::{
    ClusterKind, FindingEffect, Plan, PlanCheck, PlanHold, PlanOutcome, PlanStep, PlanTarget, PlannedPool,
    PlannedValue, StepKind,
};

/// So many rows of a table are listed where not all are.
const LISTED: usize = 20;
/// What is narrower has no room for kinds and templates.
const WIDE: usize = 90;
/// So many values of a template are shown where not all are.
const VALUES: usize = 6;
/// A value is no longer than so many letters where not all is shown.
const LONGEST: usize = 72;

/// What an upgrade would do, as text.
#[must_use]
pub fn of_plan(plan: &Plan, layout: &Layout) -> String {
    let mut text = String::new();
    head(&mut text, plan, layout);
    steps(&mut text, plan, layout);
    pools(&mut text, &plan.pools, layout);
    let title = if plan.blocked_by.is_empty() {
        "Before it is complete"
    } else {
        "Waits"
    };
    holds(&mut text, title, &plan.before_completion, layout);
    holds(&mut text, "Stands in the way", &plan.blocked_by, layout);
    if !plan.notes.is_empty() {
        heading(&mut text, "Notes", layout);
        for note in &plan.notes {
            text.push_str(&paragraph(note, "", "  ", layout));
        }
    }
    for why in &plan.unread {
        text.push_str(&paragraph(why, "Not known: ", "           ", layout));
    }
    if !plan.next.is_empty() {
        // A command is copied, so it stays on one line.
        let _ = writeln!(text, "\nNext: {}", plan.next);
    }
    text
}

/// Where a Cluster could go, the nearest first, as text.
#[must_use]
pub fn of_targets(targets: &[PlanTarget], layout: &Layout) -> String {
    let mut table = Table::new(["VERSION", "RELEASE", "OUTCOME", "STEPS", "MACHINES"]);
    for target in targets {
        let (_, tone) = outcome(target.outcome);
        table.push([
            Cell::plain(&target.version),
            Cell::plain(&target.release),
            Cell::toned(target.outcome.as_str(), tone),
            Cell::plain(target.steps.to_string()),
            Cell::plain(target.machines.to_string()),
        ]);
    }
    let mut text = String::new();
    let below = targets
        .iter()
        .map(|target| match (layout.details, target.why.as_str()) {
            (Details::None, _) | (_, "") => String::new(),
            (Details::Machines | Details::Health | Details::All, why) => paragraph(why, "  ", "  ", layout),
        });
    with_details(&mut text, &table, below, layout);
    text
}

fn head(text: &mut String, plan: &Plan, layout: &Layout) {
    let cluster = &plan.cluster;
    let kind = match cluster.kind {
        ClusterKind::Classic => "classic",
        ClusterKind::Topology => "topology",
    };
    let version = if cluster.version.is_empty() {
        "unknown"
    } else {
        &cluster.version
    };
    let value = format!("{}/{} ({kind}), version {version}", cluster.namespace, cluster.name);
    line(text, "Cluster", &value, layout);
    let (words, tone) = outcome(plan.outcome);
    let mut lines = String::new();
    line(&mut lines, "Plan", &format!("to {}: {words}", plan.target), layout);
    text.push_str(&lines.replacen(words, &tone.paint(words, layout.colour), 1));
    let path = plan.path.iter().map(|step| match layout.details {
        Details::None => step.release.clone(),
        Details::Machines | Details::Health | Details::All => format!("{} ({})", step.release, step.why),
    });
    let path: Vec<String> = path.collect();
    if !path.is_empty() {
        line(text, "Path", &path.join(" > "), layout);
    }
    for finding in &plan.findings {
        let effect = match finding.effect {
            FindingEffect::Refused => "refused",
            FindingEffect::Warned => "warned",
        };
        line(text, "Admission", &format!("{effect}: {}", finding.message), layout);
    }
    checks(text, &plan.checks, layout);
    let (machines, rollouts) = plan.pools.iter().fold((0_u32, 0_u32), |(machines, rollouts), pool| {
        (
            machines.saturating_add(pool.machines),
            rollouts.saturating_add(pool.rollouts),
        )
    });
    let value = format!("{machines} are replaced, in {rollouts} rollouts");
    line(text, "Machines", &value, layout);
}

const fn outcome(outcome: PlanOutcome) -> (&'static str, Tone) {
    match outcome {
        PlanOutcome::CanGo => ("it can go", Tone::Good),
        PlanOutcome::Waits => ("it can go, and waits on its way for what is closed now", Tone::Warning),
        PlanOutcome::NothingToDo => ("nothing is to be done", Tone::Good),
        PlanOutcome::UnderWay => ("it goes there already", Tone::Good),
        PlanOutcome::Held => ("a check holds it", Tone::Bad),
        PlanOutcome::Blocked => ("it can't go", Tone::Bad),
        PlanOutcome::Unknown => ("that can't be said", Tone::Warning),
    }
}

/// What passed needs no words.
fn checks(text: &mut String, checks: &[PlanCheck], layout: &Layout) {
    let asked = checks.iter().filter_map(|check| Some((check, check.result?)));
    let asked: Vec<(&PlanCheck, PreflightResult)> = asked.collect();
    if checks.is_empty() {
        return;
    }
    let passes = |result: PreflightResult| match result {
        PreflightResult::Pass | PreflightResult::NotApplicable => true,
        PreflightResult::Warn | PreflightResult::Fail | PreflightResult::Unknown | PreflightResult::Skipped => false,
    };
    let good = asked.iter().filter(|(_, result)| passes(*result)).count();
    let unasked = checks.iter().filter(|check| check.result.is_none());
    let unasked: Vec<&str> = unasked.map(|check| check.check.as_str()).collect();
    let others = if unasked.is_empty() {
        String::new()
    } else {
        format!(
            "; {} more look at the workload cluster, a vCenter or snapshots of etcd, once the upgrade is there: {}",
            unasked.len(),
            unasked.join(", ")
        )
    };
    line(
        text,
        "Checks",
        &format!("{good} of {} pass{others}", asked.len()),
        layout,
    );
    for (check, result) in asked.iter().filter(|(_, result)| !passes(*result)) {
        let word = words::check(*result);
        let value = format!("{} {word}: {}", check.check, check.message);
        text.push_str(&paragraph(&value, "           ", "             ", layout));
    }
}

/// A pool that is pointed somewhere, with the templates that are created for that.
struct Row<'a> {
    step: &'a PlanStep,
    created: Vec<&'a PlanStep>,
}

fn rows(steps: &[PlanStep]) -> Vec<Row<'_>> {
    let (mut rows, mut waiting) = (Vec::new(), Vec::<&PlanStep>::new());
    for step in steps {
        match step.kind {
            StepKind::CreateTemplate | StepKind::SetValues => waiting.push(step),
            StepKind::Upgrade => {
                let (created, others) = waiting.into_iter().partition(|other| other.pool == step.pool);
                waiting = others;
                rows.push(Row { step, created });
            }
        }
    }
    // Where it is blocked in between, nothing is pointed at them.
    rows.extend(waiting.into_iter().map(|step| Row {
        step,
        created: Vec::new(),
    }));
    rows
}

fn steps(text: &mut String, plan: &Plan, layout: &Layout) {
    if plan.steps.is_empty() {
        return;
    }
    heading(text, "Steps", layout);
    let rows = rows(&plan.steps);
    let shown = shown(rows.len(), layout);
    let mut said = BTreeSet::new();
    let below = rows.iter().take(shown).map(|row| details(row, &mut said, layout));
    let cells = rows.iter().take(shown).enumerate().map(|(at, row)| cells(at, row.step));
    if layout.width < WIDE {
        let mut table = Table::new(["#", "POOL", "FROM", "TO", "MACHINES", "WAY BACK"]);
        for [number, pool, _, from, to, _, machines, back] in cells {
            table.push([number, pool, from, to, machines, back]);
        }
        with_details(text, &table, below, layout);
    } else {
        let mut table = Table::new(["#", "POOL", "KIND", "FROM", "TO", "TEMPLATE", "MACHINES", "WAY BACK"]);
        for row in cells {
            table.push(row);
        }
        with_details(text, &table, below, layout);
    }
    if shown < rows.len() {
        let _ = writeln!(text, "{} more: --details all", rows.len() - shown);
    }
}

fn cells(at: usize, step: &PlanStep) -> [Cell; 8] {
    let (way_back, tone) = match step.way_back.as_ref().map(|back| back.possible) {
        None => ("", Tone::Plain),
        Some(RollbackExtent::All) => ("all", Tone::Good),
        Some(RollbackExtent::Workers) => ("workers", Tone::Warning),
        Some(RollbackExtent::Nothing) => ("none", Tone::Bad),
    };
    [
        Cell::plain((at + 1).to_string()),
        Cell::plain(&step.pool.name),
        Cell::plain(&step.pool.kind.0),
        Cell::plain(&step.from),
        Cell::plain(&step.to),
        Cell::plain(&step.template),
        Cell::plain(step.machines.to_string()),
        Cell::toned(way_back, tone),
    ]
}

fn shown(rows: usize, layout: &Layout) -> usize {
    match layout.details {
        Details::All => rows,
        Details::None | Details::Machines | Details::Health => rows.min(LISTED),
    }
}

/// What holds a step, what its values become, and why it can't be taken back. `said` are the reasons that were told of the
/// steps before: they go on to hold.
fn details<'p>(row: &Row<'p>, said: &mut BTreeSet<&'p str>, layout: &Layout) -> String {
    let mut text = String::new();
    let steps = row.created.iter().copied().chain([row.step]);
    for hold in steps.flat_map(|step| &step.holds) {
        let (first, rest) = ("     Waits: ", "            ");
        text.push_str(&paragraph(&hold.message, first, rest, layout));
        if layout.details == Details::All && !hold.next.is_empty() {
            text.push_str(&paragraph(&hold.next, rest, rest, layout));
        }
    }
    match layout.details {
        Details::None => return text,
        Details::Machines | Details::Health | Details::All => {}
    }
    for created in &row.created {
        let of = if created.replaces.is_empty() {
            String::new()
        } else {
            format!(", in the place of {}", created.replaces)
        };
        let what = match created.kind {
            StepKind::CreateTemplate => "new template",
            StepKind::SetValues => "values of",
            StepKind::Upgrade => "",
        };
        let value = format!("{what} {} for release {}{of}", created.template, created.release);
        text.push_str(&paragraph(&value, "     ", "       ", layout));
        values(&mut text, &created.changes, layout);
    }
    if !row.step.changes.is_empty() && !row.step.template.is_empty() {
        text.push_str("     its clusterConfiguration\n");
    }
    values(&mut text, &row.step.changes, layout);
    let reasons = row.step.way_back.iter().flat_map(|back| &back.why);
    for why in reasons.filter(|why| said.insert(why.as_str())) {
        text.push_str(&paragraph(why, "     Way back: ", "               ", layout));
    }
    text
}

fn values(text: &mut String, changes: &[PlannedValue], layout: &Layout) {
    let shown = match layout.details {
        Details::All => changes.len(),
        Details::None | Details::Machines | Details::Health => VALUES.min(changes.len()),
    };
    for change in &changes[..shown] {
        let of = |value: &Option<Value>| {
            value
                .as_ref()
                .map_or_else(|| "nothing".to_owned(), |value| short(&value.to_string(), layout))
        };
        let value = format!("{}: {} -> {}", change.pointer, of(&change.before), of(&change.after));
        text.push_str(&paragraph(&value, "       ", "         ", layout));
    }
    if shown < changes.len() {
        let _ = writeln!(text, "       {} more values: --details all", changes.len() - shown);
    }
}

fn short(value: &str, layout: &Layout) -> String {
    if layout.details == Details::All || value.chars().count() <= LONGEST {
        return value.to_owned();
    }
    value.chars().take(LONGEST).chain(['…']).collect()
}

fn pools(text: &mut String, pools: &[PlannedPool], layout: &Layout) {
    if pools.is_empty() {
        return;
    }
    heading(text, "Pools", layout);
    let shown = shown(pools.len(), layout);
    let mut table = Table::new(["NAME", "KIND", "NOW", "THEN", "MACHINES", "ROLLOUTS", "REPLACED"]);
    for pool in &pools[..shown] {
        table.push([
            Cell::plain(&pool.pool.name),
            Cell::plain(&pool.pool.kind.0),
            Cell::plain(&pool.from),
            Cell::plain(&pool.to),
            Cell::plain(pool.replicas.to_string()),
            Cell::plain(pool.rollouts.to_string()),
            Cell::plain(pool.machines.to_string()),
        ]);
    }
    text.push_str(&table.text(layout));
    if shown < pools.len() {
        let _ = writeln!(text, "{} more: --details all", pools.len() - shown);
    }
}

fn holds(text: &mut String, title: &str, holds: &[PlanHold], layout: &Layout) {
    if holds.is_empty() {
        return;
    }
    heading(text, title, layout);
    let mut table = Table::new(["LEVEL", "REASON"]);
    for hold in holds {
        table.push([
            Cell::toned(hold.level.as_str(), words::level(hold.level)),
            Cell::plain(&hold.reason),
        ]);
    }
    let below = holds.iter().map(|hold| {
        let message = paragraph(&hold.message, "  ", "  ", layout);
        let next = match hold.next.as_str() {
            "" => String::new(),
            next => paragraph(next, "  Next: ", "        ", layout),
        };
        message + &next
    });
    with_details(text, &table, below, layout);
}
