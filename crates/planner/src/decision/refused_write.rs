//! A write that the API server refuses.

use std::fmt;

use instar_api::HealthReason;

/// A write that the API server, or a webhook that it asked, refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedWrite {
    /// The kind of the object that it is of.
    pub kind: String,
    pub name: String,
    /// What was to be written, and why it is refused, in the words of the API server.
    pub message: String,
    pub turn: WriteTurn,
}

/// When a write that is refused would come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteTurn {
    /// Now.
    Now,
    /// After the workers have gone back: it was tried before they do, so that no rollback ends half way.
    AfterWorkersAreBack,
}

impl RefusedWrite {
    /// What to do.
    pub(super) fn next(&self) -> String {
        let next = HealthReason::Refused.next();
        match self.turn {
            WriteTurn::Now => next,
            WriteTurn::AfterWorkersAreBack => format!(
                "{next} To take the workers alone back, delete this ClusterUpgrade and create one with the operation RollbackWorkers."
            ),
        }
    }
}

impl fmt::Display for RefusedWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.turn {
            WriteTurn::Now => "",
            WriteTurn::AfterWorkersAreBack => {
                "nothing is taken back yet, since the control plane's way back would be refused: "
            }
        })?;
        f.write_str(&self.message)
    }
}
