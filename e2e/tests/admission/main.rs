//! What admission says, and what it leaves alone, seen on a real management cluster.
#![allow(clippy::panic, reason = "a journey fails by panicking, with what it saw")]

mod alone;
mod cases;
mod defaulting;
mod server_down;
mod undisturbed;

use std::process::ExitCode;

use instar_e2e::support::{
    catalog::SharedRows,
    journeys::{self, Journey, ServedVersions, Setup},
};

fn main() -> ExitCode {
    let journeys = vec![
        // The catalog must be that of the cases alone, so it comes first.
        Journey::exclusive("cases", cases::of_every_rule),
        // They count all that the server says, so nobody else may ask it.
        Journey::exclusive("undisturbed-topology", undisturbed::a_topology_cluster),
        Journey::exclusive("undisturbed-classic", undisturbed::a_classic_cluster),
        Journey::exclusive("defaulting-webhook", defaulting::by_a_provider),
        Journey::exclusive("policies-alone", alone::the_same_verdicts),
        Journey::exclusive("server-down", server_down::exactly_the_guarded_edits),
    ];
    journeys::run(Setup::Instar, ServedVersions::All, SharedRows::Own, journeys)
}
