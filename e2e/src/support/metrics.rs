//! What the programs count.

use anyhow::{Context, Result};

use super::journeys::JourneyContext;
use crate::ports;

/// How many requests the admission server has answered, all routes and verdicts together.
pub async fn admission_requests(scene: &JourneyContext) -> Result<i64> {
    let text = metrics(scene).await?;
    let counts = text
        .lines()
        .filter(|line| line.starts_with("instar_admission_requests_total{"));
    counts
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(_, count)| Ok(count.parse::<i64>()?))
        .sum()
}

/// All metrics of the admission server, as text.
pub async fn metrics(scene: &JourneyContext) -> Result<String> {
    metrics_at(scene, ports::WEBHOOK_HEALTH).await
}

/// All metrics at a health port, as text.
pub async fn metrics_at(scene: &JourneyContext, port: u16) -> Result<String> {
    let url = format!("http://127.0.0.1:{port}/metrics");
    Ok(scene
        .mgmt
        .http()
        .get(url)
        .send()
        .await?
        .error_for_status()?
        .text()
        .await?)
}

/// A metric of the server, by its name and labels.
pub async fn metric(scene: &JourneyContext, name: &str) -> Result<i64> {
    let text = metrics(scene).await?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .with_context(|| format!("no {name} in {text}"))?;
    Ok(line.trim().parse()?)
}
