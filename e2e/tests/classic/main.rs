//! What the controller does to classic clusters, seen on a real management cluster.
//!
//! Those that don't kill the controller share the installed one, and the rows of patch number 1:
//! the catalog is everybody's, and on the way the newest row of a minor is taken. The exclusive ones
//! come after them, each with a higher patch number than those before.
#![allow(clippy::panic, reason = "a journey fails by panicking, with what it saw")]

mod by_hand;
mod controller;
mod faults;
mod lifecycle;
mod other_control_plane;
mod rights;
mod side_by_side;
mod strategy;
mod stuck;
mod templates;
mod upgrade;

use std::{process::ExitCode, time::Duration};

use instar_e2e::support::journeys::{self, Journey, Setup};

fn main() -> ExitCode {
    let journeys = vec![
        Journey::shared("classic-two-minors", upgrade::two_minors_by_one_annotation),
        Journey::shared("classic-paused", upgrade::paused_in_the_middle),
        Journey::shared("classic-by-hand", by_hand::held_and_all_at_once),
        Journey::shared("classic-stuck", stuck::a_machine_that_never_comes_up),
        Journey::shared("classic-new-target", lifecycle::another_target_in_the_middle),
        Journey::shared("classic-deleted", lifecycle::missing_cluster_wrong_source_and_deletion),
        Journey::shared("classic-edited-outside", lifecycle::edits_made_outside_instar),
        Journey::shared("classic-templates", templates::retention_keeps_templates),
        Journey::shared("classic-strategy", strategy::two_at_a_time_in_order),
        Journey::shared("classic-other-control-plane", other_control_plane::both_contracts),
        Journey::shared("classic-moved-paused", lifecycle::restored_in_the_middle),
        Journey::exclusive("classic-refused-second", lifecycle::second_upgrade_is_refused),
        Journey::exclusive("classic-moved", lifecycle::moved_in_the_middle),
        Journey::exclusive("classic-two-controllers", faults::two_controllers_without_the_lease),
        Journey::exclusive(
            "classic-dropped-replies",
            side_by_side::every_reply_of_a_write_is_dropped,
        ),
        Journey::exclusive("classic-killed-before", side_by_side::killed_before_every_write)
            .within(Duration::from_mins(30)),
        Journey::exclusive("classic-killed-after", side_by_side::killed_after_every_write)
            .within(Duration::from_mins(30)),
        Journey::exclusive("classic-rights", rights::granted_and_used),
    ];
    journeys::run(Setup::Instar, journeys)
}
