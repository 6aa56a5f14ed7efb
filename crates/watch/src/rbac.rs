//! What the programs may do with resources.

mod providers;

pub use providers::{PROVIDERS, Provider, role_for};

/// What may be done to one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The API group.
    pub api_group: &'static str,
    /// The resource, in the plural, with its subresource.
    pub resource: &'static str,
    /// The verbs.
    pub verbs: &'static [&'static str],
}

/// What watching takes.
pub const WATCH: &[&str] = &["list", "watch"];

/// A rule.
#[must_use]
pub const fn rule(api_group: &'static str, resource: &'static str, verbs: &'static [&'static str]) -> Rule {
    Rule {
        api_group,
        resource,
        verbs,
    }
}
