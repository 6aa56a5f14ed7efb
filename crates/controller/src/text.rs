//! Texts as the schema takes them.

use instar_api::WaitingFor;
use instar_planner::{Snapshot, Waiting};

/// The longest message.
const MESSAGE: usize = 1024;

/// An entry of `status.waiting`.
pub(crate) fn waiting_for(waiting: &Waiting, snapshot: &Snapshot) -> WaitingFor {
    let (kind, name) = match waiting.involved_object() {
        Some(about) => about.kind_and_name(snapshot),
        None => ("", ""),
    };
    WaitingFor {
        reason: waiting.reason().to_string(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        message: cut(&waiting.to_string()),
    }
}

/// At most as much as the schema takes.
pub(crate) fn cut(message: &str) -> String {
    message.chars().take(MESSAGE).collect()
}
