//! The verdicts of admission, as functions of a request and of what is known.
//!
//! - [`about`]: the table of rules, of which the webhook configuration and the docs are made.
//! - [`cluster`], [`control_plane`], [`worker`], [`class`], [`template`], [`release`], [`upgrade`],
//!   [`policy`]: which rules an edit of such an object breaks.
//! - [`settle`]: what becomes of it, by the policies and the break-glass annotation.
//!
//! Invariants: no client, no IO, no clock: the time is an input. Every function is total, and what
//! is not known (a class, a control plane that no cache has seen) has a rule of its own.

pub mod class;
pub mod cluster;
pub mod control_plane;
mod edit;
mod finding;
mod glass;
pub mod known;
pub mod policy;
mod reference;
pub mod release;
mod release_agrees;
mod table;
pub mod template;
pub mod upgrade;
mod verdict;
pub mod worker;

pub use edit::{Edit, called, cluster_of, is_controlled};
pub use finding::{ClusterName, Finding, lines};
pub use glass::Glass;
pub use instar_api::Rule;
pub use known::Observed;
pub use table::{About, Breach, Change, Guard, On, about};
pub use verdict::{Status, Subject, Verdict, settle};
