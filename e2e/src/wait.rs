//! Waiting for a condition, with a deadline and with what was seen last.

use std::{any::Any, fmt::Display, future::Future, time::Duration};

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep, timeout_at};

use crate::failure::{Failure, describe, describe_api};

/// How often a condition is looked at. A dozen journeys that look five times a second are a tenth of all that
/// the API server is asked.
const INTERVAL: Duration = Duration::from_millis(500);

/// How many times as long as it says a deadline is. Each says what two quiet cores need at most; shared
/// ones may be that much slower, and a condition that comes late is no fault of what is tested.
pub const PATIENCE: u32 = 3;

/// What was seen instead of the condition. Any error turns into it with `?`.
#[derive(Debug)]
pub struct Seen(String);

// `Seen` is no `Display` itself, so that this covers strings and errors alike.
impl<T: Display + 'static> From<T> for Seen {
    fn from(seen: T) -> Self {
        let any: &dyn Any = &seen;
        Self(
            match (any.downcast_ref::<kube::Error>(), any.downcast_ref::<Failure>()) {
                (Some(error), _) => describe_api(error),
                (_, Some(failure)) => describe(failure),
                _ => seen.to_string(),
            },
        )
    }
}

/// Looks again and again until `probe` answers `Ok`, or fails with what was seen last after a few times
/// the deadline.
///
/// ```no_run
/// # async fn example() -> instar_e2e::Result<()> {
/// use std::time::Duration;
/// use instar_e2e::wait::wait_for;
///
/// let text = wait_for("the file", Duration::from_secs(5), || async {
///     let text = std::fs::read_to_string("/tmp/file")?;
///     if text.is_empty() { return Err("an empty file".into()); }
///     Ok(text)
/// }).await?;
/// # Ok(()) }
/// ```
pub async fn wait_for<T, F, Fut>(what: &str, deadline: Duration, mut probe: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Seen>>,
{
    let deadline = PATIENCE * deadline;
    let end = Instant::now() + deadline;
    let mut last = None;
    loop {
        match timeout_at(end, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(Seen(seen))) => last = Some(seen),
            // The probe itself hung: what it saw before says more.
            Err(_) => {
                last.get_or_insert_with(|| "nothing: the probe itself did not answer".to_owned());
            }
        }
        if Instant::now() + INTERVAL >= end {
            let last = last.unwrap_or_default();
            bail!(
                "gave up waiting for {what} after {} s; seen last: {last}",
                deadline.as_secs()
            );
        }
        sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_error_says_what_was_seen_last() {
        let mut count = 0;
        let error = wait_for::<(), _, _>("rain", Duration::from_secs(1), || {
            count += 1;
            let seen = format!("sun, {count} times");
            async move { Err(seen.into()) }
        })
        .await
        .unwrap_err()
        .to_string();
        assert!(
            error.starts_with("gave up waiting for rain after 3 s; seen last: sun, "),
            "{error}"
        );
    }
}
