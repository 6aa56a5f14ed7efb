//! Answers of the API server that are kept for all Clusters.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::BoxFuture;
use tokio::sync::OnceCell;

use crate::api::{Error, in_time};

/// By what was asked for. Who wants an answer that is being asked for waits for it, and asks only if that fails.
pub(super) struct Answers<K, V>(Mutex<HashMap<K, Arc<OnceCell<V>>>>);

impl<K, V> Default for Answers<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Answers<K, V> {
    /// What asks is boxed, since every pass that may have to ask would be as large as that. `doing` begins the error's
    /// text where others ask for too long.
    pub(super) async fn get<'a>(
        &self,
        key: K,
        doing: impl FnOnce() -> String,
        asked: impl FnOnce() -> BoxFuture<'a, Result<V, Error>>,
    ) -> Result<V, Error> {
        let cell = {
            let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(answers.entry(key).or_default())
        };
        in_time(doing, cell.get_or_try_init(asked)).await.cloned()
    }

    pub(super) fn forget(&self, key: &K) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}
