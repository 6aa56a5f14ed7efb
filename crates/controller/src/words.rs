//! Texts as the schema takes them.

use instar_api::WaitingFor;
use instar_planner::Waiting;

/// The longest message.
const MESSAGE: usize = 1024;

/// A reason for programs, and a sentence for people.
pub(crate) fn told(waiting: &Waiting) -> WaitingFor {
    WaitingFor {
        reason: waiting.reason().to_owned(),
        message: cut(&waiting.to_string()),
    }
}

/// At most as much as the schema takes.
pub(crate) fn cut(message: &str) -> String {
    message.chars().take(MESSAGE).collect()
}
