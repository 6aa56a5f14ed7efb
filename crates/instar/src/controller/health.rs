//! What kubelet and Prometheus ask of the controller.

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use instar_serve::{Metrics, Readiness, metrics::CONTENT_TYPE};

pub(super) fn router(metrics: Metrics, readiness: Readiness) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
        .with_state((metrics, readiness))
}

/// 200, or 503 and what is awaited. One that doesn't lead is ready too: it is ready to.
async fn ready(State((_, readiness)): State<(Metrics, Readiness)>) -> (StatusCode, String) {
    let awaited = readiness.awaited();
    if awaited.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, awaited.join("\n") + "\n")
    }
}

async fn scrape(State((metrics, _)): State<(Metrics, Readiness)>) -> Response {
    match metrics.encode() {
        Ok(page) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], page).into_response(),
        Err(error) => {
            let text = format!("the metrics cannot be encoded: {error}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    }
}
