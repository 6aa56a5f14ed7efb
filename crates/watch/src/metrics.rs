//! How the watches fare.

use instar_serve::Metrics;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

/// Errors of the watches, what they have brought, and which caches can't be relied upon.
///
/// The label is a kind that is known from the start, or one word for all kinds that were found by references:
/// whoever may write a reference would else make a time series.
#[derive(Clone, Debug)]
pub struct WatchMetrics {
    pub(crate) errors: Family<Labels, Counter>,
    pub(crate) cached: Family<Labels, Gauge>,
    pub(crate) bytes: Family<Labels, Gauge>,
    pub(crate) unreadable: Family<Labels, Gauge>,
    pub(crate) stale: Family<Labels, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Labels {
    pub(crate) kind: &'static str,
}

impl WatchMetrics {
    /// Registers the metrics, for these kinds. Every kind is there from the start, as a zero.
    pub fn register(metrics: &Metrics, kinds: impl IntoIterator<Item = &'static str>) -> Self {
        let registered = Self {
            errors: metrics.register("watch_errors", "Errors of watches by kind", Family::default()),
            cached: metrics.register("cached_objects", "Objects in the caches by kind", Family::default()),
            bytes: metrics.register(
                "cached_bytes",
                "Memory that the objects in the caches take, by kind, without what the allocator adds",
                Family::default(),
            ),
            unreadable: metrics.register(
                "watch_unreadable_objects",
                "Objects in the caches that can't be decoded, by kind",
                Family::default(),
            ),
            stale: metrics.register(
                "watch_stale",
                "Watches that have failed for more than 5 minutes, so that their cache is old, by kind",
                Family::default(),
            ),
        };
        for kind in kinds {
            let labels = Labels { kind };
            drop(registered.errors.get_or_create(&labels));
            drop(registered.cached.get_or_create(&labels));
            drop(registered.bytes.get_or_create(&labels));
            drop(registered.unreadable.get_or_create(&labels));
            drop(registered.stale.get_or_create(&labels));
        }
        registered
    }
}
