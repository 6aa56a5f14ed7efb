//! One registry for the whole process, shared by everyone who measures something.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus_client::{
    encoding::text,
    registry::{Metric, Registry},
};

/// What `/metrics` answers with, as `OpenMetrics` names it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A handle on the process's metrics; a clone is the same registry.
///
/// Every name gets the prefix `instar_`. Labels are enums, never text from a request or an
/// object: each value would be a time series of its own.
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
    /// Registers a metric and hands it back: `let writes = metrics.register("writes", "…", …);`.
    ///
    /// Give the name without `_total` (a counter gets it when encoded) and register it once: the
    /// registry does not notice a name that is used twice, but whoever scrapes it does.
    pub fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        self.lock().register(name, help, metric.clone());
        metric
    }

    /// Everything registered, in `OpenMetrics` text.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.lock())?;
        Ok(page)
    }

    /// A panic elsewhere leaves a registry that is still whole.
    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
