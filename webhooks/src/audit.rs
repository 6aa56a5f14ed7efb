//! What is told of rules that were switched off for an edit: to whom it may concern, beside the answer.

use instar_admission::Finding;

/// An edit for which a rule was switched off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverriddenRule {
    /// The object's API group and version, as it was sent.
    pub api_version: String,
    pub kind: String,
    /// Its namespace; empty where it has none.
    pub namespace: String,
    pub name: String,
    /// Its UID, by which `kubectl describe` looks for its Events.
    pub uid: String,
    pub user: String,
    /// The rule, and what it would have said.
    pub finding: Finding,
}

/// Takes note of broken rules. It must not wait for anything: the answer is on its way.
pub trait AuditSink: Send + Sync + 'static {
    fn record(&self, broken: OverriddenRule);
}
