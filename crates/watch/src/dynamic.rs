//! Watches of kinds that nobody knows before something refers to them: each for as long as something does.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak},
    time::Duration,
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kube::{Client, Resource, core::DynamicResourceScope, discovery::ApiResource, runtime::watcher};
use tokio::{
    select,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Cache, Counts, Entry, FirstAnswers, Hooks, Kept, KeptSink, Key, KindKey, Lookup, Namespaces, Presence, Row, Sink,
    Target, Watch, WatchHealth, WatchMetrics, WatchState,
    cache::{read, write},
    first_answers::Expected,
    watch_kind,
};

/// More kinds than there are providers. Whoever may write a reference may make one up, and each is a
/// watch.
const MOST: usize = 64;

/// For how long a kind that nothing refers to stays watched: pools that are replaced one after another don't
/// make it listed each time.
const GRACE: Duration = Duration::from_mins(10);

/// An entry of a kind that is found by references.
pub trait DynamicKept: Kept<Object: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>> {}

impl<E: Kept<Object: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>>> DynamicKept for E {}

/// The kinds that something refers to, and the objects of each.
pub struct DynamicWatches<E: Entry> {
    /// In metrics: one word for all of them.
    label: &'static str,
    kinds: RwLock<HashMap<KindKey, Arc<DynamicKind<E>>>>,
    tasks: UnboundedSender<Task<E>>,
    /// Taken by [`run`](Self::run).
    to_do: Mutex<Option<UnboundedReceiver<Task<E>>>>,
    answers: OnceLock<Arc<FirstAnswers>>,
    on_arrival: OnceLock<OnArrival<E>>,
    on_change: OnceLock<OnChange<E>>,
    namespaces: OnceLock<Namespaces>,
}

/// Sees an object before it is kept.
type OnArrival<E> = Box<dyn Fn(&mut Row<E>) + Send + Sync>;

/// Hears which groups have changed.
type OnChange<E> = Box<dyn Fn(&[<E as Entry>::Group]) + Send + Sync>;

enum Task<E: Entry> {
    Watch(Arc<DynamicKind<E>>),
    /// Nothing refers to the kind at this moment.
    Idle(KindKey),
}

/// A kind, and what is known of its objects.
struct DynamicKind<E: Entry> {
    key: KindKey,
    target: Target,
    cache: Arc<Cache<E>>,
    references: Mutex<Weak<References>>,
    stop: CancellationToken,
    awaited: Mutex<Option<Expected>>,
    /// Cancelled by the first answer, whatever it is.
    answered: CancellationToken,
}

/// What refers to a kind holds this, so the last one that goes drops it.
struct References {
    key: KindKey,
    gone: Box<dyn Fn(&KindKey) + Send + Sync>,
}

impl Drop for References {
    fn drop(&mut self) {
        (self.gone)(&self.key);
    }
}

/// A reference to a kind, which is watched for as long as there is one.
#[derive(Clone)]
pub struct KindLease {
    references: Arc<References>,
}

impl KindLease {
    /// The kind.
    #[must_use]
    pub fn kind(&self) -> &KindKey {
        &self.references.key
    }
}

impl fmt::Debug for KindLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KindLease").field(&self.references.key.as_str()).finish()
    }
}

