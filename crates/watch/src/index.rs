//! A table that follows a watch: pure, fed with events.

use std::{
    collections::{HashMap, hash_map},
    fmt::Debug,
    hash::Hash,
    mem,
};

use kube::runtime::watcher::Event;

use crate::{Guarded, Key, Unreadable};

/// What is kept of an object.
pub trait Entry: Sized {
    /// What objects are looked up by, beside their own keys.
    type Group: Clone + Debug + Eq + Hash + Send + Sync + 'static;

    /// The groups that it is in. They may not change while it is in the table.
    fn groups(&self, key: &Key) -> Vec<Self::Group>;

    /// The groups of an object of this kind that can't be decoded.
    fn groups_of_unreadable(key: &Key, unreadable: &Unreadable) -> Vec<Self::Group>;

    /// What is wrong with an object that could be decoded.
    fn complaint(&self) -> Option<&str> {
        None
    }
}

/// An object as it comes: what is kept of it, or why it can't be decoded.
#[derive(Clone, Debug)]
pub struct Row<E> {
    /// Which object.
    pub key: Key,
    /// What is kept of it.
    pub read: Result<E, Box<Unreadable>>,
}

impl<E: Entry> Row<E> {
    /// Takes out of an object what is kept of it.
    pub fn of<K: kube::Resource>(object: Guarded<K>, keep: impl FnOnce(K) -> E) -> Self {
        Self {
            key: Key::of(&object),
            read: object.0.map(keep),
        }
    }

    /// The groups that the object is in, decoded or not.
    pub fn groups(&self) -> Vec<E::Group> {
        groups(&self.key, &self.read)
    }
}

fn groups<E: Entry>(key: &Key, read: &Result<E, Box<Unreadable>>) -> Vec<E::Group> {
    match read {
        Ok(entry) => entry.groups(key),
        Err(unreadable) => E::groups_of_unreadable(key, unreadable),
    }
}

fn complaint<E: Entry>(read: &Result<E, Box<Unreadable>>) -> Option<&str> {
    match read {
        Ok(entry) => entry.complaint(),
        Err(unreadable) => Some(&unreadable.error),
    }
}

/// The objects of one kind, as of the last event.
///
/// While a list comes in, the previous table stands: what is gone is dropped when the list is
/// complete, and a list that breaks off changes nothing.
#[derive(Debug)]
pub struct Index<E: Entry> {
    live: Table<E>,
    listing: Option<Table<E>>,
}

/// What an event did to an index.
#[derive(Debug)]
#[must_use]
pub enum Applied<E: Entry> {
    /// No more than it says.
    Quietly,
    /// Something is wrong with the object, or something else than before.
    Complaint(Complaint),
    /// A list is complete, or was given up. This table isn't needed any more: drop it outside of any lock.
    Replaced(Table<E>),
}

/// What is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Which object.
    pub key: Key,
    /// What is wrong.
    pub text: String,
    /// It can't be decoded.
    pub is_unreadable: bool,
}

impl<E: Entry> Default for Index<E> {
    fn default() -> Self {
        Self {
            live: Table::default(),
            listing: None,
        }
    }
}

impl<E: Entry> Index<E> {
    /// Takes an event in.
    pub fn apply(&mut self, event: Event<Row<E>>) -> Applied<E> {
        match event {
            Event::Init => {
                let given_up = self.listing.replace(Table::default());
                return given_up.map_or(Applied::Quietly, Applied::Replaced);
            }
            Event::InitApply(row) => {
                let applied = self.live.complaint(&row);
                self.listing.get_or_insert_default().insert(row);
                return applied;
            }
            Event::InitDone => {
                let listed = self.listing.take().unwrap_or_default();
                return Applied::Replaced(mem::replace(&mut self.live, listed));
            }
            Event::Apply(row) => {
                let applied = self.live.complaint(&row);
                self.live.insert(row);
                return applied;
            }
            Event::Delete(row) => self.live.remove(&row.key),
        }
        Applied::Quietly
    }

    /// Gives up the list that comes in, if one does: it broke off, and would be held while the next try
    /// waits.
    #[must_use]
    pub fn abandon_list(&mut self) -> Option<Table<E>> {
        self.listing.take()
    }

