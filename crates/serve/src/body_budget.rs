//! How much memory all request bodies on a port may take, and which body is cancelled when it is used up.

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

use crate::signal::Signal;

/// How long a body may arrive while other requests wait for its memory. From a client one network hop
/// away a body takes milliseconds.
pub(crate) const MIN_READ_TIME: Duration = Duration::from_millis(250);

/// How many bodies may arrive at once: each takes some memory even without a byte. By default an API
/// server has at most 200 mutating requests in flight.
pub(crate) const MAX_BODIES: usize = 512;

/// The memory for request bodies, in bytes. A clone shares it.
#[derive(Clone)]
pub(crate) struct BodyBudget(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    released: Notify,
}

struct State {
    free: usize,
    /// The bodies that have not arrived completely, oldest first.
    incoming: Vec<IncomingBody>,
}

#[derive(Clone)]
struct IncomingBody {
    peer: IpAddr,
    since: Instant,
    cancelled: Signal,
}

impl BodyBudget {
    pub(crate) fn new(bytes: usize) -> Self {
        let state = Mutex::new(State {
            free: bytes,
            incoming: Vec::new(),
        });
        Self(Arc::new(Shared {
            state,
            released: Notify::new(),
        }))
    }

    /// Registers a body whose reading starts now. Above [`MAX_BODIES`] it cancels another one.
    pub(crate) fn reserve(&self, peer: IpAddr) -> Reservation {
        let body = IncomingBody {
            peer,
            since: Instant::now(),
            cancelled: Signal::default(),
        };
        let mut state = self.lock();
        if state.incoming.len() >= MAX_BODIES {
            let index = state.to_cancel().unwrap_or_default();
            state.cancel(index);
        }
        state.incoming.push(body.clone());
        drop(state);
        Reservation {
            budget: self.clone(),
            body,
            bytes: 0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, body: &IncomingBody) {
        self.incoming.retain(|other| !other.cancelled.is_same(&body.cancelled));
    }

    /// The oldest body of the address that has the most bodies.
    fn to_cancel(&self) -> Option<usize> {
        let mut by_peer = BTreeMap::<_, usize>::new();
        for body in &self.incoming {
            *by_peer.entry(body.peer).or_default() += 1;
        }
        let most = by_peer.values().max()?;
        self.incoming
            .iter()
            .position(|body| by_peer.get(&body.peer) == Some(most))
    }

    fn cancel(&mut self, index: usize) {
        if index < self.incoming.len() {
            self.incoming.remove(index).cancelled.give();
        }
    }
}

/// The memory of one request's body, released on drop.
pub(crate) struct Reservation {
    budget: BodyBudget,
    body: IncomingBody,
    bytes: usize,
}

impl Reservation {
    /// Waits for `bytes` more. Meanwhile it cancels a body that is still arriving after
    /// [`MIN_READ_TIME`]: a client that sends bodies only to hold memory must not keep other clients out.
    pub(crate) async fn grow(&mut self, bytes: usize) {
        // Mostly there is enough, and nothing to wait for.
        if self.try_grow(bytes).is_none() {
            return;
        }
        loop {
            let shared = Arc::clone(&self.budget.0);
            let mut released = std::pin::pin!(shared.released.notified());
            // Enabled before the check, so that a release in between is not missed.
            released.as_mut().enable();
            let Some(wait) = self.try_grow(bytes) else {
                return;
            };
            // Either way it tries again.
            let _ = timeout(wait, released).await;
        }
    }

    /// Returns None on success, else how long to wait before the next try.
    fn try_grow(&mut self, bytes: usize) -> Option<Duration> {
        let mut state = self.budget.lock();
        if let Some(free) = state.free.checked_sub(bytes) {
            state.free = free;
            self.bytes += bytes;
            return None;
        }
        let Some(index) = state.to_cancel() else {
            return Some(MIN_READ_TIME);
        };
        let other = state.incoming.get(index);
        let other = other.filter(|other| !other.cancelled.is_same(&self.body.cancelled));
        let wait = other.map_or(MIN_READ_TIME, |other| {
            MIN_READ_TIME.saturating_sub(other.since.elapsed())
        });
        if !wait.is_zero() {
            return Some(wait);
        }
        state.cancel(index);
        Some(MIN_READ_TIME)
    }

    /// Given when another request needs the memory.
    pub(crate) fn cancelled(&self) -> Signal {
        self.body.cancelled.clone()
    }

    /// The body has arrived completely and is not cancelled any more.
    pub(crate) fn complete(&self) {
        self.budget.lock().remove(&self.body);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.budget.lock();
        state.free += self.bytes;
        state.remove(&self.body);
        drop(state);
        self.budget.0.released.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::time::sleep;

    use super::*;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[tokio::test(start_paused = true)]
    async fn a_waiting_request_gets_what_is_released() {
        let budget = BodyBudget::new(8);
        let mut first = budget.reserve(PEER);
        first.grow(6).await;
        first.complete();
        let mut second = budget.reserve(PEER);
        second.grow(2).await;

        // A complete body is never cancelled, however long it is held.
        assert!(timeout(10 * MIN_READ_TIME, second.grow(4)).await.is_err());
        assert!(!first.body.cancelled.is_given());
        let drops = async {
            sleep(MIN_READ_TIME / 3).await;
            drop(first);
            Instant::now()
        };
        let grows = async {
            second.grow(4).await;
            Instant::now()
        };
        let (dropped_at, grown_at) = tokio::join!(drops, grows);
        assert_eq!(dropped_at, grown_at);
        drop(second);
        assert_eq!(budget.lock().free, 8);
        assert!(budget.lock().incoming.is_empty());
    }

    #[tokio::test]
    async fn the_busiest_address_loses_a_body_first() {
        let [crowd, loner] = [1, 2].map(|last| IpAddr::from([10, 0, 0, last]));
        let budget = BodyBudget::new(8);
        let lone = budget.reserve(loner);
        let mut many: Vec<Reservation> = (1..MAX_BODIES).map(|_| budget.reserve(crowd)).collect();
        let is_cancelled = |reservation: &Reservation| reservation.body.cancelled.is_given();
        assert!(!many.iter().any(is_cancelled));
        let second = budget.reserve(loner);
        assert!(is_cancelled(&many.remove(0)));
        assert!(!many.iter().chain([&lone, &second]).any(is_cancelled));
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_request_cancels_the_oldest_body_after_its_minimum_time() {
        let budget = BodyBudget::new(8);
        let (mut oldest, mut older) = (budget.reserve(PEER), budget.reserve(PEER));
        oldest.grow(3).await;
        older.grow(5).await;
        sleep(MIN_READ_TIME / 2).await;

        let mut young = budget.reserve(PEER);
        let start = Instant::now();
        let cancelled = oldest.cancelled();
        let ends = async {
            cancelled.given().await;
            drop(oldest);
            start.elapsed()
        };
        let ((), ended) = tokio::join!(young.grow(2), ends);
        assert_eq!(ended, MIN_READ_TIME / 2);
        assert!(!older.body.cancelled.is_given());
        assert!(!young.body.cancelled.is_given());
    }
}
