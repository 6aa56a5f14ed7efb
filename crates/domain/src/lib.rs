//! Versions, skew and JSON Pointers: values that know nothing of Kubernetes' API.
//!
//! Everything above this crate speaks in its types, so that a version that can't be read, or a
//! pointer that points nowhere, is refused where it enters and not where it is used.
//!
//! Invariants: no IO, no clock, no Kubernetes client or API type; every function is total.

pub mod json;
mod pointer;
pub mod skew;
mod version;

pub use pointer::{InvalidPointer, JsonPointer};
pub use version::{BuildOrder, InvalidVersion, KubeVersion, Minor};
