//! What readiness and metrics say of one watch.

use std::{sync::Arc, time::Duration};

use instar_serve::Part;
use tokio::time::Instant;

use crate::{Counts, FirstAnswers, WatchMetrics, metrics::Labels};

/// For how long a watch may fail before its cache counts as old. An API server that is restarted, or a
/// control plane whose machines are replaced one by one, answers again within less; and the longest time
/// between two tries is a minute, so several have failed by then.
pub const STALE_AFTER: Duration = Duration::from_mins(5);

/// What is told of one watch. Dropped with its watch, it takes back what it has added to the metrics.
#[derive(Debug)]
pub struct WatchHealth {
    labels: Labels,
    metrics: WatchMetrics,
    part: Option<Part>,
    answers: Option<Arc<FirstAnswers>>,
    failing_since: Option<Instant>,
    is_stale: bool,
    is_ready: bool,
    counts: Counts,
}

impl WatchHealth {
    /// `part` is ready once the first list is in, and not while the cache is old. Without one, readiness
    /// doesn't depend on this watch.
    #[must_use]
    pub fn new(kind: &'static str, metrics: &WatchMetrics, part: Option<Part>) -> Self {
        Self {
            labels: Labels { kind },
            metrics: metrics.clone(),
            part,
            answers: None,
            failing_since: None,
            is_stale: false,
            is_ready: false,
            counts: Counts::default(),
        }
    }

    /// What refers to other kinds may be in this list: whoever waits for them hears when it is in.
    #[must_use]
    pub fn settling(mut self, answers: &Arc<FirstAnswers>) -> Self {
        self.answers = Some(Arc::clone(answers));
        self
    }

    /// The table is as the API server says.
    pub(crate) fn well(&mut self) {
        self.failing_since = None;
        self.set_stale(false);
        if !self.is_ready {
            self.is_ready = true;
            self.part.iter().for_each(Part::ready);
            self.answers.iter().for_each(|answers| answers.settle());
        }
    }

    /// A try failed.
    pub(crate) fn failed(&mut self, why: &str) {
        self.metrics.errors.get_or_create(&self.labels).inc();
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        let lasts = since.elapsed();
        if lasts < STALE_AFTER {
            return;
        }
        self.set_stale(true);
        let kind = self.labels.kind;
        if std::mem::take(&mut self.is_ready) {
            tracing::error!(kind, "Cache has been without its watch for {} s", lasts.as_secs());
        }
        let reason = format!("without its watch for {} s: {why}", lasts.as_secs());
        self.part.iter().for_each(|part| part.not_ready(&reason));
    }

    /// What is kept.
    pub(crate) fn counts(&mut self, now: Counts) {
        let count = |count| i64::try_from(count).unwrap_or(i64::MAX);
        let before = std::mem::replace(&mut self.counts, now);
        for (gauges, before, now) in [
            (&self.metrics.cached, before.objects, now.objects),
            (&self.metrics.unreadable, before.unreadable, now.unreadable),
            (&self.metrics.bytes, before.bytes, now.bytes),
        ] {
            gauges.get_or_create(&self.labels).inc_by(count(now) - count(before));
        }
    }

    fn set_stale(&mut self, is_stale: bool) {
        let change = i64::from(is_stale) - i64::from(self.is_stale);
        self.metrics.stale.get_or_create(&self.labels).inc_by(change);
        self.is_stale = is_stale;
    }
}

impl Drop for WatchHealth {
    fn drop(&mut self) {
        self.counts(Counts::default());
        self.set_stale(false);
    }
}
