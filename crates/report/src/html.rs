//! The value as a page: the same markup for the live page of `kubectl instar ui` and for a file that is exported.
//!
//! ```text
//! Report ─▶ of_cluster ─▶ Fragment ─┬─▶ live: a page that a script keeps up to date with later fragments
//!                                   └─▶ export: one file, with the data, that asks for nothing
//! ```
//!
//! Every text goes through `maud`, which escapes it: what an object says never becomes markup.

mod actions;
mod cluster;
mod document;
mod fleet;
mod health;
mod machines;
mod page;
mod parts;
mod pools;

use jiff::Timestamp;

use crate::Invocation;

pub use actions::{Answer, Done, FormFields, Forms, answer};
pub use cluster::of_cluster;
pub use fleet::of_fleet;
pub use page::{ExportError, Live, SCRIPT, STYLE, Writes, export, live};

/// What stands in the middle of a page, and changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// What a browser's tab says.
    pub title: String,
    /// Markup.
    pub html: String,
    /// What a screen reader says when it changes: where it is, without times.
    pub spoken: String,
}

/// What stands there before anything could be read.
#[must_use]
pub fn unread(heading: &str) -> Fragment {
    Fragment {
        title: heading.to_owned(),
        html: parts::unread(heading).into_string(),
        spoken: String::new(),
    }
}

/// How a Cluster is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View<'a> {
    /// The time that ages count to.
    pub now: Timestamp,
    /// Which Machines are listed.
    pub machines: Listed,
    /// How the commands on it are called; the namespace is the Cluster's own.
    pub invocation: &'a Invocation,
    /// Whether it has forms.
    pub forms: Forms<'a>,
}

impl View<'_> {
    /// With commands for kubectl's own context, and without forms.
    #[must_use]
    pub const fn plain(now: Timestamp, machines: Listed) -> Self {
        Self {
            now,
            machines,
            invocation: Invocation::PLAIN,
            forms: Forms::None,
        }
    }
}

/// Which Machines are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// All that aren't well, and the others up to ten in all, with a link to the page that has all.
    Some,
    /// The same, and the rest where a reader unfolds it.
    All,
}
