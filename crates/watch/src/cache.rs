//! A kind's table behind a lock, and how the events of a watch get into it.

use std::{
    fmt::Debug,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use kube::{Resource, runtime::watcher::Event};
use serde::de::DeserializeOwned;

use crate::{Applied, Counts, Entry, Index, Key, Row, SharedTexts, Sink, Unavailable, WatchState};

/// The objects of one kind, as the last event has shown them. A lock is held for a look-up or one event.
#[derive(Debug)]
pub struct Cache<E: Entry> {
    state: RwLock<WatchState>,
    index: RwLock<Index<E>>,
    texts: SharedTexts,
}

impl<E: Entry> Default for Cache<E> {
    fn default() -> Self {
        Self {
            state: RwLock::default(),
            index: RwLock::default(),
            texts: SharedTexts::default(),
        }
    }
}

/// What is known of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup<T> {
    /// It is there.
    Present(T),
    /// It isn't there.
    Absent,
    /// It is there, and can't be decoded: this is why.
    Unreadable(String),
    /// Its kind was not listed yet.
    Pending,
    /// Nothing is known of its kind.
    Unavailable(Unavailable),
    /// Its kind isn't watched.
    Unwatched,
}

impl<E: Entry> Cache<E> {
    /// The table. Don't hold it for longer than a look-up.
    pub fn read(&self) -> RwLockReadGuard<'_, Index<E>> {
        read(&self.index)
    }

    /// Whether the table can be relied upon.
    pub fn state(&self) -> WatchState {
        read(&self.state).clone()
    }

    /// Takes an event in. The table that was replaced is for the caller to drop.
    pub fn apply(&self, event: Event<Row<E>>) -> Applied<E> {
        write(&self.index).apply(event)
    }

    /// What is known of an object.
    pub fn look_up<T>(&self, key: &Key, found: impl FnOnce(&E) -> T) -> Lookup<T> {
        match &*read(&self.state) {
            WatchState::Pending => Lookup::Pending,
            WatchState::Unavailable(why) => Lookup::Unavailable(why.clone()),
            WatchState::NotServed => Lookup::Absent,
            WatchState::Watching => {
                let index = self.read();
                match (index.get(key), index.unreadable(key)) {
                    (Some(entry), _) => Lookup::Present(found(entry)),
                    (None, Some(unreadable)) => Lookup::Unreadable(unreadable.error.clone()),
                    (None, None) => Lookup::Absent,
                }
            }
        }
    }

    /// Where the new state says that there are no objects, the table before is handed back.
    pub fn set_state(&self, new: WatchState) -> Option<Index<E>> {
        let forgets = match (&*read(&self.state), &new) {
            // What was listed stays while the API server fails.
            (WatchState::Watching | WatchState::NotServed, WatchState::Unavailable(Unavailable::Failing)) => {
                return None;
            }
            (before, after) if before == after => return None,
            (_, WatchState::NotServed | WatchState::Unavailable(Unavailable::NotServed)) => true,
            (_, WatchState::Pending | WatchState::Watching | WatchState::Unavailable(_)) => false,
        };
        *write(&self.state) = new;
        forgets.then(|| write(&self.index).clear())
    }
}

/// An entry, and the objects that it comes from.
pub trait Kept: Entry + Debug + Send + Sync + 'static {
    /// As the API server sends it.
    type Object: Resource + Clone + Debug + DeserializeOwned + Send + 'static;

    /// Takes out of an object what is kept of it.
    fn keep(object: Self::Object) -> Row<Self>;
}

/// What a program does with the events of a kind, beside keeping it.
pub trait Hooks<E: Entry>: Send {
    /// An object that comes, before it is in the table.
    fn arriving(&self, row: &mut Row<E>) {
        let _ = row;
    }

    /// Whether [`changed`](Self::changed) is told which groups changed.
    fn wants_groups(&self) -> bool {
        false
    }

    /// Whether the groups that an object is in have changed with it: `before` is what was kept of it.
    fn is_news(&self, before: &E, now: &E) -> bool {
        let _ = (before, now);
        true
    }

