//! How the watches fare.

use instar_serve::Metrics;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

use crate::rbac::Watched;

/// Errors of the watches, and how much they have brought.
#[derive(Clone, Debug)]
pub(crate) struct WatchMetrics {
    errors: Family<Labels, Counter>,
    cached: Family<Labels, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: Watched,
}

impl EncodeLabelValue for Watched {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.rule().resource, encoder)
    }
}

impl WatchMetrics {
    /// Registers the metrics. The errors of every kind are there from the start, as zeros.
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let errors = metrics.register(
            "watch_errors",
            "Errors of watches by kind",
            Family::<Labels, Counter>::default(),
        );
        for kind in Watched::ALL {
            drop(errors.get_or_create(&Labels { kind }));
        }
        Self {
            errors,
            cached: metrics.register("cached_objects", "Objects in the caches by kind", Family::default()),
        }
    }

    pub(super) fn error(&self, kind: Watched) {
        self.errors.get_or_create(&Labels { kind }).inc();
    }

    pub(super) fn cached(&self, kind: Watched, objects: usize) {
        self.cached
            .get_or_create(&Labels { kind })
            .set(i64::try_from(objects).unwrap_or(i64::MAX));
    }
}
