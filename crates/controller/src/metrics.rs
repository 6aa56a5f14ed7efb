//! What is counted.

use instar_serve::Metrics;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

/// How a pass over a Cluster ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Pass {
    /// Nothing had to be written.
    Idle,
    /// Something was written.
    Wrote,
    /// Somebody else wrote in between.
    Conflict,
    /// It failed.
    Failed,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Written {
    /// A template was made.
    Mint,
    /// A pool was pointed at a release.
    Swap,
    /// A topology Cluster's version was edited.
    Edit,
    /// A topology Cluster's pins were completed.
    Pins,
    /// A template was deleted.
    Delete,
    /// A record was made.
    Record,
    /// A record got another target.
    Retarget,
    /// A record was marked as over, or no more.
    Mark,
    /// A status was written.
    Status,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Passes {
    outcome: Pass,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Writes {
    what: Written,
}

/// The counters.
#[derive(Clone, Debug)]
pub(crate) struct Counters {
    passes: Family<Passes, Counter>,
    writes: Family<Writes, Counter>,
    pub(crate) leader: Gauge,
}

impl Counters {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        Self {
            passes: metrics.register("reconcile", "Passes over Clusters by outcome", Family::default()),
            writes: metrics.register("writes", "Writes by what was written", Family::default()),
            leader: metrics.register("leader", "Whether this process holds the lease", Gauge::default()),
        }
    }

    pub(crate) fn pass(&self, outcome: Pass) {
        self.passes.get_or_create(&Passes { outcome }).inc();
    }

    pub(crate) fn wrote(&self, what: Written) {
        self.writes.get_or_create(&Writes { what }).inc();
    }
}
