//! One Cluster.

use instar_api::{
    HealthLevel, HealthStatus, PreflightResult, PreflightStatus, RollbackExtent, RollbackStatus, UpgradePhase,
    WindowStatus, WindowsAre,
};
use jiff::SignedDuration;
use maud::{Markup, html};

use super::{
    Fragment, View, actions, health, machines,
    parts::{ago, chip, class, command, instant, message},
    pools::{self, Counts},
};
use crate::{
    ClusterKind, PathStep, PathStepState, Report, UpgradeSection, age,
    text::{Tone, words},
};

/// What is to be said of a Cluster, as the middle of a page.
#[must_use]
pub fn of_cluster(report: &Report, view: View) -> Fragment {
    let rows = health::Rows::of(report);
    let markup = html! {
        (head(report))
        (verdict(report, &rows, view))
        (actions::section(report, view))
        @for why in &report.unread {
            p .card .row .warning .unread { (chip("Not shown", Tone::Warning)) " " (why) }
        }
        @if let Some(upgrade) = &report.upgrade {
            div .pair { (path(upgrade)) (gates(upgrade, view)) }
        }
        (pools::section(report))
        (machines::section(&report.machines, view))
        (health::rest(&rows.rest, view.now))
        @if let Some(rollback) = report.upgrade.as_ref().and_then(|upgrade| upgrade.rollback.as_ref()) {
            (way_back(rollback))
        }
    };
    Fragment {
        title: title(report),
        html: markup.into_string(),
        spoken: spoken(report),
    }
}

fn title(report: &Report) -> String {
    let name = &report.cluster.name;
    match &report.upgrade {
        None => name.clone(),
        Some(upgrade) => format!("{name}: {}", standing(upgrade, &report.health).word),
    }
}

/// What changes seldom: a count of machines and what a user has to know.
fn spoken(report: &Report) -> String {
    let Some(upgrade) = &report.upgrade else {
        return format!("Cluster {} has no upgrade.", report.cluster.name);
    };
    let first = health::Rows::of(report)
        .first
        .first()
        .map(|row| format!(" {}.", row.message));
    format!(
        "{}: {} {}.{}",
        report.cluster.name,
        standing(upgrade, &report.health).sentence,
        pools::words(counts(upgrade, report)),
        first.unwrap_or_default()
    )
}

fn head(report: &Report) -> Markup {
    let cluster = &report.cluster;
    html! {
        header .head {
            h1 #cluster tabindex="-1" { span .namespace { (cluster.namespace) "/" } wbr; (cluster.name) }
            p .sub {
                @match (cluster.kind, &cluster.class) {
                    (ClusterKind::Classic, _) => "Classic Cluster",
                    (ClusterKind::Topology, None) => "Topology Cluster",
                    (ClusterKind::Topology, Some(class)) => { "Topology Cluster of class " span .name { (class) } },
                }
                ", version "
                @if cluster.version.is_empty() { "unknown" } @else { span .version { (cluster.version) } }
                @if let Some(version) = &cluster.requested {
                    "; " span .version { (version) } " is requested, and no ClusterUpgrade goes there yet"
                }
                @if cluster.deleting { ", being deleted" }
                @else if cluster.paused { ", " strong { "paused" } " by spec.paused of the Cluster" }
            }
        }
    }
}

/// Where an upgrade stands, in words.
struct Standing {
    word: &'static str,
    tone: Tone,
    sentence: &'static str,
}

fn standing(upgrade: &UpgradeSection, health: &[HealthStatus]) -> Standing {
    let tone = words::phase(upgrade.phase);
    let word = upgrade.phase.as_str();
    let stalled = health.iter().any(|row| row.level == HealthLevel::Error);
    let sentence = match upgrade.phase {
        _ if !upgrade.observed => {
            "The controller has not answered the last edit of it yet: this is of an earlier spec."
        }
        UpgradePhase::Pending => "The controller has not looked at it yet.",
        UpgradePhase::Held => "It is held: it does not go on before what stands below is done.",
        UpgradePhase::ControlPlane | UpgradePhase::Workers if stalled => {
            "It does not go on before what stands below is mended."
        }
        UpgradePhase::ControlPlane => "The machines of the control plane are replaced.",
        UpgradePhase::Workers => "The machines of the workers are replaced.",
        UpgradePhase::Verifying => "Every machine is up to date; whether the cluster works is looked at.",
        UpgradePhase::Completed => "It is done: every machine is up to date, and the cluster works.",
        UpgradePhase::Refused => "It was refused: nothing is done before its spec is edited.",
        UpgradePhase::RollingBack => "Another ClusterUpgrade takes it back.",
        UpgradePhase::RolledBack => "Another ClusterUpgrade has taken it back.",
        UpgradePhase::Aborted => "It was aborted, and has ended where the control plane stood.",
        UpgradePhase::Failed => "It has failed: nothing more is written before its spec is edited.",
    };
    if upgrade.paused && !upgrade.phase.is_finished() {
        return Standing {
            word: "Paused",
            tone: Tone::Warning,
            sentence: "It is paused by spec.paused: nothing is written before it is resumed.",
        };
    }
    Standing { word, tone, sentence }
}

