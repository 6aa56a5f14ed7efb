//! What the controller does to classic clusters, seen on a real management cluster.
//!
//! They share the installed controller. Those that stop it or start it again come after the others.
#![allow(clippy::panic, reason = "a journey fails by panicking, with what it saw")]

mod addons;
mod addons_back;
mod boots_never;
mod by_hand;
mod expressions;
mod failure;
mod lifecycle;
mod machine_pool;
mod other_control_plane;
mod plan;
mod plugin;
mod plugin_page;
mod preflight;
mod presets;
mod restart;
mod rights;
mod shards;
mod shared;
mod strategy;
mod stuck;
mod templates;
mod tried;
mod upgrade;
mod way_back;
mod windows;
mod workload;

use std::process::ExitCode;

use instar_e2e::support::{
    catalog::SharedRows,
    journeys::{self, Journey, ServedVersions, Setup},
};

fn main() -> ExitCode {
    let journeys = vec![
        Journey::shared("classic-two-minors", upgrade::two_minors_by_one_annotation),
        Journey::shared("classic-paused", upgrade::paused_in_the_middle),
        Journey::shared("classic-by-hand", by_hand::held_and_all_at_once),
        Journey::shared("classic-stuck", stuck::a_machine_that_never_comes_up),
        Journey::shared("classic-new-target", lifecycle::another_target_in_the_middle),
        Journey::shared("classic-windows", windows::opens_and_closes),
        Journey::shared("classic-window-closes", windows::closes_while_a_pool_rolls),
        Journey::shared("classic-preflight", preflight::a_sick_cluster_is_not_upgraded),
        Journey::shared("classic-workload", workload::read_by_its_kubeconfig),
        Journey::shared("classic-addons", addons::each_part_waits_for_what_the_release_brings),
        Journey::shared("classic-addons-back", addons_back::what_was_there_before_goes_back),
        Journey::shared("classic-plugin", plugin::each_verb),
        Journey::shared("classic-plan", plan::told_beforehand),
        Journey::shared("classic-plugin-page", plugin_page::follows),
        Journey::shared("classic-restart", restart::each_machine_once),
        Journey::shared(
            "classic-way-back",
            way_back::what_can_be_undone_is_and_what_cannot_says_why,
        ),
        Journey::shared("classic-failure", failure::what_fails_goes_back_or_ends_by_itself),
        Journey::shared("classic-boots-never", boots_never::goes_back_and_then_forward),
        Journey::shared("classic-presets", presets::in_each_state),
        Journey::shared("classic-deleted", lifecycle::missing_cluster_wrong_source_and_deletion),
        Journey::shared("classic-edited-outside", lifecycle::edits_made_outside_instar),
        Journey::shared("classic-templates", templates::retention_keeps_templates),
        Journey::shared("classic-swap-tried", tried::refused_before_anything_is_written),
        Journey::shared("classic-shared", shared::by_two_clusters),
        Journey::shared("classic-strategy", strategy::two_at_a_time_in_order),
        Journey::shared("classic-other-control-plane", other_control_plane::both_contracts),
        Journey::shared("classic-moved-paused", lifecycle::restored_in_the_middle),
        Journey::shared("expressions", expressions::as_an_api_server_evaluates_them),
        Journey::exclusive("classic-refused-second", lifecycle::second_upgrade_is_refused)
            .prepared_by(lifecycle::prepare_second),
        Journey::exclusive("classic-moved", lifecycle::moved_in_the_middle).prepared_by(lifecycle::prepare_moved),
        Journey::exclusive("classic-machine-pool", machine_pool::under_a_pause),
        Journey::exclusive("classic-shards", shards::one_of_several_controllers),
        Journey::exclusive("classic-rights", rights::granted_and_used),
    ];
    journeys::run(Setup::Instar, ServedVersions::Stored, SharedRows::Same, journeys)
}
