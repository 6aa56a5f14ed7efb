//! What was said of a Cluster last, so that it is said once and not at every pass.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use kube::runtime::reflector::ObjectRef;

use crate::views::Cluster;

/// The last note about each Cluster that has one.
#[derive(Debug, Default)]
pub(crate) struct EventDeduplicator {
    notes: Mutex<HashMap<ObjectRef<Cluster>, String>>,
}

impl EventDeduplicator {
    /// Whether the note is another than the last.
    pub(super) fn is_news(&self, cluster: &ObjectRef<Cluster>, note: &str) -> bool {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let before = notes.insert(cluster.clone(), note.to_owned());
        before.as_deref() != Some(note)
    }

    /// It doesn't hold any more.
    pub(super) fn forget(&self, cluster: &ObjectRef<Cluster>) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.remove(cluster);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_news_once() {
        let (said, cluster) = (EventDeduplicator::default(), ObjectRef::new("c").within("n"));
        assert!(said.is_news(&cluster, "a"));
        assert!(!said.is_news(&cluster, "a"));
        assert!(said.is_news(&cluster, "b"));
        assert!(said.is_news(&ObjectRef::new("d").within("n"), "b"));
        said.forget(&cluster);
        assert!(said.is_news(&cluster, "b"));
    }
}
