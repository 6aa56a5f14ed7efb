//! Which resources an API server serves, as far as a client has asked for it. A client lives for one round, so a kind that
//! comes meanwhile is found by the next.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Deserialize;

/// The resource of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Resource {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) namespaced: bool,
}

/// The resources of group versions, by their paths; none where the API server doesn't know the version.
#[derive(Debug, Default)]
pub(crate) struct Discovery(Mutex<BTreeMap<String, Arc<[Resource]>>>);

impl Discovery {
    pub(crate) fn known(&self, path: &str) -> Option<Arc<[Resource]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    pub(crate) fn keep(&self, path: &str, resources: &Arc<[Resource]>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(path.to_owned(), Arc::clone(resources));
    }
}
