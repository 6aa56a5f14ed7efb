//! The cases of admission: the objects of a cluster, an edit, and the verdict.
//!
//! They are files (`webhooks/cases`), one for each rule, of real Kubernetes objects. The tests of the
//! router ask them with the world's objects as all that is known; the program `admission` of the
//! end-to-end tests makes the same objects on a real management cluster and sends the same edits; the
//! page of rules takes its examples from them.
//!
//! For tests and tools only: nothing that is shipped depends on it.

mod case;
mod file;
mod pattern;
mod world;

pub use case::{Action, Case, Expected, Refusal, Rights, Sent};
pub use file::{CaseFile, Scene, all};
pub use pattern::{broken_rules, says};
pub use world::{Key, NAMESPACE, World, today};
