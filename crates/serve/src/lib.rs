//! Serving: TLS with certificates that reload, health, metrics, and a graceful stop.
//!
//! ```text
//!             limits of a connection    limits of a request
//! TLS port    [ connections ] ────────▶ [ requests ] ────▶ the caller's router
//! health port [ connections ] ────────▶ [ requests ] ────▶ /healthz /readyz /metrics
//!      [ connection_limiter ]            [ body_budget ]
//!      how many, who is displaced        how much memory, whose body is cancelled
//! [ tls ] reloads the certificates      [ readiness ] which part is not ready, and why
//! ```
//!
//! The caller builds a router and calls [`serve`], or [`start`] if it needs the bound addresses.
//!
//! Invariants:
//! - A certificate that does not work never replaces one that does.
//! - A request that was read is answered, also during shutdown.
//! - Whatever a peer sends, its use of connections, streams, memory and time is bounded.
//! - A peer that only holds connections or memory does not keep other peers out.
#![deny(missing_docs)]

mod body_budget;
mod connection_limiter;
mod connections;
pub mod health;
pub mod metrics;
mod options;
mod read_ahead;
mod readiness;
mod requests;
mod server;
mod signal;
#[cfg(test)]
mod tests;
pub mod tls;

pub use metrics::Metrics;
pub use options::Options;
pub use readiness::{Part, Readiness};
pub use server::{Error, Running, register, serve, start};
pub use tls::Tls;
