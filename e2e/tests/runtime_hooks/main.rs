//! What Cluster API asks Instar between the steps of an upgrade, on a real management cluster.
//!
//! Each of these waits, stops Instar or Cluster API, and has them to itself.
#![allow(clippy::panic, reason = "a journey fails by panicking, with what it saw")]

mod hooks;
mod landing;

use std::process::ExitCode;

use instar_e2e::support::{
    catalog::SharedRows,
    journeys::{self, Journey, ServedVersions, Setup},
};

fn main() -> ExitCode {
    let journeys = vec![
        Journey::exclusive("topology-hooks", hooks::hold_each_step),
        Journey::exclusive("topology-landing", landing::where_it_stands),
    ];
    journeys::run(Setup::Instar, ServedVersions::Stored, SharedRows::Own, journeys)
}
