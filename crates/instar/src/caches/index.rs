//! A table that follows a watch: pure, fed with events.

use std::{
    borrow::Borrow,
    collections::{HashMap, hash_map},
    fmt, mem,
    sync::Arc,
};

use instar_admission::cluster_state::TemplateKey;
use kube::{Resource, runtime::watcher::Event};

/// An object's `namespace/name`, or its name where it has no namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key(Arc<str>);

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

    /// The namespace; empty where there is none.
    pub(crate) fn namespace(&self) -> &str {
        self.0.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// The name.
    pub(crate) fn name(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(_, name)| name)
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

/// A template's API group, kind and key, as one text that the entries and their groups share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TemplateId(Arc<str>);

impl TemplateId {
    /// Of a template.
    pub(crate) fn of(key: &TemplateKey<'_>) -> Self {
        let TemplateKey {
            group,
            kind,
            namespace,
            name,
        } = key;
        Self(format!("{} {namespace}/{name}", kind_key(group, kind)).into())
    }

    /// Its API group and its kind, as one text: see [`kind_key`].
    pub(crate) fn kind_key(&self) -> &str {
        self.0.rsplit_once(' ').map_or("", |(kind, _)| kind)
    }
}

/// An API group and a kind as one text.
pub(crate) fn kind_key(group: &str, kind: &str) -> String {
    format!("{group} {kind}")
}

/// What an object is looked up by, beside its own key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Group {
    /// The Cluster that it belongs to.
    Cluster(Key),
    /// The ClusterClass that it is made of.
    Class(Key),
    /// A release that it needs.
    Release(Box<str>),
    /// A template that it refers to.
    Template(TemplateId),
    /// A template that it keeps, by kind and key: its record doesn't say the API group.
    Kept(Box<str>, Key),
    /// Its namespace.
    Namespace(Box<str>),
}

/// What is kept of an object.
pub(crate) trait Entry {
    /// What it is looked up by, beside its own key.
    fn groups(&self, key: &Key) -> Vec<Group>;

    /// What is wrong with an object that can be read all the same.
    fn complaint(&self) -> Option<&str> {
        None
    }
}

/// What was read of an object: an entry, or why it can't be read.
#[derive(Clone, Debug)]
pub(crate) struct Row<E> {
    pub(crate) key: Key,
    pub(crate) read: Result<E, String>,
}

impl<E: Entry> Row<E> {
    fn complaint(&self) -> Option<&str> {
        complaint(&self.read)
    }
}

fn complaint<E: Entry>(read: &Result<E, String>) -> Option<&str> {
    match read {
        Ok(entry) => entry.complaint(),
        Err(why) => Some(why),
    }
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
    /// Something is wrong with the object, or something else than before.
    Wrong(Key, String),
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
    pub(crate) fn group<'s>(&'s self, group: &Group) -> impl Iterator<Item = (&'s Key, &'s E)> + use<'s, E> {
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

/// Objects, and their keys by group: sorted, and in a vector, since most groups are of one.
#[derive(Debug)]
pub(crate) struct Table<E> {
    objects: HashMap<Key, Result<E, String>>,
    groups: HashMap<Group, Vec<Key>>,
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
        let Some(why) = row.complaint() else {
            return News::Nothing;
        };
        match self.objects.get(&row.key) {
            Some(state) if complaint(state) == Some(why) => News::Nothing,
            Some(_) | None => News::Wrong(row.key.clone(), why.to_owned()),
        }
    }

    fn insert(&mut self, row: Row<E>) {
        self.remove(&row.key);
        if let Ok(entry) = &row.read {
            for group in entry.groups(&row.key) {
                let keys = self.groups.entry(group).or_insert_with(|| Vec::with_capacity(1));
                if let Err(at) = keys.binary_search(&row.key) {
                    keys.insert(at, row.key.clone());
                }
            }
        }
        self.objects.insert(row.key, row.read);
    }

    fn remove(&mut self, key: &Key) {
        let Some(Ok(entry)) = self.objects.remove(key) else {
            return;
        };
        for group in entry.groups(key) {
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
