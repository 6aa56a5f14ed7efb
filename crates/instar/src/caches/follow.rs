//! From a watch's events into a cache.

use std::{pin::pin, time::Duration};

use futures::{Stream, StreamExt};
use instar_serve::Part;
use kube::runtime::{
    utils::Backoff,
    watcher::{DefaultBackoff, Error, Event},
};
use tokio::time::sleep;

use super::{
    Caches, WatchMetrics,
    index::News,
    kept::{Absent, Kept},
    read, write,
};
use crate::api::{Why, is_not_found};

/// Follows the watch for good. Every error is logged and counted, and the watch goes on.
///
/// The back-off is kept here, and not by kube's `default_backoff`: that one starts over at every
/// `Init`, which comes before each attempt to list, so a list that fails would be retried at once.
pub(super) async fn follow<K: Kept>(
    events: impl Stream<Item = Result<Event<K::Object>, Error>>,
    caches: &Caches,
    synced: &Part,
    metrics: &WatchMetrics,
) {
    let mut events = pin!(events);
    let mut patience = DefaultBackoff::default();
    let mut absence_is_known = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => take::<K>(Event::Init, caches, synced, metrics),
            Ok(event) => {
                patience.reset();
                absence_is_known = false;
                let complete = matches!(event, Event::InitDone);
                take::<K>(event, caches, synced, metrics);
                if complete {
                    let objects = read(K::index(caches)).len();
                    tracing::info!(kind = K::KIND.rule().resource, objects, "listed");
                }
            }
            Err(error) => {
                if let (Absent::Empty(why), true) = (K::ABSENT, is_absent(&error)) {
                    if !absence_is_known {
                        tracing::info!(kind = K::KIND.rule().resource, "there are none: {why}");
                    }
                    absence_is_known = true;
                    take::<K>(Event::Init, caches, synced, metrics);
                    take::<K>(Event::InitDone, caches, synced, metrics);
                } else if is_expired(&error) {
                    // Ordinary after a while without a connection. What is known grows old until
                    // the new list is in, so earlier errors don't count.
                    patience.reset();
                    tracing::info!(kind = K::KIND.rule().resource, "the watch is too old: listing anew");
                } else {
                    metrics.error(K::KIND);
                    log::<K>(&error);
                }
                let patience = patience.next().unwrap_or_default();
                sleep(patience.max(asked_to_wait(&error))).await;
            }
        }
    }
}

fn take<K: Kept>(event: Event<K::Object>, caches: &Caches, synced: &Part, metrics: &WatchMetrics) {
    // The parts of a list come one by one; what they change shows when it is complete.
    let shows = !matches!(event, Event::Init | Event::InitApply(_));
    let event = match event {
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(K::keep(object)),
        Event::InitDone => Event::InitDone,
        Event::Apply(object) => Event::Apply(K::keep(object)),
        Event::Delete(object) => Event::Delete(K::keep(object)),
    };
    let news = write(K::index(caches)).apply(event);
    if shows {
        K::changed(caches);
        metrics.cached(K::KIND, read(K::index(caches)).len());
    }
    match news {
        News::Nothing => {}
        News::Unreadable(key, why) => {
            tracing::warn!(kind = K::KIND.rule().resource, object = %key, "can't be read: {why}");
        }
        News::Listed(before) => {
            synced.ready();
            drop(before);
        }
    }
}

fn is_absent(error: &Error) -> bool {
    matches!(error, Error::InitialListFailed(error) if is_not_found(error))
}

/// 410 Gone: the API server no longer has what happened since.
fn is_expired(error: &Error) -> bool {
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

fn log<K: Kept>(error: &Error) {
    let kind = K::KIND.rule().resource;
    let (doing, why) = match error {
        Error::InitialListFailed(error) => ("list", Why(error).to_string()),
        Error::WatchStartFailed(error) => ("watch", Why(error).to_string()),
        Error::WatchFailed(error) => ("go on watching", Why(error).to_string()),
        Error::WatchError(status) => ("go on watching", format!("{} (HTTP {})", status.message, status.code)),
        Error::NoResourceVersion => ("watch", error.to_string()),
    };
    match K::ABSENT {
        Absent::Broken(way_out) if is_absent(error) => {
            tracing::warn!(kind, "the API server doesn't know them ({why}): {way_out}");
        }
        Absent::Broken(_) | Absent::Empty(_) => tracing::warn!(kind, "can't {doing} them, trying again: {why}"),
    }
}
