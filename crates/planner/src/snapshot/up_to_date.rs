//! What a control plane says of its Machines.

/// Whether a Machine is what its owner's spec says: the condition `UpToDate`, which that owner's controller writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpToDate {
    Yes,
    No,
    /// Nothing says so.
    Unknown,
}
