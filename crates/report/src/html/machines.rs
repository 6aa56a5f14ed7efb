//! The Machines: all that aren't well, and some of the others.

use instar_api::MachineUpgradePhase;
use jiff::Timestamp;
use maud::{Markup, html};

use super::{
    Listed, View,
    parts::{ago, chip, message},
};
use crate::{
    MachineRow,
    listed::{LISTED, divide},
    text::words,
};

pub(super) fn section(machines: &[MachineRow], view: View) -> Markup {
    let (shown, left_out) = divide(machines, LISTED, |_| true);
    html! {
        section .card #machines aria-labelledby="machines-heading" {
            h2 #machines-heading { "Machines" }
            @if machines.is_empty() {
                p { "None." }
            } @else {
                p .hint { (counts(machines)) }
                (table(&shown, view.now))
                @if !left_out.is_empty() {
                    @match view.machines {
                        Listed::Some => p .more-link {
                            (left_out.len()) " more that need no look. "
                            a href="?machines=all" { "Show all machines" }
                        },
                        Listed::All => details #machines-rest {
                            summary { (left_out.len()) " more that need no look" }
                            (table(&left_out, view.now))
                        },
                    }
                }
            }
        }
    }
}

fn counts(machines: &[MachineRow]) -> String {
    let of = |phase| machines.iter().filter(|machine| machine.phase == phase).count();
    let states = [
        (MachineUpgradePhase::Failed, "failed"),
        (MachineUpgradePhase::Upgrading, "on the way"),
        (MachineUpgradePhase::Pending, "to come"),
        (MachineUpgradePhase::Running, "up to date"),
    ];
    let states = states.map(|(phase, word)| (of(phase), word));
    let states = states.iter().filter(|(count, _)| *count > 0);
    let states: Vec<String> = states.map(|(count, word)| format!("{count} {word}")).collect();
    states.join(", ") + "."
}

fn table(machines: &[&MachineRow], now: Timestamp) -> Markup {
    html! {
        table .stack .machines {
            thead { tr {
                th scope="col" { "Name" }
                th scope="col" { "Pool" }
                th scope="col" { "Node" }
                th scope="col" { "Version" }
                th scope="col" { "Phase" }
                th scope="col" { "Age" }
            } }
            tbody { @for machine in machines { (row(machine, now)) } }
        }
    }
}

fn row(machine: &MachineRow, now: Timestamp) -> Markup {
    let (phase, tone) = words::machine(machine.phase);
    let node = match machine.node.as_str() {
        "" => "not joined",
        node if node == machine.name => "same name",
        node => node,
    };
    let says_nothing = machine.node.is_empty() || machine.node == machine.name;
    html! {
        tr id={ "machine " (machine.name) } {
            th scope="row" { span .name { (machine.name) } (message(&machine.message)) }
            td data-label="Pool" { span .name { (machine.pool) } }
            td data-label="Node" { span .name[!says_nothing] .none[says_nothing] { (node) } }
            td data-label="Version" {
                @if machine.version.is_empty() { span .none { "unknown" } }
                @else { span .version { (machine.version) } }
            }
            td data-label="Phase" { (chip(phase, tone)) }
            td data-label="Age" { @if let Some(created) = &machine.created { (ago(created, now)) } }
        }
    }
}