impl<E: Entry> fmt::Debug for DynamicWatches<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = read(&self.kinds);
        let names = kinds.keys().map(KindKey::as_str);
        f.debug_struct("DynamicWatches")
            .field("kinds", &names.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl<E: Entry + Send + Sync + 'static> DynamicWatches<E> {
    /// `label` names all the kinds together in metrics.
    #[must_use]
    pub fn new(label: &'static str) -> Self {
        let (tasks, to_do) = unbounded_channel();
        Self {
            label,
            kinds: RwLock::default(),
            tasks,
            to_do: Mutex::new(Some(to_do)),
            answers: OnceLock::new(),
            on_arrival: OnceLock::new(),
            on_change: OnceLock::new(),
            namespaces: OnceLock::new(),
        }
    }

    /// Makes readiness wait for the first answer about each kind that something refers to at the start. The first
    /// call counts.
    pub fn await_in(&self, answers: &Arc<FirstAnswers>) {
        self.answers.get_or_init(|| Arc::clone(answers));
    }

    /// `sees` each object that comes, before it is kept. The first call counts.
    pub fn on_arrival(&self, sees: impl Fn(&mut Row<E>) + Send + Sync + 'static) {
        self.on_arrival.get_or_init(|| Box::new(sees));
    }

    /// `hears` of the groups that change. The first call counts.
    pub fn on_change(&self, hears: impl Fn(&[E::Group]) + Send + Sync + 'static) {
        self.on_change.get_or_init(|| Box::new(hears));
    }

    /// Watches objects in these namespaces alone; without a call in all of them. The first call counts.
    pub fn within(&self, namespaces: &Namespaces) {
        self.namespaces.get_or_init(|| namespaces.clone());
    }

    /// Takes a reference to a kind, at the version that the API server recommends; the first one starts its watch.
    /// There is none where too many kinds are referred to.
    pub fn lease(&self, key: &str) -> Option<KindLease> {
        self.lease_target(key, |key| Target::Recommended {
            group: key.group().to_owned(),
            kind: key.kind().to_owned(),
        })
    }

    /// The same, at the version of this resource: its key is [`KindKey::of_resource`].
    pub fn lease_resource(&self, resource: &ApiResource) -> Option<KindLease> {
        let key = KindKey::of_resource(resource);
        self.lease_target(key.as_str(), |_| Target::Fixed(resource.clone()))
    }

    fn lease_target(&self, key: &str, target: impl FnOnce(&KindKey) -> Target) -> Option<KindLease> {
        if let Some(kind) = read(&self.kinds).get(key) {
            return Some(self.lease_of(kind));
        }
        let mut kinds = write(&self.kinds);
        if let Some(kind) = kinds.get(key) {
            return Some(self.lease_of(kind));
        }
        let known = kinds.len();
        if known >= MOST {
            return None;
        }
        if known + 1 == MOST {
            tracing::warn!(
                kind = self.label,
                "{MOST} kinds are referred to, so no other one is watched"
            );
        }
        let key = KindKey::from(key);
        let kind = Arc::new(DynamicKind {
            target: target(&key),
            key: key.clone(),
            cache: Arc::default(),
            references: Mutex::default(),
            stop: CancellationToken::new(),
            awaited: Mutex::new(self.answers.get().map(FirstAnswers::expect)),
            answered: CancellationToken::new(),
        });
        kinds.insert(key, Arc::clone(&kind));
        let lease = self.lease_of(&kind);
        drop(kinds);
        // The receiver goes with the process alone.
        let _ = self.tasks.send(Task::Watch(kind));
        Some(lease)
    }

    fn lease_of(&self, kind: &DynamicKind<E>) -> KindLease {
        let mut references = lock(&kind.references);
        if let Some(references) = references.upgrade() {
            return KindLease { references };
        }
        let tasks = self.tasks.clone();
        let first = Arc::new(References {
            key: kind.key.clone(),
            gone: Box::new(move |key| {
                // Without a receiver nothing is watched any more.
                let _ = tasks.send(Task::Idle(key.clone()));
            }),
        });
        *references = Arc::downgrade(&first);
        KindLease { references: first }
    }

    /// Waits for the first answer about a kind, whatever it is.
    pub async fn answered(&self, kind: &str) {
        let answered = read(&self.kinds).get(kind).map(|kind| kind.answered.clone());
        if let Some(answered) = answered {
            answered.cancelled().await;
        }
    }

    /// What is known of an object of a kind.
    pub fn look_up<T>(&self, kind: &str, key: &Key, found: impl FnOnce(&E) -> T) -> Lookup<T> {
        match read(&self.kinds).get(kind) {
            Some(kind) => kind.cache.look_up(key, found),
            None => Lookup::Unwatched,
        }
    }

    /// The table of a kind, if it is watched.
    pub fn cache(&self, kind: &str) -> Option<Arc<Cache<E>>> {
        read(&self.kinds).get(kind).map(|kind| Arc::clone(&kind.cache))
    }

    /// The tables of all kinds that are watched.
    pub fn caches(&self) -> Vec<(KindKey, Arc<Cache<E>>)> {
        let kinds = read(&self.kinds);
        let caches = kinds.iter().map(|(key, kind)| (key.clone(), Arc::clone(&kind.cache)));
        caches.collect()
    }

    /// The kinds that are watched.
    pub fn kinds(&self) -> Vec<KindKey> {
        read(&self.kinds).keys().cloned().collect()
    }

    /// Takes objects in as if they had been listed: for what has no API server.
    pub fn fill(&self, kind: &str, rows: impl IntoIterator<Item = Row<E>>) {
        if let Some(cache) = self.cache(kind) {
            for mut row in rows {
                self.arriving(&mut row);
                drop(cache.apply(watcher::Event::Apply(row)));
            }
            drop(cache.set_state(WatchState::Watching));
        }
    }

    fn arriving(&self, row: &mut Row<E>) {
        if let Some(sees) = self.on_arrival.get() {
            sees(row);
        }
    }

    fn end_if_idle(&self, key: &KindKey) {
        let mut kinds = write(&self.kinds);
        let is_idle = |kind: &Arc<DynamicKind<E>>| lock(&kind.references).strong_count() == 0;
        if let Some(kind) = kinds.get(key).filter(|kind| is_idle(kind)) {
            tracing::info!(
                kind = key.kind(),
                group = key.group(),
                "Nothing refers to the kind, stopping its watch"
            );
            kind.stop.cancel();
            kinds.remove(key);
        }
    }
}

