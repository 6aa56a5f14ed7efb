//! Watches of the API server, and the caches that they fill. Both programs use them.
//!
//! ```text
//! API server ─▶ watch_kind ─▶ KeptSink ─▶ Cache (Index by key and group, WatchState) ─▶ who asks
//!                   │                        ▲
//!                   └─▶ WatchHealth          └─ DynamicWatches: a kind is watched while something
//!                       (readiness, metrics)    refers to it
//! ```
//!
//! Invariants:
//! - While a list comes in, the previous table stands; a list that breaks off changes nothing. What is listed as it
//!   was isn't held twice, and wakes nobody.
//! - An object that can't be decoded stays in its index as [`Unreadable`], and stops no other object.
//! - A kind counts as empty only if discovery says that the cluster doesn't serve it. Whatever else
//!   fails keeps what was listed, or makes the kind [`Unavailable`](WatchState::Unavailable).
//! - A cache that has been without its watch for longer than [`STALE_AFTER`] says so in readiness and
//!   in a metric.

mod cache;
mod catalog;
mod client;
mod definitions;
mod discovery;
mod dynamic;
mod error;
mod first_answers;
mod guard;
mod health;
mod index;
mod key;
mod kind;
mod metrics;
mod namespaces;
pub mod rbac;
mod shared_texts;
mod sink;
mod state;
mod text;

pub use cache::{Cache, Hooks, Kept, KeptSink, Lookup};
pub use catalog::CurrentCatalogs;
pub use client::{ConnectError, connect};
pub use definitions::{DEFINITIONS, Definitions, DefinitionsAre, DefinitionsFit, Grace, Refusal};
pub use discovery::{Version, find_resource};
pub use dynamic::{DynamicKept, DynamicWatches, KindLease};
pub use error::{ErrorChain, ErrorText, is_not_found};
pub use first_answers::FirstAnswers;
pub use guard::{Guarded, Unreadable, references_in};
pub use health::{STALE_AFTER, WatchHealth};
pub use index::{Applied, Complaint, Entry, Index, Relisted, Row, Table};
pub use key::{Key, KindKey};
pub use kind::{Presence, Target, Watch, config, watch_kind};
pub use metrics::WatchMetrics;
pub use namespaces::{Namespaces, ScopeOf};
pub use shared_texts::SharedTexts;
pub use sink::{Counts, Sink};
pub use state::{Unavailable, WatchState};

#[cfg(test)]
mod tests;
