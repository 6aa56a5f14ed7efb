//! What the controller does to classic clusters, seen on a real management cluster.
//!
//! Those that don't kill the controller share the installed one. The exclusive ones come after them.
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

use instar_e2e::support::{
    catalog::SharedRows,
    journeys::{self, Journey, Setup},
};

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
        Journey::exclusive("classic-refused-second", lifecycle::second_upgrade_is_refused)
            .prepared_by(lifecycle::prepare_second),
        Journey::exclusive("classic-moved", lifecycle::moved_in_the_middle).prepared_by(lifecycle::prepare_moved),
        Journey::exclusive("classic-two-controllers", faults::two_controllers_without_the_lease)
            .prepared_by(faults::prepare),
        Journey::exclusive(
            "classic-dropped-replies",
            side_by_side::every_reply_of_a_write_is_dropped,
        )
        .prepared_by(side_by_side::prepare_small),
        Journey::exclusive("classic-killed-before", side_by_side::killed_before_every_write)
            .prepared_by(side_by_side::prepare_small)
            .within(Duration::from_mins(30)),
        Journey::exclusive("classic-killed-after", side_by_side::killed_after_every_write)
            .prepared_by(side_by_side::prepare_uneven)
            .within(Duration::from_mins(30)),
        Journey::exclusive("classic-rights", rights::granted_and_used),
    ];
    journeys::run(Setup::Instar, SharedRows::Same, journeys)
}
