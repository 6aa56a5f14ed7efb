//! What the API server answers with a refusal.
//!
//! One code for all rules. Flux takes 422 and 409, and a message that says that something "is immutable" or that names
//! an "immutable field", for an object that has to be created again: with `force` it deletes it, a Cluster with all its
//! machines. `kubectl apply --force` does so for the codes.
//! Source: `IsImmutableError` in errors.go of github.com/fluxcd/pkg/ssa, and patcher.go of kubectl's apply.

/// The HTTP code of every refusal.
pub const REFUSAL_CODE: u16 = 403;

/// The reason that Kubernetes gives for it.
pub const REFUSAL_REASON: &str = "Forbidden";
