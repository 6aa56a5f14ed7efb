//! A Node that holds the end of an upgrade.

use std::fmt;

use instar_api::HealthReason;

/// A Machine whose Node isn't known to be Ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadyNode {
    pub machine: String,
    pub is: NodeIs,
    /// In Cluster API's words; may be empty.
    pub message: String,
}

/// What is known of a Node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeIs {
    NotReady,
    Unknown,
}

impl UnreadyNode {
    pub(super) const fn reason(&self) -> HealthReason {
        match self.is {
            NodeIs::NotReady => HealthReason::NodeNotReady,
            NodeIs::Unknown => HealthReason::NodeUnknown,
        }
    }
}

impl fmt::Display for UnreadyNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, is, message } = self;
        match is {
            NodeIs::NotReady => write!(f, "Machine {machine} is there, and its Node is not Ready")?,
            NodeIs::Unknown => write!(
                f,
                "Machine {machine} is there, and its condition NodeReady doesn't say whether its Node is Ready"
            )?,
        }
        // Cluster API writes it as a list of one.
        match message.trim_start_matches("* ") {
            "" => Ok(()),
            message => write!(f, ": {message}"),
        }
    }
}
