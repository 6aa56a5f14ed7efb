//! A table that follows a watch: pure, fed with events.

use std::{
    collections::{HashMap, HashSet, hash_map},
    fmt::Debug,
    hash::Hash,
    mem,
};

use kube::runtime::watcher::Event;
use smallvec::SmallVec;

use crate::{Guarded, Key, SharedTexts, Unreadable};

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

    /// Whether all that is kept is the same, as of most objects that are listed again: those aren't held twice. To
    /// say no is never wrong.
    fn is_same(&self, other: &Self) -> bool {
        let _ = other;
        false
    }

    /// An object comes: puts a known text in the place of one that others have too.
    fn share(&mut self, texts: &SharedTexts) {
        let _ = texts;
    }

    /// How many bytes it takes beside itself, but for what other entries have too: counted, not what the allocator
    /// adds.
    fn heap_bytes(&self) -> usize {
        0
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

/// What an object takes beside its place in the table: its name, that name's place in its groups, and what is kept. One
/// that can't be decoded is kept with its metadata, which isn't counted: there are hardly any.
fn heap_bytes<E: Entry>(key: &Key, read: &Result<E, Box<Unreadable>>) -> usize {
    let name = key.as_str().len() + size_of::<Key>();
    name + read.as_ref().map_or(0, E::heap_bytes)
}

/// The objects of one kind, as of the last event.
///
/// While a list comes in, the previous table stands: what is gone is dropped when the list is
/// complete, and a list that breaks off changes nothing. Of what is listed as it was, only the key is held twice.
#[derive(Debug)]
pub struct Index<E: Entry> {
    live: Table<E>,
    listing: Option<Listing<E>>,
}

/// A list that comes in.
#[derive(Debug)]
struct Listing<E: Entry> {
    /// What is as in the table before. The keys are those of the table.
    same: HashSet<Key>,
    /// The others.
    changed: Table<E>,
}

impl<E: Entry> Default for Listing<E> {
    fn default() -> Self {
        Self {
            same: HashSet::new(),
            changed: Table::default(),
        }
    }
}

/// What a list has changed.
#[derive(Debug)]
pub struct Relisted<E: Entry> {
    /// The rows that are gone, or were other ones before: drop it outside of any lock.
    pub before: Table<E>,
    /// The groups of what came in their place, and of what is new.
    pub groups: Vec<E::Group>,
}

/// What an event did to an index.
#[derive(Debug)]
#[must_use]
pub enum Applied<E: Entry> {
    /// No more than it says.
    Quietly,
    /// Something is wrong with the object, or something else than before.
    Complaint(Complaint),
    /// A list is complete, or was given up.
    Relisted(Relisted<E>),
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
                let given_up = self.listing.replace(Listing::default());
                return given_up.map_or(Applied::Quietly, |given_up| {
                    Applied::Relisted(Relisted {
                        before: given_up.changed,
                        groups: Vec::new(),
                    })
                });
            }
            Event::InitApply(row) => {
                let applied = self.live.complaint(&row);
                self.listing.get_or_insert_default().insert(&self.live, row);
                return applied;
            }
            Event::InitDone => {
                let listed = self.listing.take().unwrap_or_default();
                return Applied::Relisted(self.live.relist(listed));
            }
            Event::Apply(row) => {
                let applied = self.live.complaint(&row);
                self.live.insert(row);
                return applied;
            }
            Event::Delete(row) => drop(self.live.remove(&row.key)),
        }
        Applied::Quietly
    }

    /// Gives up the list that comes in, if one does: it broke off, and would be held while the next try
    /// waits.
    #[must_use]
    pub fn abandon_list(&mut self) -> Option<Table<E>> {
        self.listing.take().map(|given_up| given_up.changed)
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

    /// How many bytes the objects, their keys and their groups take, counted: what the allocator adds isn't known, and
    /// of a list that comes in nothing counts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.live.bytes()
    }

    /// How many objects can't be decoded.
    #[must_use]
    pub fn unreadable_len(&self) -> usize {
        self.live.unreadable
    }
}

/// Sorted. Most groups are of one object.
type Keys = SmallVec<[Key; 1]>;

/// Objects, and their keys by group.
#[derive(Debug)]
pub struct Table<E: Entry> {
    objects: HashMap<Key, Result<E, Box<Unreadable>>>,
    groups: HashMap<E::Group, Keys>,
    unreadable: usize,
    /// What the entries take beside the tables.
    heap_bytes: usize,
}

impl<E: Entry> Default for Table<E> {
    fn default() -> Self {
        Self {
            objects: HashMap::new(),
            groups: HashMap::new(),
            unreadable: 0,
            heap_bytes: 0,
        }
    }
}

impl<E: Entry> Listing<E> {
    fn insert(&mut self, live: &Table<E>, row: Row<E>) {
        match (live.objects.get_key_value(&row.key), &row.read) {
            (Some((key, Ok(before))), Ok(now)) if before.is_same(now) => {
                drop(self.changed.remove(&row.key));
                self.same.insert(key.clone());
            }
            (Some(_) | None, Ok(_) | Err(_)) => {
                self.same.remove(&row.key);
                self.changed.insert(row);
            }
        }
    }
}

impl<E: Entry> Table<E> {
    /// The list is complete.
    fn relist(&mut self, listed: Listing<E>) -> Relisted<E> {
        let groups = listed.changed.groups().cloned().collect();
        if listed.same.is_empty() {
            let before = mem::replace(self, listed.changed);
            return Relisted { before, groups };
        }
        let other: Vec<Key> = self
            .objects
            .keys()
            .filter(|key| !listed.same.contains(*key))
            .cloned()
            .collect();
        let mut before = Self::default();
        for key in other {
            if let Some(read) = self.remove(&key) {
                before.insert(Row { key, read });
            }
        }
        for (key, read) in listed.changed.objects {
            self.insert(Row { key, read });
        }
        Relisted { before, groups }
    }

    /// Every group that an object is in, in no order.
    pub fn groups(&self) -> impl Iterator<Item = &E::Group> {
        self.groups.keys()
    }

    fn bytes(&self) -> usize {
        self.heap_bytes
            + self.objects.capacity() * size_of::<(Key, Result<E, Box<Unreadable>>)>()
            + self.groups.capacity() * size_of::<(E::Group, Keys)>()
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
        drop(self.remove(&row.key));
        for group in row.groups() {
            let keys = self.groups.entry(group).or_default();
            if let Err(at) = keys.binary_search(&row.key) {
                keys.insert(at, row.key.clone());
            }
        }
        self.unreadable += usize::from(row.read.is_err());
        self.heap_bytes += heap_bytes(&row.key, &row.read);
        self.objects.insert(row.key, row.read);
    }

    fn remove(&mut self, key: &Key) -> Option<Result<E, Box<Unreadable>>> {
        let read = self.objects.remove(key)?;
        self.unreadable -= usize::from(read.is_err());
        self.heap_bytes -= heap_bytes(key, &read);
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
        Some(read)
    }
}

#[cfg(test)]
mod tests;
