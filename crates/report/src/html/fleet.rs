//! Many Clusters, a row each.

use std::cmp::Reverse;

use instar_api::UpgradePhase;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use maud::{Markup, html};

use super::{
    Fragment,
    parts::{ago, chip, message},
};
use crate::{
    Invocation,
    text::{FleetRow, Tone, words},
};

/// A browser lays out so many rows at once; those that need a user come first.
const MOST: usize = 1000;

/// The rows, those that need a user first. Each links to `c/NAMESPACE/NAME`, from the page.
#[must_use]
pub fn of_fleet(rows: &[FleetRow], scope: &str, now: Timestamp, invocation: &Invocation) -> Fragment {
    let mut sorted: Vec<&FleetRow> = rows.iter().collect();
    sorted.sort_by_key(|row| (need(row), Reverse(row.level), &row.namespace, &row.cluster));
    let summary = summary(rows);
    let markup = html! {
        header .head {
            h1 tabindex="-1" { "Upgrades" }
            p .sub { (scope) }
        }
        section .card #fleet aria-labelledby="fleet-heading" {
            h2 #fleet-heading { (summary) }
            @if rows.is_empty() {
                p { "A Cluster is listed here once it has a ClusterUpgrade." }
            } @else {
                (table(&sorted, now))
                @if sorted.len() > MOST {
                    p .more-link { (sorted.len() - MOST) " more: " code { (invocation.without_namespace().command("status -A", "")) } }
                }
            }
        }
    };
    Fragment {
        title: format!("Upgrades: {summary}"),
        html: markup.into_string(),
        spoken: summary,
    }
}

/// Whom it needs most, first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    User,
    Time,
    Nothing,
}

fn need(row: &FleetRow) -> Need {
    let Some(phase) = row.phase else {
        return Need::User;
    };
    match phase {
        _ if row.is_paused() => Need::User,
        UpgradePhase::Held | UpgradePhase::Refused | UpgradePhase::Failed => Need::User,
        UpgradePhase::Pending
        | UpgradePhase::ControlPlane
        | UpgradePhase::Workers
        | UpgradePhase::Verifying
        | UpgradePhase::RollingBack => Need::Time,
        UpgradePhase::Completed | UpgradePhase::RolledBack | UpgradePhase::Aborted => Need::Nothing,
    }
}

fn summary(rows: &[FleetRow]) -> String {
    if rows.is_empty() {
        return "No upgrades".to_owned();
    }
    let count = |of| rows.iter().filter(|row| need(row) == of).count();
    let parts = [
        (count(Need::User), "held or refused"),
        (count(Need::Time), "under way"),
        (count(Need::Nothing), "over"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> = parts.map(|(count, word)| format!("{count} {word}")).collect();
    parts.join(", ")
}

fn table(rows: &[&FleetRow], now: Timestamp) -> Markup {
    html! {
        table .stack .fleet {
            thead { tr {
                th scope="col" { "Cluster" }
                th scope="col" { "Target" }
                th scope="col" { "Phase" }
                th scope="col" { "Machines" }
                th scope="col" { "Why" }
                th scope="col" { "Begun" }
            } }
            tbody { @for row in rows.iter().take(MOST) { (line(row, now)) } }
        }
    }
}

fn line(row: &FleetRow, now: Timestamp) -> Markup {
    let (word, tone) = match row.phase {
        None => ("Unreadable", Tone::Bad),
        Some(_) if row.is_paused() => ("Paused", Tone::Warning),
        Some(phase) => (phase.as_str(), words::phase(phase)),
    };
    let began = row.began.and_then(|began| Timestamp::from_second(began).ok()).map(Time);
    html! {
        tr id={ "cluster " (row.namespace) " " (row.cluster) } {
            th scope="row" {
                a href={ "c/" (row.namespace) "/" (row.cluster) } {
                    span .namespace { (row.namespace) "/" } wbr; (row.cluster)
                }
            }
            td data-label="Target" { span .name { (row.target) } }
            td data-label="Phase" {
                (chip(word, tone))
                @if !row.observed { " " span .none { "of an earlier spec" } }
            }
            td data-label="Machines" { (row.machines) }
            td data-label="Why" {
                @match row.level {
                    None => span .none { "nothing is waited for" },
                    Some(level) => {
                        (chip(&row.reason, words::level(level)))
                        @if !row.object.is_empty() { " " code .object { (row.object) } }
                        @if !row.unreadable.is_empty() { (message(&row.unreadable)) }
                    },
                }
            }
            td data-label="Begun" { @if let Some(began) = &began { (ago(began, now)) " ago" } }
        }
    }
}
