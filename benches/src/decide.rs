//! Decisions without sockets: the real router, handed requests one after the other.

use std::{fs, path::Path, sync::Arc, time::Instant};

use anyhow::{Context, Result, ensure};
use axum::{
    Router,
    body::{Body as HttpBody, Bytes},
    http::{Request, StatusCode, header::CONTENT_TYPE},
};
use http_body_util::BodyExt;
use instar_serve::Metrics;
use instar_webhooks::{AdmissionMetrics, router};
use serde::Deserialize;
use tower::ServiceExt;

use crate::{
    bodies::{self, Body, Expected},
    world::{Silent, caches},
};

/// All bodies; their places are their names for the parts that run in other processes.
pub(crate) fn bodies() -> Vec<Body> {
    let mut all = bodies::all();
    all.extend(bodies::growing());
    all
}

/// The routes of the real server in a world that stands still.
pub(crate) fn app(metrics: &Metrics) -> Result<Router> {
    let world = caches()?;
    Ok(router(&world, &Arc::new(Silent), &AdmissionMetrics::register(metrics)))
}

#[derive(Deserialize)]
struct Answer {
    response: Response,
}

#[derive(Deserialize)]
struct Response {
    uid: String,
    allowed: bool,
    #[serde(default)]
    warnings: Vec<String>,
    patch: Option<String>,
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    message: String,
}

pub(crate) fn check(body: &Body, answer: &[u8]) -> Result<()> {
    let Answer { response } = serde_json::from_slice(answer)
        .with_context(|| format!("no AdmissionReview: {}", String::from_utf8_lossy(answer)))?;
    let said = match (response.allowed, &response.patch) {
        (true, None) => Expected::Allowed,
        (true, Some(_)) => Expected::Changed,
        (false, _) => Expected::Refused,
    };
    let why = response.status.map(|status| status.message).unwrap_or_default();
    let Body { name, verdict, .. } = body;
    ensure!(
        said == *verdict,
        "{name}: {said:?} where {verdict:?} was expected: {why} {:?}",
        response.warnings
    );
    ensure!(
        body.text.contains(&format!(r#""uid":"{}""#, response.uid)),
        "{name}: an answer to somebody else"
    );
    Ok(())
}

/// Works with the routes in one thread, without anything that waits.
fn in_process<T>(work: impl AsyncFnOnce(&Router) -> Result<T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let app = app(&Metrics::default())?;
    runtime.block_on(work(&app))
}

async fn ask(app: &Router, path: &str, text: &Bytes) -> Result<(StatusCode, Bytes)> {
    let request = Request::post(path)
        .header(CONTENT_TYPE, "application/json")
        .body(HttpBody::from(text.clone()))?;
    let response = app.clone().oneshot(request).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}

pub(crate) fn run(path: &str, body: &Path, times: u32) -> Result<()> {
    let text = Bytes::from(fs::read(body)?);
    in_process(async |app| {
        for _ in 0..times {
            let (status, answer) = ask(app, path, &text).await?;
            ensure!(
                status == StatusCode::OK,
                "{status}: {}",
                String::from_utf8_lossy(&answer)
            );
        }
        Ok(())
    })
}

/// Microseconds for one decision, at best: with its instructions it says how fast the machine is just now.
pub(crate) fn microseconds(body: &Body) -> Result<f64> {
    let text = Bytes::from(body.text.clone());
    in_process(async |app| {
        let mut best = f64::INFINITY;
        for _ in 0..20 {
            let began = Instant::now();
            for _ in 0..50 {
                ask(app, body.route.path(), &text).await?;
            }
            best = best.min(began.elapsed().as_secs_f64() * 1e6 / 50.0);
        }
        Ok(best)
    })
}

/// Sees that each body gets its verdict, before anything is counted.
pub(crate) fn check_all(bodies: &[Body]) -> Result<()> {
    in_process(async |app| {
        for body in bodies {
            let text = Bytes::from(body.text.clone());
            let (_, answer) = ask(app, body.route.path(), &text).await?;
            check(body, &answer)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn every_body_gets_the_verdict_that_the_table_names() {
        check_all(&bodies()).unwrap();
    }

    /// Else the budgets would be about something else.
    #[test]
    fn the_bodies_have_the_sizes_of_the_budgets() {
        let kilobytes: Vec<usize> = bodies::all().iter().map(|body| body.text.len() / 100).collect();
        assert_eq!(kilobytes, [35, 66, 66, 93, 210, 1506]);
    }
}
