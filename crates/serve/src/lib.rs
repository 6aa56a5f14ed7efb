//! Serving: TLS with certificates that reload, health, metrics, and a graceful stop.
//!
//! ```text
//!            limits of a connection      limits of a request
//! TLS port    [ connections ] ────────▶ [ requests ] ────▶ the caller's router
//! health port [ connections ] ────────▶ [ requests ] ────▶ /healthz /readyz /metrics
//!      [ places ] who stays              [ budget ] whose body is read
//! [ tls ] re-reads the certificates     [ readiness ] which part is not ready, and why
//! ```
//!
//! The caller builds a router and calls [`serve`], or [`start`] if it wants the addresses.
//!
//! Invariants:
//! - A certificate that does not work is never served: the previous one stays.
//! - A request that was read is answered, also while stopping.
//! - Whatever a peer sends, what it can hold is bounded: connections, streams, bytes, time.
//! - Who holds them and asks nothing keeps nobody else out.

mod budget;
mod connections;
pub mod health;
pub mod metrics;
mod options;
mod places;
mod readiness;
mod reads;
mod requests;
mod server;
#[cfg(test)]
mod tests;
pub mod tls;

pub use metrics::Metrics;
pub use options::Options;
pub use readiness::{Part, Readiness};
pub use server::{Error, Running, register, serve, start};
pub use tls::Tls;
