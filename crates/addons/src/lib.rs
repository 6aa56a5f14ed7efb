//! Whether what runs beside Kubernetes is ready, from a spec, the objects that were observed, and the time.
//!
//! [`Expression`] is CEL with bounds: it is refused or unknown before it takes long. [`order`] is what comes after what.
//!
//! Invariants: no client, no IO, no clock (now is an input); every function is total, whatever the text and the objects.

mod expression;
mod order;

pub use expression::{Evaluation, Expression, ExpressionError, Inputs, MOST_BYTES, MOST_STEPS, Variable};
pub use order::{OrderError, order};
