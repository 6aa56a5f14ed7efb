//! What Instar does on vSphere: Cluster API Provider vSphere itself, with a simulated vCenter.
//!
//! The classes and Clusters are those that the provider ships, the catalog is the sample that people start from, and
//! what a VM was cloned from is asked of the vCenter.
#![allow(clippy::panic, reason = "a journey fails by panicking, with what it saw")]

mod classic;
mod look;
mod missing;
mod scenery;
mod topology;

use std::process::ExitCode;

use instar_e2e::support::{
    catalog::SharedRows,
    journeys::{self, Journey, Setup},
};

fn main() -> ExitCode {
    let journeys = vec![
        Journey::shared("vsphere-topology", topology::two_minors_in_one_edit),
        Journey::shared("vsphere-classic", classic::two_minors_in_one_edit),
        Journey::shared("vsphere-missing-template", missing::stalls_and_goes_forward),
    ];
    journeys::run_on_vsphere(Setup::Instar, SharedRows::Same, journeys)
}
