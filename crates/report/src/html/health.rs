//! What an upgrade waits for, and what isn't well.

use instar_api::{HealthImpact, HealthLevel, HealthReason, HealthStatus};
use jiff::Timestamp;
use maud::{Markup, html};

use super::{
    View,
    parts::{ago, chip, command, inline, message},
};
use crate::{Invocation, Report, text::words};

/// The rows of health, in two parts.
pub(super) struct Rows<'a> {
    /// What a user has to know first: errors, warnings, and what an upgrade that stands is held by.
    pub(super) first: Vec<&'a HealthStatus>,
    /// What goes as planned.
    pub(super) rest: Vec<&'a HealthStatus>,
}

impl<'a> Rows<'a> {
    pub(super) fn of(report: &'a Report) -> Self {
        let over = report
            .upgrade
            .as_ref()
            .is_some_and(|upgrade| upgrade.phase.is_finished());
        let (first, rest) = report.health.iter().partition(|row| match row.level {
            HealthLevel::Error | HealthLevel::Warning => true,
            HealthLevel::Info => !over && row.impact == HealthImpact::Stalled,
        });
        Self { first, rest }
    }
}

/// The rows with what to do, as a list.
pub(super) fn first(report: &Report, rows: &[&HealthStatus], view: View) -> Markup {
    let invocation = view.invocation.in_namespace(&report.cluster.namespace);
    html! {
        @if !rows.is_empty() {
            ul .rows {
                @for (at, row) in rows.iter().enumerate() {
                    li .row .(super::parts::class(words::level(row.level))) id=(id(row)) {
                        (head(row, view.now))
                        (message(&row.message))
                        @if !row.next.is_empty() { p .next { span .label { "Next" } " " (inline(&row.next)) } }
                        @if let Some(next) = next_command(report, row, &invocation) { (command(&next)) }
                        @if rows[..at].iter().all(|before| before.reason != row.reason) {
                            (command(&format!("kubectl instar explain {}", row.reason)))
                        }
                    }
                }
            }
        }
    }
}

/// The rows that go as planned, each folded but for its head.
pub(super) fn rest(rows: &[&HealthStatus], now: Timestamp) -> Markup {
    html! {
        @if !rows.is_empty() {
            section .card #health aria-labelledby="health-heading" {
                h2 #health-heading { "As planned" }
                p .hint { "What the controller and Cluster API say beside. Nothing of it holds the upgrade." }
                ul .rows .quiet {
                    @for row in rows {
                        li .row .plain id=(id(row)) {
                            (head(row, now))
                            (message(&row.message))
                            @if !row.next.is_empty() { p .next { span .label { "Next" } " " (inline(&row.next)) } }
                        }
                    }
                }
            }
        }
    }
}

fn head(row: &HealthStatus, now: Timestamp) -> Markup {
    html! {
        p .row-head {
            (chip(row.level.as_str(), words::level(row.level)))
            " " strong { (row.reason) }
            @if !row.kind.is_empty() {
                " " code .object { (row.kind) "/" wbr; (row.name) }
            }
            @if row.count > 1 { " " span .more { "and " (row.count - 1) " more" } }
            " " span .since { "for " (ago(&row.since, now)) }
            @if row.impact != HealthImpact::None {
                " " span .impact { "impact: " (row.impact.as_str()) }
            }
        }
    }
}

/// By which the script knows a row again.
fn id(row: &HealthStatus) -> String {
    // Cluster API says several things of one object, each with a condition's name in front.
    let about = row.message.split(':').next().unwrap_or_default();
    format!("health {} {} {} {about}", row.reason, row.kind, row.name)
}

/// The command that does what the row asks for, where there is one.
fn next_command(report: &Report, row: &HealthStatus, invocation: &Invocation) -> Option<String> {
    (row.reason == HealthReason::ApprovalMissing.as_str())
        .then(|| invocation.command(&format!("approve {}", report.cluster.name), ""))
}
