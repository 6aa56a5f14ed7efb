//! Real sockets, real certificates, real clients.

mod client;
mod fixture;
mod handshake;
mod http2;
mod limits;
mod rotation;
mod stop;
mod volume;

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// Far longer than anything here takes: only a hang meets it.
const DEADLINE: Duration = Duration::from_secs(20);

/// Polls until the condition holds.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < deadline, "still not: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// The output, or a panic instead of a hang.
async fn soon<F: Future>(future: F) -> F::Output {
    timeout(DEADLINE, future).await.expect("hangs")
}
