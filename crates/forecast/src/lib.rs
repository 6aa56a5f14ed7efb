//! What an upgrade would do, step by step, before anything is written: of a classic Cluster what the controller writes, of a
//! topology Cluster what Cluster API makes of the edit.
//!
//! ```text
//! Snapshot ─▶ plan ─▶ check ─▶ apply ─┐      for each write that the planner decides
//!    ▲                                │
//!    └──── converge / take as open ◀──┘      where it waits for machines / for a gate
//! ```
//!
//! The planner itself is asked again and again, each time of the snapshot that its last write would leave; so this is no
//! second opinion. What it can't know, it takes for granted and says so: that machines come up, and that what is closed
//! opens.
//!
//! Invariants: no client, no clock, no environment; the same input gives the same forecast; it always ends.
#![deny(missing_docs)]

mod apply;
mod converge;
mod differences;
mod forecast;
mod open;
mod run;
mod topology;

pub use differences::{ValueDifference, value_differences};
pub use forecast::{Change, End, Forecast, Mint, Move, PoolSwap, PoolTotal, SetValues, Unclear};
pub use run::{Detail, forecast};
pub use topology::{TopologyEdit, forecast_topology};
