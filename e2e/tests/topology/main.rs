//! What Instar does, seen on a real management cluster.
#![allow(clippy::panic, reason = "a journey fails by panicking, with what it saw")]

mod adoption;
mod certificates;
mod gitops;
mod matrix;
mod moved;
mod outage;
mod pins;
mod refusals;
mod releases;
mod rights;
mod topology_by_hand;
mod topology_canary;
mod topology_class;
mod topology_held;
mod topology_plan;
mod topology_record;
mod topology_release;
mod two_minors;

use std::process::ExitCode;

use instar_e2e::support::{
    catalog::SharedRows,
    journeys::{self, Journey, ServedVersions, Setup},
};

fn main() -> ExitCode {
    let journeys = vec![
        Journey::shared("two-minors", two_minors::with_the_runtime_sdk),
        Journey::shared("adoption", adoption::a_running_cluster_is_adopted),
        Journey::shared("topology-moved", moved::to_another_management_cluster),
        Journey::shared("machine-pool", two_minors::a_machine_pool_is_rendered),
        Journey::shared("existing-pins", pins::existing_pins_are_kept),
        Journey::shared("gitops", gitops::nothing_is_deleted),
        Journey::shared("release-immutable", releases::a_row_is_immutable),
        Journey::shared("topology-record", topology_record::with_the_runtime_sdk),
        Journey::shared("topology-by-hand", topology_by_hand::makes_the_edit),
        Journey::shared("topology-class-changes", topology_class::changes_on_the_way),
        Journey::shared("topology-held-pools", topology_held::until_their_gates_open),
        Journey::shared("topology-plan", topology_plan::told_beforehand),
        Journey::shared("topology-canary", topology_canary::goes_first_and_bakes),
        Journey::shared(
            "topology-release",
            topology_release::goes_on_past_an_image_that_never_boots,
        ),
        Journey::shared("matrix", matrix::side_by_side),
        Journey::exclusive("newer-row", pins::a_newer_row_moves_nothing).prepared_by(pins::prepare_small),
        Journey::exclusive("outage", outage::without_the_server).prepared_by(pins::prepare_small),
        Journey::exclusive("certificates", certificates::swapped_under_load),
        Journey::exclusive("refusals", refusals::each_with_its_message),
        Journey::exclusive("two-minors-without-sdk", two_minors::without_the_runtime_sdk),
        Journey::exclusive("rights", rights::granted_and_used),
    ];
    journeys::run(Setup::Instar, ServedVersions::Stored, SharedRows::Own, journeys)
}
