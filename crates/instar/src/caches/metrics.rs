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
    kind: Kind,
}

/// What is counted: a kind that is known from the start, or all that were learned together, since
/// whoever may write a reference would else make a time series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Watched(Watched),
    Templates,
}

impl EncodeLabelValue for Kind {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        let name = match self {
            Self::Watched(kind) => kind.rule().resource,
            Self::Templates => "templates",
        };
        EncodeLabelValue::encode(&name, encoder)
    }
}

impl WatchMetrics {
    /// Registers the metrics. Every kind is there from the start, as a zero.
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let errors = metrics.register(
            "watch_errors",
            "Errors of watches by kind",
            Family::<Labels, Counter>::default(),
        );
        let cached = metrics.register(
            "cached_objects",
            "Objects in the caches by kind",
            Family::<Labels, Gauge>::default(),
        );
        for kind in Watched::ALL.map(Kind::Watched).into_iter().chain([Kind::Templates]) {
            drop(errors.get_or_create(&Labels { kind }));
            drop(cached.get_or_create(&Labels { kind }));
        }
        Self { errors, cached }
    }

    pub(super) fn error(&self, kind: Kind) {
        self.errors.get_or_create(&Labels { kind }).inc();
    }

    pub(super) fn cached(&self, kind: Kind, objects: usize) {
        self.cached
            .get_or_create(&Labels { kind })
            .set(i64::try_from(objects).unwrap_or(i64::MAX));
    }
}
