//! A write that the API server refuses.

use std::fmt;

/// A write that the API server, or a webhook that it asked, refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedWrite {
    /// The kind of the object that it is of.
    pub kind: String,
    pub name: String,
    /// What was to be written, and why it is refused, in the words of the API server.
    pub message: String,
}

impl fmt::Display for RefusedWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
