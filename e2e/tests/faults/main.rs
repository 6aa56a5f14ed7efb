//! The fault proxy, and Instar behind it while things go wrong.
#![allow(clippy::panic, reason = "a journey fails by panicking, with what it saw")]

mod caches;
mod clients;
mod closing;
mod each_fault;
mod each_write;
mod gated;
mod kills;
mod kinds;
mod pools;
mod rolled_back;
mod transparent;
mod two_controllers;
mod watches;

use std::{process::ExitCode, time::Duration};

use instar_e2e::support::{
    catalog::SharedRows,
    journeys::{self, Journey, ServedVersions, Setup},
};

fn main() -> ExitCode {
    let journeys = vec![
        Journey::shared("transparent", transparent::without_a_rule),
        Journey::shared("answers", each_fault::answers),
        Journey::shared("lost", each_fault::lost_requests_and_replies),
        Journey::shared("hooks", each_fault::hooks),
        Journey::shared("watcher", each_fault::a_watcher_misses_nothing),
        Journey::shared("kinds", kinds::absent_and_unreadable),
        Journey::exclusive("watches", watches::cut_every_second),
        Journey::exclusive("kills", kills::before_each_list),
        Journey::exclusive("two-controllers", two_controllers::without_the_lease).prepared_by(two_controllers::prepare),
        Journey::exclusive("each-write", each_write::goes_wrong)
            .prepared_by(each_write::prepare)
            .within(Duration::from_mins(45)),
    ];
    journeys::run(Setup::Instar, ServedVersions::Stored, SharedRows::Own, journeys)
}