impl<E: DynamicKept> DynamicWatches<E> {
    /// Watches every kind that is referred to. It ends if one of the watches panics. `config` is that of each
    /// watch.
    pub async fn run(self: Arc<Self>, client: Client, metrics: WatchMetrics, config: watcher::Config) {
        let to_do = lock(&self.to_do).take();
        let Some(mut to_do) = to_do else { return };
        let mut watches = JoinSet::new();
        let mut graces: FuturesUnordered<BoxFuture<'static, KindKey>> = FuturesUnordered::new();
        loop {
            select! {
                Some(task) = to_do.recv() => match task {
                    Task::Watch(kind) => {
                        let health = WatchHealth::new(self.label, &metrics, None);
                        watches.spawn(Arc::clone(&self).watch(kind, client.clone(), config.clone(), health));
                    }
                    Task::Idle(key) => graces.push(Box::pin(async move {
                        sleep(GRACE).await;
                        key
                    })),
                },
                Some(key) = graces.next() => self.end_if_idle(&key),
                Some(ended) = watches.join_next() => if ended.is_err() { return },
                else => return,
            }
        }
    }

    async fn watch(
        self: Arc<Self>,
        kind: Arc<DynamicKind<E>>,
        client: Client,
        config: watcher::Config,
        health: WatchHealth,
    ) {
        let watch = Watch {
            client,
            target: kind.target.clone(),
            config,
            presence: Presence::Referred,
            health,
        };
        let mut sink = DynamicSink {
            kept: KeptSink {
                cache: Arc::clone(&kind.cache),
                kind: kind.key.kind().to_owned(),
                hooks: Relay(Arc::clone(&self)),
            },
            kind: Arc::clone(&kind),
        };
        let namespaces = self.namespaces.get().cloned().unwrap_or_default();
        select! {
            () = kind.stop.cancelled() => {}
            () = watch_kind(watch, &namespaces, &mut sink) => {}
        }
    }
}

/// Passes on what comes, and which groups have changed.
struct Relay<E: Entry>(Arc<DynamicWatches<E>>);

impl<E: Entry + Send + Sync + 'static> Hooks<E> for Relay<E> {
    fn arriving(&self, row: &mut Row<E>) {
        self.0.arriving(row);
    }

    fn wants_groups(&self) -> bool {
        self.0.on_change.get().is_some()
    }

    fn changed(&self, groups: &[E::Group]) {
        if let Some(hears) = self.0.on_change.get() {
            hears(groups);
        }
    }
}

struct DynamicSink<E: Entry> {
    kept: KeptSink<E, Relay<E>>,
    kind: Arc<DynamicKind<E>>,
}

impl<E: DynamicKept> Sink<E::Object> for DynamicSink<E> {
    fn apply(&mut self, event: watcher::Event<E::Object>) {
        self.kept.apply(event);
    }

    fn abandon_list(&mut self) {
        self.kept.abandon_list();
    }

    fn set_state(&mut self, state: WatchState) {
        self.kept.set_state(state);
        drop(lock(&self.kind.awaited).take());
        self.kind.answered.cancel();
    }

    fn counts(&self) -> Counts {
        self.kept.counts()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