    /// Forgets all objects.
    #[must_use]
    pub fn clear(&mut self) -> Self {
        mem::take(self)
    }

    /// What is kept of an object, if it could be decoded.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&E> {
        self.live.objects.get(key).and_then(|read| read.as_ref().ok())
    }

    /// An object that can't be decoded.
    #[must_use]
    pub fn unreadable(&self, key: &Key) -> Option<&Unreadable> {
        self.live.objects.get(key)?.as_ref().err().map(Box::as_ref)
    }

    /// The entries of a group, sorted by their keys.
    pub fn group<'s>(&'s self, group: &E::Group) -> impl Iterator<Item = (&'s Key, &'s E)> + use<'s, E> {
        let keys = self.live.groups.get(group).into_iter().flatten();
        keys.filter_map(|key| self.get(key).map(|entry| (key, entry)))
    }

    /// The objects of a group that can't be decoded, sorted by their keys.
    pub fn unreadable_in<'s>(
        &'s self,
        group: &E::Group,
    ) -> impl Iterator<Item = (&'s Key, &'s Unreadable)> + use<'s, E> {
        // Nearly always there are none at all.
        let groups = (self.live.unreadable > 0).then_some(&self.live.groups);
        let keys = groups.and_then(|groups| groups.get(group)).into_iter().flatten();
        keys.filter_map(|key| self.unreadable(key).map(|unreadable| (key, unreadable)))
    }

    /// All entries, in no order.
    pub fn entries(&self) -> impl Iterator<Item = (&Key, &E)> {
        let objects = self.live.objects.iter();
        objects.filter_map(|(key, read)| read.as_ref().ok().map(|entry| (key, entry)))
    }

    /// Every group that an object is in, in no order.
    pub fn groups(&self) -> impl Iterator<Item = &E::Group> {
        self.live.groups()
    }

    /// How many objects there are, decoded or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live.objects.len()
    }

    /// Whether there are no objects.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.objects.is_empty()
    }

    /// How many objects can't be decoded.
    #[must_use]
    pub fn unreadable_len(&self) -> usize {
        self.live.unreadable
    }
}

/// Objects, and their keys by group: sorted, and in a vector, since most groups are of one.
#[derive(Debug)]
pub struct Table<E: Entry> {
    objects: HashMap<Key, Result<E, Box<Unreadable>>>,
    groups: HashMap<E::Group, Vec<Key>>,
    unreadable: usize,
}

impl<E: Entry> Default for Table<E> {
    fn default() -> Self {
        Self {
            objects: HashMap::new(),
            groups: HashMap::new(),
            unreadable: 0,
        }
    }
}

impl<E: Entry> Table<E> {
    /// Every group that an object is in, in no order.
    pub fn groups(&self) -> impl Iterator<Item = &E::Group> {
        self.groups.keys()
    }

    fn complaint(&self, row: &Row<E>) -> Applied<E> {
        let Some(text) = complaint(&row.read) else {
            return Applied::Quietly;
        };
        match self.objects.get(&row.key) {
            Some(known) if complaint(known) == Some(text) => Applied::Quietly,
            Some(_) | None => Applied::Complaint(Complaint {
                key: row.key.clone(),
                text: text.to_owned(),
                is_unreadable: row.read.is_err(),
            }),
        }
    }

    fn insert(&mut self, row: Row<E>) {
        self.remove(&row.key);
        for group in row.groups() {
            let keys = self.groups.entry(group).or_insert_with(|| Vec::with_capacity(1));
            if let Err(at) = keys.binary_search(&row.key) {
                keys.insert(at, row.key.clone());
            }
        }
        self.unreadable += usize::from(row.read.is_err());
        self.objects.insert(row.key, row.read);
    }

    fn remove(&mut self, key: &Key) {
        let Some(read) = self.objects.remove(key) else {
            return;
        };
        self.unreadable -= usize::from(read.is_err());
        for group in groups(key, &read) {
            let hash_map::Entry::Occupied(mut keys) = self.groups.entry(group) else {
                continue;
            };
            if let Ok(at) = keys.get().binary_search(key) {
                keys.get_mut().remove(at);
            }
            if keys.get().is_empty() {
                keys.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests;
