//! The watches of the kinds that are known from the start.

use instar_serve::Part;
use kube::runtime::watcher::{Error, Event};

use super::{
    Caches, WatchMetrics,
    follow::{Follower, Then, is_expired, told},
    index::News,
    kept::{Absent, Cached},
    metrics::Kind,
    read, write,
};
use crate::api::is_not_found;

/// From the events of a kind into its cache.
pub(super) struct Watching<'c, K> {
    caches: &'c Caches,
    synced: Part,
    metrics: WatchMetrics,
    absence_is_known: bool,
    of: std::marker::PhantomData<fn() -> K>,
}

impl<'c, K: Cached> Watching<'c, K> {
    pub(super) fn new(caches: &'c Caches, synced: Part, metrics: &WatchMetrics) -> Self {
        Self {
            caches,
            synced,
            metrics: metrics.clone(),
            absence_is_known: false,
            of: std::marker::PhantomData,
        }
    }

    fn put(&self, event: Event<K::Object>) {
        // The parts of a list come one by one; what they change shows when it is complete.
        let shows = !matches!(event, Event::Init | Event::InitApply(_));
        let event = match event {
            Event::Init => Event::Init,
            Event::InitApply(object) => Event::InitApply(K::keep(object)),
            Event::InitDone => Event::InitDone,
            Event::Apply(object) => Event::Apply(K::keep(object)),
            Event::Delete(object) => Event::Delete(K::keep(object)),
        };
        if let Event::InitApply(row) | Event::Apply(row) = &event {
            for used in row.read.iter().flat_map(Cached::uses) {
                self.caches.templates.learn(used);
            }
        }
        let news = write(K::index(self.caches)).apply(event);
        if shows {
            K::changed(self.caches);
            self.metrics
                .cached(Kind::Watched(K::KIND), read(K::index(self.caches)).len());
        }
        match news {
            News::Nothing => {}
            News::Wrong(key, why) => {
                tracing::warn!(kind = K::KIND.rule().resource, object = %key, "can't be read: {why}");
            }
            News::Listed(before) => {
                self.synced.ready();
                self.caches.templates.settle();
                drop(before);
            }
        }
    }
}

impl<K: Cached> Follower<K::Object> for Watching<'_, K> {
    fn take(&mut self, event: Event<K::Object>) {
        if !matches!(event, Event::Init) {
            self.absence_is_known = false;
        }
        let complete = matches!(event, Event::InitDone);
        self.put(event);
        if complete {
            let objects = read(K::index(self.caches)).len();
            tracing::info!(kind = K::KIND.rule().resource, objects, "listed");
        }
    }

    fn failed(&mut self, error: &Error) -> Then {
        let kind = K::KIND.rule().resource;
        if is_expired(error) {
            tracing::info!(kind, "the watch is too old: listing anew");
            return Then::BeginAnew;
        }
        let (doing, why) = told(error);
        match K::ABSENT {
            Absent::Empty(none) if is_absent(error) => {
                if !self.absence_is_known {
                    tracing::info!(kind, "there are none: {none}");
                }
                self.absence_is_known = true;
                self.put(Event::Init);
                self.put(Event::InitDone);
                return Then::TryAgain;
            }
            Absent::Broken(remediation) if is_absent(error) => {
                tracing::warn!(kind, "the API server doesn't know them ({why}): {remediation}");
            }
            Absent::Broken(_) | Absent::Empty(_) => tracing::warn!(kind, "can't {doing} them, trying again: {why}"),
        }
        self.metrics.error(Kind::Watched(K::KIND));
        Then::TryAgain
    }
}

fn is_absent(error: &Error) -> bool {
    matches!(error, Error::InitialListFailed(error) if is_not_found(error))
}