    /// The table has changed: these groups of it, if they are wanted.
    fn changed(&self, groups: &[E::Group]) {
        let _ = groups;
    }
}

impl<E: Entry> Hooks<E> for () {}

/// From the events of a watch into a cache.
#[derive(Debug)]
pub struct KeptSink<E: Entry, H> {
    /// Where to.
    pub cache: Arc<Cache<E>>,
    /// As log lines name the kind.
    pub kind: String,
    /// What else is done.
    pub hooks: H,
}

impl<E: Kept, H: Hooks<E>> KeptSink<E, H> {
    fn row(&self, object: E::Object) -> Row<E> {
        let mut row = E::keep(object);
        self.hooks.arriving(&mut row);
        if let Ok(entry) = &mut row.read {
            entry.share(&self.cache.texts);
        }
        row
    }

    fn is_news(&self, row: &Row<E>) -> bool {
        match (self.cache.read().get(&row.key), &row.read) {
            (Some(before), Ok(now)) => self.hooks.is_news(before, now),
            (Some(_) | None, Ok(_) | Err(_)) => true,
        }
    }
}

impl<E: Kept, H: Hooks<E>> Sink<E::Object> for KeptSink<E, H> {
    fn apply(&mut self, event: Event<E::Object>) {
        // The parts of a list come one by one; what they change shows when it is complete.
        let shows = !matches!(event, Event::Init | Event::InitApply(_));
        let event = match event {
            Event::Init => Event::Init,
            Event::InitApply(object) => Event::InitApply(self.row(object)),
            Event::InitDone => Event::InitDone,
            Event::Apply(object) => Event::Apply(self.row(object)),
            Event::Delete(object) => Event::Delete(E::keep(object)),
        };
        let wants_groups = shows && self.hooks.wants_groups();
        let mut groups = match &event {
            Event::Apply(row) if wants_groups && self.is_news(row) => row.groups(),
            Event::Delete(row) if wants_groups => row.groups(),
            Event::Apply(_) | Event::Delete(_) | Event::Init | Event::InitApply(_) | Event::InitDone => Vec::new(),
        };
        let applied = self.cache.apply(event);
        match &applied {
            Applied::Quietly => {}
            Applied::Complaint(complaint) => {
                let (kind, object, text) = (&*self.kind, &complaint.key, &complaint.text);
                if complaint.is_unreadable {
                    tracing::warn!(kind, %object, "Cannot decode object, so nothing is known of it: {text}");
                } else {
                    tracing::warn!(kind, %object, "Object is incomplete: {text}");
                }
            }
            Applied::Relisted(relisted) => {
                if wants_groups {
                    groups.extend(relisted.before.groups().cloned());
                    groups.extend(relisted.groups.iter().cloned());
                }
            }
        }
        if shows {
            // Who is woken now must find what it is woken for.
            drop(self.cache.set_state(WatchState::Watching));
            self.hooks.changed(&groups);
        }
    }

    fn abandon_list(&mut self) {
        let table = write(&self.cache.index).abandon_list();
        drop(table);
    }

    fn set_state(&mut self, state: WatchState) {
        let before = self.cache.state();
        let forgotten = self.cache.set_state(state);
        let after = self.cache.state();
        if before != after {
            let kind = &*self.kind;
            match &after {
                WatchState::NotServed => {
                    tracing::info!(kind, "The cluster does not serve the kind, so there are no objects");
                }
                WatchState::Unavailable(why) => tracing::warn!(kind, "Nothing is known of the kind's objects: {why}"),
                WatchState::Pending | WatchState::Watching => {}
            }
        }
        if let Some(forgotten) = forgotten {
            let groups: Vec<E::Group> = forgotten.groups().cloned().collect();
            self.hooks.changed(&groups);
        }
    }

    fn counts(&self) -> Counts {
        let index = self.cache.read();
        Counts {
            objects: index.len(),
            unreadable: index.unreadable_len(),
            bytes: index.bytes(),
        }
    }
}

/// Nothing panics while it holds one of these locks, and a table is whole after every event.
pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
