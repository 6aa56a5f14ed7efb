//! What `/metrics` of each command has, for the reference page.

use instar_serve::Metrics;
use instar_webhooks::{AdmissionMetrics, Events, caches};

/// What `instar webhook` registers, before anything has happened.
#[must_use]
pub fn webhook() -> Metrics {
    let metrics = Metrics::default();
    drop((
        caches::register(&metrics),
        Events::new(&metrics),
        AdmissionMetrics::register(&metrics),
    ));
    instar_serve::register(&metrics);
    metrics
}

/// What `instar controller` registers, before anything has happened.
#[must_use]
pub fn controller() -> Metrics {
    let metrics = Metrics::default();
    instar_controller::register(&metrics);
    metrics
}
