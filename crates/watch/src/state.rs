//! What is known of a kind as a whole.

use std::fmt;

/// Whether a kind's table can be relied upon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WatchState {
    /// The API server hasn't answered yet.
    #[default]
    Pending,
    /// The kind was listed, and its table follows the watch.
    Watching,
    /// Discovery says that the cluster doesn't serve the kind, so there are no objects of it.
    NotServed,
    /// Nothing is known of the kind's objects.
    Unavailable(Unavailable),
}

/// Why nothing is known of a kind's objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// The cluster doesn't serve a kind that must exist.
    NotServed,
    /// The account has no right to do this with the resource.
    Forbidden {
        /// `list` or `watch`.
        verb: &'static str,
        /// The plural.
        resource: String,
    },
    /// The API server answers with errors.
    Failing,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotServed => f.write_str("the API server doesn't know its kind"),
            Self::Forbidden { verb, resource } => write!(f, "no right to {verb} {resource}"),
            Self::Failing => f.write_str("its kind can't be listed at the moment"),
        }
    }
}
