//! How much is read at once.
//!
//! To find that a cluster is gone takes seconds and a socket; to read one takes little time and some megabytes. So many
//! are looked for at once and few are read, and those that answered the last time take turns among themselves. What turns
//! out to be slow gives its turn to the others.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::schedule::Lane;

/// How many Secrets, and how many Clusters' objects, are read of the management cluster at once.
const MANAGEMENT: usize = 8;

/// How many expressions are evaluated at once, each on a thread that it may keep for a moment.
const EVALUATIONS: usize = 2;

/// The turns of each lane, and those for the management cluster.
#[derive(Debug, Clone)]
pub(super) struct Lanes {
    management: Arc<Semaphore>,
    evaluations: Arc<Semaphore>,
    new: Turns,
    prompt: Turns,
    slow: Turns,
}

#[derive(Debug, Clone)]
struct Turns {
    reach: Arc<Semaphore>,
    read: Arc<Semaphore>,
}

impl Turns {
    fn new(reach: usize, read: usize) -> Self {
        Self {
            reach: Arc::new(Semaphore::new(reach)),
            read: Arc::new(Semaphore::new(read)),
        }
    }
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            management: Arc::new(Semaphore::new(MANAGEMENT)),
            evaluations: Arc::new(Semaphore::new(EVALUATIONS)),
            // After a start every cluster is new, and hundreds may be gone.
            new: Turns::new(512, 2),
            // Those of one site go all at once.
            prompt: Turns::new(512, 4),
            slow: Turns::new(64, 2),
        }
    }
}

/// A turn; none where the program ends.
pub(super) type Turn<'l> = Option<SemaphorePermit<'l>>;

impl Lanes {
    pub(super) async fn management(&self) -> Turn<'_> {
        self.management.acquire().await.ok()
    }

    /// A turn that outlives whoever waits for it.
    pub(super) async fn evaluation(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.evaluations).acquire_owned().await.ok()
    }

    pub(super) async fn reach(&self, lane: Lane) -> Turn<'_> {
        self.turns(lane).reach.acquire().await.ok()
    }

    pub(super) async fn read(&self, lane: Lane) -> Turn<'_> {
        self.turns(lane).read.acquire().await.ok()
    }

    const fn turns(&self, lane: Lane) -> &Turns {
        match lane {
            Lane::New => &self.new,
            Lane::Prompt => &self.prompt,
            Lane::Slow => &self.slow,
        }
    }
}
