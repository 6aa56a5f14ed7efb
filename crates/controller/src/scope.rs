//! Which Clusters a controller looks after, where several run.
//!
//! Caches keep every object of the namespaces that are watched, and passes alone are filtered: what Clusters of another
//! controller refer to is known here too. A Cluster whose label changes goes from one controller to the other as it goes
//! from one leader to the next: the state of an upgrade is in objects, and each write names what was read, so a pass that
//! is under way meanwhile does nothing twice.

#[cfg(test)]
mod tests;

use instar_capi::labels::WATCH_FILTER;
use instar_watch::Namespaces;

use crate::lease::NAME;

/// The longest DNS label.
const LONGEST: usize = 63;

/// Which Clusters a controller looks after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// In which namespaces objects are watched.
    pub namespaces: Namespaces,
    /// Which of their Clusters it looks after.
    pub filter: WatchFilter,
}

/// Which Clusters a controller looks after, by the label `cluster.x-k8s.io/watch-filter`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WatchFilter {
    /// All, as Cluster API's own controllers do without the flag: those with the label too.
    #[default]
    All,
    /// Those whose label has this value.
    Label(Box<str>),
}

/// Why a flag can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// No namespace has such a name.
    #[error("no namespace can have this name: use lower-case letters, digits and hyphens, 63 characters at most")]
    Namespace,
    /// A label may have such a value, and a Lease can't be named for it.
    #[error(
        "the controller's Lease is named {NAME}-VALUE: use lower-case letters, digits and hyphens, 63 characters at most, \
         and give the Clusters the label {WATCH_FILTER} with that value"
    )]
    Filter,
}

/// Reads the name of the namespace that is watched; an empty one is all of them.
///
/// # Errors
///
/// No namespace can have this name.
pub fn namespaces(text: &str) -> Result<Namespaces, ScopeError> {
    match text {
        "" => Ok(Namespaces::All),
        name if is_dns_label(name) => Ok(Namespaces::One(name.into())),
        _ => Err(ScopeError::Namespace),
    }
}

/// Reads the value of the label of the Clusters that a controller looks after; an empty one is all of them.
///
/// # Errors
///
/// A Lease can't be named for the value. Were it made to fit, two values could share a Lease, and one controller of the two
/// would do nothing.
pub fn watch_filter(text: &str) -> Result<WatchFilter, ScopeError> {
    match text {
        "" => Ok(WatchFilter::All),
        value if is_dns_label(value) => Ok(WatchFilter::Label(value.into())),
        _ => Err(ScopeError::Filter),
    }
}

fn is_dns_label(text: &str) -> bool {
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    text.len() <= LONGEST && text.bytes().all(|byte| inner(&byte)) && !text.starts_with('-') && !text.ends_with('-')
}

impl WatchFilter {
    /// Whether an object with this value of the label is looked after.
    pub(crate) fn takes(&self, label: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Label(value) => label == Some(value),
        }
    }
}

impl Scope {
    /// The name of the Lease: controllers of different scopes don't wait for each other. Neither part has a dot, so no two
    /// scopes share a name.
    pub(crate) fn lease_name(&self) -> String {
        let filter = match &self.filter {
            WatchFilter::All => String::new(),
            WatchFilter::Label(value) => format!("-{value}"),
        };
        let namespace = match &self.namespaces {
            Namespaces::All => String::new(),
            Namespaces::One(namespace) => format!(".{namespace}"),
        };
        format!("{NAME}{filter}{namespace}")
    }

    /// Whether it is every Cluster, so that no other controller is expected.
    pub(crate) fn is_whole(&self) -> bool {
        *self == Self::default()
    }
}

/// In which namespaces the controller writes that has the Lease of this name; nothing where it is no controller's.
#[must_use]
pub fn namespaces_of_lease(name: &str) -> Option<Namespaces> {
    let scope = name.strip_prefix(NAME)?;
    let (filter, namespaces) = match scope.split_once('.') {
        Some((filter, namespace)) => (filter, Namespaces::One(namespace.into())),
        None => (scope, Namespaces::All),
    };
    (filter.is_empty() || filter.starts_with('-')).then_some(namespaces)
}
