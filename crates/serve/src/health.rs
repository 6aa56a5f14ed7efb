//! The health port, without TLS, for kubelet and Prometheus: liveness, readiness, metrics.

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio_util::sync::CancellationToken;

use crate::{
    metrics::{self, Metrics},
    readiness::Readiness,
};

#[derive(Clone)]
struct Health {
    metrics: Metrics,
    readiness: Readiness,
    shutdown: CancellationToken,
}

/// The routes /healthz, /readyz and /metrics. `/readyz` fails once `shutdown` is cancelled.
pub fn router(metrics: Metrics, readiness: Readiness, shutdown: CancellationToken) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
        .with_state(Health {
            metrics,
            readiness,
            shutdown,
        })
}

/// 200, or 503 with one line for each part that is not ready: its name and the reason.
async fn ready(State(health): State<Health>) -> (StatusCode, String) {
    let mut awaited = health.readiness.lines();
    if health.shutdown.is_cancelled() {
        awaited.push("shutting down".to_owned());
    }
    if awaited.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, awaited.join("\n") + "\n")
    }
}

async fn scrape(State(health): State<Health>) -> Response {
    match health.metrics.encode() {
        Ok(page) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], page).into_response(),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the metrics cannot be encoded: {error}\n"),
        )
            .into_response(),
    }
}
