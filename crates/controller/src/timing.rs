//! How long things may take.

use jiff::SignedDuration;

/// What flags of the controller say.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// How long each Node has to be Ready before an upgrade is complete.
    pub(crate) nodes_ready_for: SignedDuration,
    /// How long a new machine of a control plane may have no node before it is said to be stuck.
    pub(crate) machine_start: SignedDuration,
}

impl Timing {
    /// For how many seconds each Node has to be Ready, and how many a new machine of a control plane may have no node.
    #[must_use]
    pub fn in_seconds(nodes_ready_for: u32, machine_start: u32) -> Self {
        Self {
            nodes_ready_for: SignedDuration::from_secs(nodes_ready_for.into()),
            machine_start: SignedDuration::from_secs(machine_start.into()),
        }
    }
}
