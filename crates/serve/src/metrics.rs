//! The one registry of metrics of the process.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus_client::{
    collector::Collector,
    encoding::text,
    registry::{Metric, Registry},
};

/// The `Content-Type` of `/metrics`, which is in the `OpenMetrics` format.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of the process. A clone shares the registry.
///
/// Every name gets the prefix `instar_`. The values of a label are an enum, never text from a request or an
/// object, since each value is a time series.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            registry: Arc::new(Mutex::new(Registry::with_prefix("instar"))),
        }
    }
}

impl Metrics {
    /// Registers a metric and returns it: `let writes = metrics.register("writes", "…", …);`.
    ///
    /// Give the name without `_total`, which a counter gets when it is encoded. Register each name once:
    /// the registry accepts a name twice, but Prometheus refuses the page.
    pub fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        self.lock().register(name, help, metric.clone());
        metric
    }

    /// Registers what is counted at each scrape. It gives a name without the prefix, and a help that ends with a point.
    pub fn register_collector(&self, collector: impl Collector) {
        self.lock().register_collector(Box::new(collector));
    }

    /// All metrics, as `OpenMetrics` text.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.lock())?;
        Ok(page)
    }

    // A panic elsewhere leaves the registry consistent.
    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
