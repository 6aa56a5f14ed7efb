//! How long a machine's drain may take.

/// How long the drain of a machine may take, before the machine is deleted all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainTimeout {
    /// As long as it takes.
    None,
    After {
        seconds: i64,
    },
    /// It isn't known.
    Unknown,
}

impl DrainTimeout {
    /// By `deletion.nodeDrainTimeoutSeconds`.
    #[must_use]
    pub const fn of(seconds: Option<i64>) -> Self {
        match seconds {
            None | Some(0) => Self::None,
            Some(seconds) => Self::After { seconds },
        }
    }
}
