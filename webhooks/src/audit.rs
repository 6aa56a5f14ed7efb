//! The record of edits for which a rule was switched off.

use instar_admission::Finding;

/// An edit for which a rule was switched off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverriddenRule {
    /// The object's API group and version in the request.
    pub api_version: String,
    pub kind: String,
    /// Empty if the object has no namespace.
    pub namespace: String,
    pub name: String,
    /// The object's UID, by which `kubectl describe` finds its Events; empty if it is not known.
    pub uid: String,
    pub user: String,
    /// The rule, and the message that it would have given.
    pub finding: Finding,
}

/// Records overridden rules. It must not block: the answer to the edit waits for it.
pub trait AuditSink: Send + Sync + 'static {
    fn record(&self, overridden: OverriddenRule);
}
