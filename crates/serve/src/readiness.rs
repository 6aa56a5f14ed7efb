//! What must be there before this process may get traffic.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The parts that are awaited; a clone is the same list. Ready when none is left.
///
/// Name every part before [`serve`](crate::serve) starts, or a probe may come in between.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    awaited: Arc<Mutex<BTreeSet<&'static str>>>,
}

impl Readiness {
    /// Adds a part that is awaited from now on.
    #[must_use]
    pub fn part(&self, name: &'static str) -> Part {
        self.lock().insert(name);
        Part {
            name,
            readiness: self.clone(),
        }
    }

    /// The names of the parts still awaited, sorted.
    #[must_use]
    pub fn awaited(&self) -> Vec<&'static str> {
        self.lock().iter().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<&'static str>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One part of a [`Readiness`]. Dropped without a word it stays awaited: it never came up.
#[derive(Clone, Debug)]
pub struct Part {
    name: &'static str,
    readiness: Readiness,
}

impl Part {
    /// This part is ready, for good.
    pub fn ready(&self) {
        self.readiness.lock().remove(self.name);
    }
}
