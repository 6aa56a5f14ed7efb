//! A table that follows a watch: pure, fed with events.

use std::{
    borrow::Borrow,
    collections::{BTreeSet, HashMap},
    fmt, mem,
};

use kube::{Resource, runtime::watcher::Event};

/// An object's `namespace/name`, or its name where it has no namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key(Box<str>);

impl Key {
    /// Of a name in a namespace.
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        if namespace.is_empty() {
            Self(name.into())
        } else {
            Self(format!("{namespace}/{name}").into())
        }
    }

    /// Of an object.
    pub(crate) fn of(object: &impl Resource) -> Self {
        let metadata = object.meta();
        Self::new(
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        )
    }

    /// As text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is kept of an object.
pub(crate) trait Entry {
    /// What it is looked up by, beside its own key.
    fn groups(&self) -> impl Iterator<Item = &str>;
}

/// What was read of an object: an entry, or why it can't be read.
#[derive(Clone, Debug)]
pub(crate) struct Row<E> {
    pub(crate) key: Key,
    pub(crate) read: Result<E, String>,
}

/// The objects of one kind, as of the last event.
///
/// While a list comes in, the previous table stands: what is gone is dropped when the list is
/// complete, and a list that breaks off changes nothing.
#[derive(Debug)]
pub(crate) struct Index<E> {
    live: Table<E>,
    listing: Option<Table<E>>,
}

/// What an event did, beyond what it says.
#[derive(Debug)]
#[must_use]
pub(crate) enum News<E> {
    /// Nothing more.
    Nothing,
    /// The object turned unreadable, or is so for another reason than before.
    Unreadable(Key, String),
    /// A list is complete. This is the table before it, to be dropped outside of any lock.
    Listed(Table<E>),
}

impl<E> Default for Index<E> {
    fn default() -> Self {
        Self {
            live: Table::default(),
            listing: None,
        }
    }
}

impl<E: Entry> Index<E> {
    /// Takes an event in.
    pub(crate) fn apply(&mut self, event: Event<Row<E>>) -> News<E> {
        match event {
            Event::Init => self.listing = Some(Table::default()),
            Event::InitApply(row) => {
                let news = self.live.complaint(&row);
                self.listing.get_or_insert_default().insert(row);
                return news;
            }
            Event::InitDone => {
                let listed = self.listing.take().unwrap_or_default();
                return News::Listed(mem::replace(&mut self.live, listed));
            }
            Event::Apply(row) => {
                let news = self.live.complaint(&row);
                self.live.insert(row);
                return news;
            }
            Event::Delete(row) => self.live.remove(&row.key),
        }
        News::Nothing
    }

    /// The entry of an object that can be read.
    pub(crate) fn get(&self, key: &Key) -> Option<&E> {
        self.live.objects.get(key).and_then(|read| read.as_ref().ok())
    }

    /// The entries of a group, sorted by their keys.
    pub(crate) fn group(&self, group: &str) -> impl Iterator<Item = (&Key, &E)> {
        let keys = self.live.groups.get(group).into_iter().flatten();
        keys.filter_map(|key| self.get(key).map(|entry| (key, entry)))
    }

    /// All entries that can be read, in no order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Key, &E)> {
        let objects = self.live.objects.iter();
        objects.filter_map(|(key, read)| read.as_ref().ok().map(|entry| (key, entry)))
    }

    /// How many objects there are, readable or not.
    pub(crate) fn len(&self) -> usize {
        self.live.objects.len()
    }
}

/// Objects, and their keys by group.
#[derive(Debug)]
pub(crate) struct Table<E> {
    objects: HashMap<Key, Result<E, String>>,
    groups: HashMap<Box<str>, BTreeSet<Key>>,
}

impl<E> Default for Table<E> {
    fn default() -> Self {
        Self {
            objects: HashMap::new(),
            groups: HashMap::new(),
        }
    }
}

impl<E: Entry> Table<E> {
    fn complaint(&self, row: &Row<E>) -> News<E> {
        let Err(why) = &row.read else {
            return News::Nothing;
        };
        match self.objects.get(&row.key) {
            Some(Err(known)) if known == why => News::Nothing,
            _ => News::Unreadable(row.key.clone(), why.clone()),
        }
    }

    fn insert(&mut self, row: Row<E>) {
        self.remove(&row.key);
        if let Ok(entry) = &row.read {
            for group in entry.groups() {
                if let Some(keys) = self.groups.get_mut(group) {
                    keys.insert(row.key.clone());
                } else {
                    self.groups.insert(group.into(), [row.key.clone()].into());
                }
            }
        }
        self.objects.insert(row.key, row.read);
    }

    fn remove(&mut self, key: &Key) {
        let Some(Ok(entry)) = self.objects.remove(key) else {
            return;
        };
        for group in entry.groups() {
            if let Some(keys) = self.groups.get_mut(group) {
                keys.remove(key);
                if keys.is_empty() {
                    self.groups.remove(group);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