/// The record's own counts where it has any: those of all pools may count a machine and its replacement.
fn counts(upgrade: &UpgradeSection, report: &Report) -> Counts {
    let pools = Counts::all(report);
    if upgrade.machines == 0 {
        return pools;
    }
    Counts {
        converged: upgrade.converged,
        upgrading: pools.upgrading.min(upgrade.machines.saturating_sub(upgrade.converged)),
        failed: pools.failed,
        all: upgrade.machines,
    }
}

fn verdict(report: &Report, rows: &health::Rows, view: View) -> Markup {
    let invocation = view.invocation.in_namespace(&report.cluster.namespace);
    let Some(upgrade) = &report.upgrade else {
        return html! {
            section .card .verdict .plain #verdict aria-labelledby="verdict-heading" {
                h2 #verdict-heading { "No upgrade" }
                p .lead { "Nothing of this Cluster is being upgraded, and no earlier upgrade is kept." }
                (command(&invocation.command(&format!("upgrade {}", report.cluster.name), "--to VERSION")))
            }
        };
    };
    let standing = standing(upgrade, &report.health);
    let counts = counts(upgrade, report);
    let tone = rows
        .first
        .first()
        .map_or(standing.tone, |row| loudest(standing.tone, words::level(row.level)));
    html! {
        section .card .verdict .(class(tone)) #verdict aria-labelledby="verdict-heading" {
            h2 #verdict-heading { (chip(standing.word, standing.tone)) " " (what(upgrade)) }
            p .lead { (standing.sentence) }
            @if upgrade.paused && !upgrade.phase.is_finished() {
                (command(&invocation.command(&format!("resume {}", report.cluster.name), "")))
            }
            (health::first(report, &rows.first, view))
            @if counts.all > 0 {
                div .progress { p .counts { (pools::words(counts)) } (pools::bar(counts)) }
            }
            (facts(upgrade, view))
        }
    }
}

const fn loudest(one: Tone, other: Tone) -> Tone {
    match (one, other) {
        (Tone::Bad, _) | (_, Tone::Bad) => Tone::Bad,
        (Tone::Warning, _) | (_, Tone::Warning) => Tone::Warning,
        (Tone::Plain | Tone::Heading | Tone::Good, Tone::Plain | Tone::Heading | Tone::Good) => one,
    }
}

fn what(upgrade: &UpgradeSection) -> String {
    let operation = upgrade.operation.as_str();
    if upgrade.operation.is_rollback() {
        format!("{operation} of {}", upgrade.target)
    } else {
        format!("{operation} to {}", upgrade.target)
    }
}

fn facts(upgrade: &UpgradeSection, view: View) -> Markup {
    let goes_on = upgrade.converged < upgrade.machines && !upgrade.phase.is_finished();
    html! {
        dl .facts {
            @if let Some(started) = &upgrade.started {
                div { dt { "Begun" } dd { (ago(started, view.now)) " ago, " span .none { (instant(started.0)) } } }
            }
            @if goes_on { div { dt { "Time left" } dd { (time_left(upgrade)) } } }
            div { dt { "ClusterUpgrade" } dd { span .name { (upgrade.name) } } }
            @if !upgrade.step.is_empty() { div { dt { "Last write" } dd { (upgrade.step) } } }
        }
    }
}

fn time_left(upgrade: &UpgradeSection) -> String {
    let Some(left) = upgrade.time_left else {
        return "not known".to_owned();
    };
    let text = |seconds| age(SignedDuration::from_secs(seconds));
    let (least, most) = (text(left.at_least_seconds), text(left.at_most_seconds));
    let range = if least == most {
        least
    } else {
        format!("{least} to {most}")
    };
    let of = if left.samples == 1 { "machine" } else { "machines" };
    format!("{range}, by {} {of} of this upgrade", left.samples)
}

