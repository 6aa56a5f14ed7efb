//! The one loop that watches a kind.

use std::time::Duration;

use futures::{StreamExt, stream::BoxStream};
use kube::{
    Client, Resource,
    discovery::ApiResource,
    runtime::{
        utils::Backoff,
        watcher::{self, DefaultBackoff, Error, Event},
    },
};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};

use crate::{
    Counts, ErrorText, Namespaces, Sink, Unavailable, Version, WatchHealth, WatchState, find_resource, is_not_found,
    text::{self, Decoding, Extent, Text, TextSink},
};

/// A watch is ended by the API server after this many seconds, with a bookmark shortly before, and
/// goes on from there without a list. kube gives one up that says nothing for 5 s more: so that a
/// dead connection is noticed within a minute.
const TIMEOUT: u32 = 50;

/// A page of a list: it is held whole while it is read, and all kinds are listed at once.
const PAGE: u32 = 100;

/// A watch that has been taken up again and for so long says neither that it failed nor what happened has
/// succeeded: the client waits less than this for an answer.
const QUIET: Duration = Duration::from_secs(65);

/// The longest that the API server may ask to wait (`Retry-After`), so that no cache grows old unnoticed.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// How kinds are watched.
#[must_use]
pub fn config() -> watcher::Config {
    watcher::Config::default().timeout(TIMEOUT).page_size(PAGE)
}

/// Which kind is watched.
#[derive(Clone, Debug)]
pub enum Target {
    /// This resource, at this version.
    Fixed(ApiResource),
    /// A kind, at the version that the API server recommends.
    Recommended {
        /// The API group.
        group: String,
        /// The kind.
        kind: String,
    },
}

impl Target {
    /// The resource of a kind that is known when this is compiled.
    #[must_use]
    pub fn of<K: Resource<DynamicType = ()>>() -> Self {
        Self::Fixed(ApiResource::erase::<K>(&()))
    }

    /// As log lines name it.
    fn name(&self) -> &str {
        match self {
            Self::Fixed(resource) => &resource.plural,
            Self::Recommended { kind, .. } => kind,
        }
    }

    async fn find(&self, client: &Client) -> Result<Option<ApiResource>, kube::Error> {
        match self {
            Self::Fixed(resource) => {
                let version = Version::Exactly(&resource.version);
                find_resource(client, &resource.group, version, &resource.kind).await
            }
            Self::Recommended { group, kind } => find_resource(client, group, Version::Recommended, kind).await,
        }
    }
}

/// What it means that a cluster doesn't serve a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// There are no objects. Nothing waits for the kind, and it is found when it comes.
    Optional,
    /// Something isn't installed, and this is what to do.
    Required(&'static str),
    /// Whoever refers to the kind is told so.
    Referred,
}

impl Presence {
    /// Of a kind of Cluster API itself.
    pub const CLUSTER_API: Self =
        Self::Required("install Cluster API with the API version v1beta2 (1.11 or newer) first");

    /// Of a kind of Instar's own.
    pub const DEFINITIONS: Self = Self::Required("apply config/crd first");
}

/// How a kind is watched.
pub struct Watch {
    /// Of the cluster.
    pub client: Client,
    /// The kind.
    pub target: Target,
    /// The selector, and how large a page is: of [`config`].
    pub config: watcher::Config,
    /// What it means that the cluster doesn't serve it.
    pub presence: Presence,
    /// What readiness and metrics say of it.
    pub health: WatchHealth,
}

/// What comes after an error of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnError {
    /// Another try, later each time.
    Retry,
    /// Another try, and what failed before doesn't count.
    Relist,
    /// This watch ends, and what comes next is found out.
    End(Ended),
}

/// Why a watch was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The API server says that it doesn't know the resource.
    NotFound,
    /// The account has no right to the resource, which may be another one at the next try.
    Forbidden,
    /// There are no more events, as only in tests.
    Events,
    /// An object is of no kind at all.
    Unreadable,
}

/// Watches a kind for as long as the future is polled, in these namespaces.
pub async fn watch_kind<O>(watch: Watch, namespaces: &Namespaces, sink: &mut impl Sink<O>)
where
    O: Resource + DeserializeOwned,
{
    watch_texts(watch, namespaces, Extent::of::<O>(), &mut Decoding::into(sink)).await;
}

async fn watch_texts(mut watch: Watch, namespaces: &Namespaces, extent: Extent, sink: &mut dyn TextSink) {
    let mut backoff = DefaultBackoff::default();
    let mut resource = match &watch.target {
        Target::Fixed(resource) => Some(resource.clone()),
        Target::Recommended { .. } => None,
    };
    loop {
        let found = match resource.take() {
            Some(resource) => Some(resource),
            None => discover(&mut watch, sink).await,
        };
        if let Some(found) = found {
            let config = watch.config.clone();
            let events = text::events(watch.client.clone(), &found, namespaces, extent, config);
            let ended = follow(&mut watch, &found.plural, events, sink, &mut backoff).await;
            // Where discovery finds the kind, its answer is used at the next try.
            resource = match ended {
                Ended::NotFound => discover(&mut watch, sink).await,
                Ended::Unreadable => Some(found),
                Ended::Forbidden | Ended::Events => None,
            };
            if resource.is_some() && ended == Ended::NotFound {
                watch.fail(sink, "list", "HTTP 404, though discovery finds the kind");
            }
        }
        sleep(backoff.next().unwrap_or_default()).await;
    }
}

