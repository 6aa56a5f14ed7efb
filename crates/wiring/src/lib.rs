//! The wiring: the inline patches of a ClusterClass that render the pins.
//!
//! [`wire`] writes it, [`Wiring::read`] reads it back at admission, and both go through the one
//! place that knows its texts ([`text`]). A class whose patches say anything else at a pointer does
//! not render it, whatever the patches are called, and so does one in which a later patch writes there.
//!
//! Invariants: no client, no IO; the same input gives the same output; wiring a wired class changes
//! nothing; the class' own patches stay as they are and come first.

mod parents;
mod read;
mod text;
mod versions;
mod write;

pub use read::{Fallback, Holder, Rendered, Wiring, own_patches_may_write};
pub use write::{Templates, Unwired, WireError, Wired, wire};