fn path(upgrade: &UpgradeSection) -> Markup {
    html! {
        @if !upgrade.path.is_empty() {
            section .card #path aria-labelledby="path-heading" {
                h2 #path-heading { "Path of the control plane" }
                ol .path { @for step in &upgrade.path { (path_step(step, upgrade)) } }
            }
        }
    }
}

fn path_step(step: &PathStep, upgrade: &UpgradeSection) -> Markup {
    let stands = upgrade.phase == UpgradePhase::Held || (upgrade.paused && !upgrade.phase.is_finished());
    let (class, word) = match step.state {
        PathStepState::Done => ("done", "done"),
        PathStepState::Current if stands => ("current stands", "stands here"),
        PathStepState::Current => ("current", "goes there now"),
        PathStepState::ToCome => ("to-come", "to come"),
    };
    let current = (step.state == PathStepState::Current).then_some("step");
    html! {
        li .step .(class) aria-current=[current] {
            span .release { (step.release) }
            span .state { (word) }
        }
    }
}

/// What has to be open for it to begin or to go on.
fn gates(upgrade: &UpgradeSection, view: View) -> Markup {
    html! {
        @if upgrade.window.is_some() || !upgrade.preflight.is_empty() {
            section .card #gates aria-labelledby="gates-heading" {
                h2 #gates-heading { "Gates" }
                dl .gates {
                    @if let Some(status) = &upgrade.window { (window(status, view)) }
                    @if !upgrade.preflight.is_empty() { (checks(&upgrade.preflight, view)) }
                }
            }
        }
    }
}

fn window(window: &WindowStatus, view: View) -> Markup {
    let (word, tone) = match window.state {
        WindowsAre::Open => ("Open", Tone::Good),
        WindowsAre::Closed => ("Closed", Tone::Warning),
    };
    html! {
        div {
            dt { "Maintenance window" }
            dd {
                (chip(word, tone))
                @if let Some(until) = &window.until {
                    " until " time datetime=(until.0) { (instant(until.0)) }
                    @if until.0 > view.now { " (in " (age(until.0.duration_since(view.now))) ")" }
                }
                (message(&window.message))
            }
        }
    }
}

fn checks(checks: &[PreflightStatus], view: View) -> Markup {
    let (passed, others): (Vec<_>, Vec<_>) = checks
        .iter()
        .partition(|check| verdict_of(check.result).1 == Tone::Good);
    html! {
        div {
            dt { "Checks before it began" }
            dd {
                (chip(&format!("{} of {} passed", passed.len(), checks.len()), if others.is_empty() { Tone::Good } else { Tone::Warning }))
                @if !others.is_empty() { ul .checks { @for check in others { (one_check(check, view)) } } }
                @if !passed.is_empty() {
                    details #checks-passed {
                        summary { "Those that passed" }
                        ul .checks { @for check in passed { (one_check(check, view)) } }
                    }
                }
            }
        }
    }
}

fn one_check(check: &PreflightStatus, view: View) -> Markup {
    let (word, tone) = verdict_of(check.result);
    html! {
        li id={ "check " (check.check.as_str()) } {
            (chip(word, tone)) " " strong { (check.check.as_str()) }
            @if !check.kind.is_empty() { " " code .object { (check.kind) "/" wbr; (check.name) } }
            @if let Some(since) = &check.since { " " span .since { "for " (ago(since, view.now)) } }
            (message(&check.message))
        }
    }
}

const fn verdict_of(result: PreflightResult) -> (&'static str, Tone) {
    match result {
        PreflightResult::Pass => ("Passed", Tone::Good),
        PreflightResult::NotApplicable => ("Not applicable", Tone::Good),
        PreflightResult::Warn => ("Warns", Tone::Warning),
        PreflightResult::Fail => ("Failed", Tone::Bad),
        PreflightResult::Unknown => ("Unknown", Tone::Warning),
        PreflightResult::Skipped => ("Skipped", Tone::Plain),
    }
}

fn way_back(rollback: &RollbackStatus) -> Markup {
    let (word, tone) = match rollback.possible {
        RollbackExtent::All => ("All of it can be taken back", Tone::Good),
        RollbackExtent::Workers => ("The workers alone can be taken back", Tone::Warning),
        RollbackExtent::Nothing => ("Nothing can be taken back", Tone::Plain),
    };
    html! {
        section .card #way-back aria-labelledby="way-back-heading" {
            h2 #way-back-heading { "Way back" }
            p { (chip(word, tone)) }
            (message(&rollback.why))
            @if !rollback.what.is_empty() {
                details #way-back-steps {
                    summary { "What a rollback would do" }
                    ol { @for step in &rollback.what { li { (step) } } }
                }
            }
        }
    }
}
