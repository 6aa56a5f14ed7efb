//! The verdicts of admission, as functions of a request and of what is known.
//!
//! - [`cluster`]: resolves the version, finds the path, holds the rules of every step, and writes the
//!   pins of a topology Cluster whose class is wired.
//! - [`template`]: a machine template's spec doesn't change.
//! - [`release`]: a row can be read, and isn't deleted while a Cluster is pinned to it.
//!
//! Invariants: no client, no IO, no clock: the day is an input. Every function is total, and what
//! is not known (a class, a control plane that no cache has seen) has a rule of its own.

pub mod cluster;
mod denial;
pub mod release;
pub mod template;

pub use denial::{Denial, Rule};
