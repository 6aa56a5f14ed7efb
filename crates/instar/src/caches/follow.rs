//! The events of a watch, for as long as it can go on.

use std::{pin::pin, time::Duration};

use futures::{Stream, StreamExt};
use kube::runtime::{
    utils::Backoff,
    watcher::{self, DefaultBackoff, Error, Event},
};
use tokio::time::sleep;

use crate::api::Why;

/// A watch is ended by the API server after this many seconds, with a bookmark shortly before, and
/// goes on from there without a list. kube gives one up that says nothing for 5 s more: so that a
/// dead connection is noticed within a minute.
const TIMEOUT: u32 = 50;

/// A page of a list: it is held whole while it is read, and all kinds are listed at once.
const PAGE: u32 = 100;

/// How everything is watched.
pub(super) fn config() -> watcher::Config {
    watcher::Config::default().timeout(TIMEOUT).page_size(PAGE)
}

/// What takes the events in.
pub(super) trait Follower<O> {
    /// Takes an event in.
    fn take(&mut self, event: Event<O>);

    /// Hears of an error.
    fn failed(&mut self, error: &Error) -> Then;
}

/// What comes after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Another try, later each time.
    TryAgain,
    /// Another try, and what failed before doesn't count.
    BeginAnew,
    /// Nothing more of this watch.
    GiveUp,
}

/// Follows the watch until the follower gives up.
///
/// The back-off is kept here, and not by kube's `default_backoff`: that one starts over at every
/// `Init`, which comes before each attempt to list, so a list that fails would be retried at once.
pub(super) async fn follow<O>(
    events: impl Stream<Item = Result<Event<O>, Error>>,
    follower: &mut impl Follower<O>,
    patience: &mut DefaultBackoff,
) {
    let mut events = pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if !matches!(event, Event::Init) {
                    patience.reset();
                }
                follower.take(event);
            }
            Err(error) => {
                match follower.failed(&error) {
                    Then::TryAgain => {}
                    Then::BeginAnew => patience.reset(),
                    Then::GiveUp => return,
                }
                let patience = patience.next().unwrap_or_default();
                sleep(patience.max(asked_to_wait(&error))).await;
            }
        }
    }
}

/// 410 Gone: the API server no longer has what happened since. Ordinary after a while without a
/// connection. What is known grows old until the new list is in, so earlier errors don't count.
pub(super) fn is_expired(error: &Error) -> bool {
    matches!(error, Error::WatchError(status) if status.code == 410)
}

/// How long the API server asks its clients to stay away (`Retry-After`, with a 429 or a 503).
fn asked_to_wait(error: &Error) -> Duration {
    let seconds = match error {
        Error::InitialListFailed(kube::Error::Api(status)) | Error::WatchStartFailed(kube::Error::Api(status)) => {
            status.details.as_ref().map_or(0, |details| details.retry_after_seconds)
        }
        Error::InitialListFailed(_)
        | Error::WatchStartFailed(_)
        | Error::WatchError(_)
        | Error::WatchFailed(_)
        | Error::NoResourceVersion => 0,
    };
    Duration::from_secs(seconds.into())
}

/// What couldn't be done, and why.
pub(super) fn told(error: &Error) -> (&'static str, String) {
    match error {
        Error::InitialListFailed(error) => ("list", Why(error).to_string()),
        Error::WatchStartFailed(error) => ("watch", Why(error).to_string()),
        Error::WatchFailed(error) => ("go on watching", Why(error).to_string()),
        Error::WatchError(status) => ("go on watching", format!("{} (HTTP {})", status.message, status.code)),
        Error::NoResourceVersion => ("watch", error.to_string()),
    }
}
