//! An installation of Instar itself: its certificates, its CustomResourceDefinitions, its removal.
//!
//! Each of these changes what all others rest on, and has the management cluster to itself.
#![allow(clippy::panic, reason = "a journey fails by panicking, with what it saw")]

mod definition_rows;
mod definitions;
mod removal;
mod self_signed;
mod upgraded;

use std::process::ExitCode;

use instar_e2e::support::{
    catalog::SharedRows,
    journeys::{self, Journey, ServedVersions, Setup},
};

fn main() -> ExitCode {
    let journeys = vec![
        Journey::exclusive("self-signed-certificates", self_signed::kept_under_load),
        Journey::exclusive("definitions", definitions::that_do_not_fit),
        Journey::exclusive("definition-rows", definition_rows::each_is_what_the_table_says),
        Journey::exclusive("removal", removal::in_the_middle_of_an_upgrade),
        // Last: it takes the installation that the others share away.
        Journey::exclusive("upgraded", upgraded::in_the_middle_of_an_upgrade),
    ];
    journeys::run(Setup::Instar, ServedVersions::Stored, SharedRows::Own, journeys)
}