/// The resource of the kind. Where there is none, the sink hears why.
async fn discover(watch: &mut Watch, sink: &mut dyn TextSink) -> Option<ApiResource> {
    match watch.target.find(&watch.client).await {
        Ok(Some(resource)) => return Some(resource),
        Ok(None) => match watch.presence {
            Presence::Optional => {
                watch.health.well();
                sink.set_state(WatchState::NotServed);
                watch.count(sink);
            }
            Presence::Required(remedy) => {
                let why = format!("the API server doesn't know the kind: {remedy}");
                watch.health.failed(&why);
                tracing::warn!(kind = watch.target.name(), "Cannot watch objects, trying again: {why}");
                sink.set_state(WatchState::Unavailable(Unavailable::NotServed));
            }
            Presence::Referred => {
                watch.health.well();
                sink.set_state(WatchState::Unavailable(Unavailable::NotServed));
                watch.count(sink);
            }
        },
        Err(error) => watch.fail(sink, "ask for", &ErrorText(&error).to_string()),
    }
    None
}

impl Watch {
    fn fail(&mut self, sink: &mut dyn TextSink, doing: &str, why: &str) {
        self.health.failed(why);
        tracing::warn!(kind = self.target.name(), "Cannot {doing} objects, trying again: {why}");
        sink.set_state(WatchState::Unavailable(Unavailable::Failing));
    }

    fn count(&mut self, sink: &dyn TextSink) {
        self.health.counts(sink.counts());
    }

    /// Tells of an error, and says what comes next.
    fn on_error(&mut self, error: &Error, plural: &str, sink: &mut dyn TextSink) -> OnError {
        if is_expired(error) {
            tracing::info!(kind = self.target.name(), "Watch is too old, listing again");
            return OnError::Relist;
        }
        let refused = match error {
            Error::InitialListFailed(error) => Some(("list", error)),
            Error::WatchStartFailed(error) => Some(("watch", error)),
            Error::WatchError(_) | Error::WatchFailed(_) | Error::NoResourceVersion => None,
        };
        match refused {
            Some((_, error)) if is_not_found(error) => OnError::End(Ended::NotFound),
            Some((verb, kube::Error::Api(status))) if status.code == 403 => {
                let (doing, why) = describe(error);
                self.fail(sink, doing, &why);
                let resource = plural.to_owned();
                sink.set_state(WatchState::Unavailable(Unavailable::Forbidden { verb, resource }));
                match self.presence {
                    // What was listed stays.
                    Presence::Optional | Presence::Required(_) => OnError::Retry,
                    Presence::Referred => OnError::End(Ended::Forbidden),
                }
            }
            Some(_) | None => {
                let (doing, why) = describe(error);
                self.fail(sink, doing, &why);
                OnError::Retry
            }
        }
    }
}

/// Follows a watch until it has to be given up.
///
/// The back-off is kept here, and not by kube's `default_backoff`: that one starts over at every
/// `Init`, which comes before each attempt to list, so a list that fails would be retried at once.
async fn follow(
    watch: &mut Watch,
    plural: &str,
    mut events: BoxStream<'_, Result<Event<Text>, Error>>,
    sink: &mut dyn TextSink,
    backoff: &mut DefaultBackoff,
) -> Ended {
    let mut is_listing = true;
    loop {
        let event = match timeout(QUIET, events.next()).await {
            Ok(Some(event)) => event,
            Ok(None) => return Ended::Events,
            Err(_) => {
                if !is_listing {
                    backoff.reset();
                    sink.set_state(WatchState::Watching);
                    watch.health.well();
                }
                continue;
            }
        };
        match event {
            Ok(event) => {
                // The parts of a list come one by one; what they change shows when it is complete.
                let (shows, is_list) = match event {
                    Event::Init | Event::InitApply(_) => (false, true),
                    Event::InitDone => (true, true),
                    Event::Apply(_) | Event::Delete(_) => (true, false),
                };
                is_listing = is_list && !shows;
                if let Err(error) = sink.apply(event) {
                    watch.fail(sink, "decode", &error);
                    sink.abandon_list();
                    return Ended::Unreadable;
                }
                if shows {
                    backoff.reset();
                    sink.set_state(WatchState::Watching);
                    watch.count(sink);
                    watch.health.well();
                }
                if shows && is_list {
                    let Counts {
                        objects, unreadable, ..
                    } = sink.counts();
                    tracing::info!(kind = watch.target.name(), objects, unreadable, "Listed objects");
                }
            }
            Err(error) => {
                match watch.on_error(&error, plural, sink) {
                    OnError::Retry => {}
                    OnError::Relist => backoff.reset(),
                    OnError::End(ended) => {
                        sink.abandon_list();
                        return ended;
                    }
                }
                sink.abandon_list();
                let pause = backoff.next().unwrap_or_default();
                sleep(pause.max(retry_after(&error))).await;
            }
        }
    }
}

/// 410 Gone: the API server no longer has what happened since. Ordinary after a while without a
/// connection. What is known grows old until the new list is in, so earlier errors don't count.
fn is_expired(error: &Error) -> bool {
    matches!(error, Error::WatchError(status) if status.code == 410)
}

/// How long the API server asks its clients to stay away (`Retry-After`, with a 429 or a 503).
fn retry_after(error: &Error) -> Duration {
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
    Duration::from_secs(seconds.into()).min(LONGEST_WAIT)
}

/// What couldn't be done, and why.
fn describe(error: &Error) -> (&'static str, String) {
    match error {
        Error::InitialListFailed(error) => ("list", ErrorText(error).to_string()),
        Error::WatchStartFailed(error) => ("watch", ErrorText(error).to_string()),
        Error::WatchFailed(error) => ("go on watching", ErrorText(error).to_string()),
        Error::WatchError(status) => ("go on watching", format!("{} (HTTP {})", status.message, status.code)),
        Error::NoResourceVersion => ("watch", error.to_string()),
    }
}
