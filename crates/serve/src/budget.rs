//! The memory that all bodies on a port may take, and who gets none when it is taken.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How long a body may be on its way while others wait for the memory that it holds. From a client
/// a hop away it takes milliseconds.
pub(crate) const PATIENCE: Duration = Duration::from_millis(250);

/// How many bodies may be on their way at once: each takes some memory even without a byte. An API
/// server has 200 edits under way at most, if nobody told it otherwise.
pub(crate) const MOST: usize = 512;

/// The bytes for bodies; a clone is the same budget.
#[derive(Clone)]
pub(crate) struct Budget(Arc<Shared>);

struct Shared {
    ledger: Mutex<Ledger>,
    freed: Notify,
}

struct Ledger {
    free: usize,
    /// The bodies that are on their way, the oldest one first.
    reading: Vec<Reading>,
}

#[derive(Clone)]
struct Reading {
    /// None where nobody knows.
    from: Option<IpAddr>,
    since: Instant,
    cut: CancellationToken,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        let ledger = Mutex::new(Ledger {
            free: bytes,
            reading: Vec::new(),
        });
        Self(Arc::new(Shared {
            ledger,
            freed: Notify::new(),
        }))
    }

    /// The share of a body that is read from now on. If too many are, one of them ends.
    pub(crate) fn share(&self, from: Option<IpAddr>) -> Share {
        let reading = Reading {
            from,
            since: Instant::now(),
            cut: CancellationToken::new(),
        };
        let mut ledger = self.lock();
        if ledger.reading.len() >= MOST {
            let first = ledger.dispensable().unwrap_or_default();
            ledger.cut(first);
        }
        ledger.reading.push(reading.clone());
        drop(ledger);
        Share {
            budget: self.clone(),
            reading,
            bytes: 0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn remove(&mut self, cut: &CancellationToken) {
        self.reading.retain(|reading| reading.cut != *cut);
    }

    /// Which body goes first: the oldest of the address that has most on their way.
    fn dispensable(&self) -> Option<usize> {
        let mut of_address = BTreeMap::<_, usize>::new();
        for reading in &self.reading {
            *of_address.entry(reading.from).or_default() += 1;
        }
        let most = of_address.values().max()?;
        self.reading
            .iter()
            .position(|reading| of_address.get(&reading.from) == Some(most))
    }

    fn cut(&mut self, index: usize) {
        if index < self.reading.len() {
            self.reading.remove(index).cut.cancel();
        }
    }
}

/// What one request holds, given back when it is dropped.
pub(crate) struct Share {
    budget: Budget,
    reading: Reading,
    bytes: usize,
}

impl Share {
    /// Takes bytes, when they are there. Waiting for them ends a body that is still on its way and has
    /// had its time: whoever sends bodies only to hold memory must not keep others out.
    pub(crate) async fn take(&mut self, bytes: usize) {
        loop {
            let shared = Arc::clone(&self.budget.0);
            let mut freed = std::pin::pin!(shared.freed.notified());
            // Before looking, or what is freed in between would be missed.
            freed.as_mut().enable();
            let Some(wait) = self.try_take(bytes) else {
                return;
            };
            // Either way it is looked again.
            let _ = timeout(wait, freed).await;
        }
    }

    /// None if it has them; else how long to wait.
    fn try_take(&mut self, bytes: usize) -> Option<Duration> {
        let mut ledger = self.budget.lock();
        if let Some(free) = ledger.free.checked_sub(bytes) {
            ledger.free = free;
            self.bytes += bytes;
            return None;
        }
        let Some(index) = ledger.dispensable() else {
            return Some(PATIENCE);
        };
        let first = ledger.reading.get(index).filter(|first| first.cut != self.reading.cut);
        let left = first.map_or(PATIENCE, |first| PATIENCE.saturating_sub(first.since.elapsed()));
        if !left.is_zero() {
            return Some(left);
        }
        ledger.cut(index);
        Some(PATIENCE)
    }

    /// Waits until the memory is wanted for others.
    pub(crate) fn cut(&self) -> WaitForCancellationFutureOwned {
        self.reading.cut.clone().cancelled_owned()
    }

    /// The body is whole: nobody cuts it any more.
    pub(crate) fn whole(&self) {
        self.budget.lock().remove(&self.reading.cut);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut ledger = self.budget.lock();
        ledger.free += self.bytes;
        ledger.remove(&self.reading.cut);
        drop(ledger);
        self.budget.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_what_is_given_back() {
        let budget = Budget::new(8);
        let mut first = budget.share(None);
        first.take(6).await;
        first.whole();
        let mut second = budget.share(None);
        second.take(2).await;

        // A whole one is never cut, however long it takes.
        assert!(timeout(10 * PATIENCE, second.take(4)).await.is_err());
        assert!(!first.reading.cut.is_cancelled());
        let given_back = async {
            sleep(PATIENCE / 3).await;
            drop(first);
            Instant::now()
        };
        let waited = async {
            second.take(4).await;
            Instant::now()
        };
        let (given_back, taken) = tokio::join!(given_back, waited);
        assert_eq!(given_back, taken);
        drop(second);
        assert_eq!(budget.lock().free, 8);
        assert!(budget.lock().reading.is_empty());
    }

    #[tokio::test]
    async fn the_crowd_makes_room_first() {
        let [crowd, loner] = [1, 2].map(|last| Some(IpAddr::from([10, 0, 0, last])));
        let budget = Budget::new(8);
        let lone = budget.share(loner);
        let mut many: Vec<Share> = (1..MOST).map(|_| budget.share(crowd)).collect();
        let is_cut = |share: &Share| share.reading.cut.is_cancelled();
        assert!(!many.iter().any(is_cut));
        let second = budget.share(loner);
        assert!(is_cut(&many.remove(0)));
        assert!(!many.iter().chain([&lone, &second]).any(is_cut));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_ends_the_oldest_body_on_its_way_once_it_had_its_time() {
        let budget = Budget::new(8);
        let (mut oldest, mut older) = (budget.share(None), budget.share(None));
        oldest.take(3).await;
        older.take(5).await;
        sleep(PATIENCE / 2).await;

        let mut young = budget.share(None);
        let start = Instant::now();
        let cut = oldest.cut();
        let ends = async {
            cut.await;
            drop(oldest);
            start.elapsed()
        };
        let ((), ended) = tokio::join!(young.take(2), ends);
        assert_eq!(ended, PATIENCE / 2);
        assert!(!older.reading.cut.is_cancelled());
        assert!(!young.reading.cut.is_cancelled());
    }
}
