//! Which parts of this process are ready for traffic.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The parts that are not ready; a clone is the same list. The process is ready when it is empty.
///
/// Name every part before [`serve`](crate::serve) starts, or a probe may find the list empty too early.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    awaited: Arc<Mutex<Awaited>>,
}

/// By name: why it is not ready, or None if it has never been ready and gave no reason.
type Awaited = BTreeMap<&'static str, Option<String>>;

impl Readiness {
    /// Adds a part, which is not ready until it says so. Two parts of one name are the same part.
    #[must_use]
    pub fn part(&self, name: &'static str) -> Part {
        self.lock().insert(name, None);
        Part {
            name,
            readiness: self.clone(),
        }
    }

    /// The names of the parts that are not ready, sorted.
    #[must_use]
    pub fn awaited(&self) -> Vec<&'static str> {
        self.lock().keys().copied().collect()
    }

    /// One line for each part that is not ready, sorted by name: `name: reason`, or `name` alone.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let awaited = self.lock();
        let lines = awaited.iter().map(|(name, reason)| match reason {
            Some(reason) => format!("{name}: {reason}"),
            None => (*name).to_owned(),
        });
        lines.collect()
    }

    fn lock(&self) -> MutexGuard<'_, Awaited> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One part of a [`Readiness`]. If it is dropped, it stays as it is.
#[derive(Clone, Debug)]
pub struct Part {
    name: &'static str,
    readiness: Readiness,
}

impl Part {
    /// This part is ready, until [`not_ready`](Self::not_ready).
    pub fn ready(&self) {
        self.readiness.lock().remove(self.name);
    }

    /// This part is not ready (any more), and `/readyz` says why. The last reason is the one that is
    /// shown. Line breaks become spaces, since each part has one line.
    pub fn not_ready(&self, reason: &str) {
        let reason = reason.replace(['\r', '\n'], " ");
        self.readiness.lock().insert(self.name, Some(reason));
    }
}
