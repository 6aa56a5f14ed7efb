//! How many connections a port holds, and which one is closed when all slots are taken.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use prometheus_client::metrics::counter::Counter;

use crate::signal::Signal;

/// Counts the connections that were closed because all slots were taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionMetrics {
    /// Closed at once, because every other connection had a request under way.
    pub(crate) refused: Counter,
    /// Closed to make room for a new connection, because it had no request under way.
    pub(crate) displaced: Counter,
}

/// The slots for connections on one port. A clone shares them.
#[derive(Clone)]
pub(crate) struct ConnectionLimiter {
    slots: Arc<Mutex<Vec<Arc<ConnectionSlot>>>>,
    max: usize,
    metrics: ConnectionMetrics,
}

/// The slot of one connection, and what decides whether it may be displaced.
#[derive(Debug)]
struct ConnectionSlot {
    peer: IpAddr,
    /// Whether the head of a request has been read.
    has_requested: AtomicBool,
    active_requests: AtomicUsize,
    /// The end of the last request; before the first one, the start of the connection.
    idle_since: Mutex<Instant>,
    displaced: Signal,
}

impl ConnectionLimiter {
    pub(crate) fn new(max: usize, metrics: ConnectionMetrics) -> Self {
        Self {
            slots: Arc::default(),
            max,
            metrics,
        }
    }

    /// Gives a slot to a connection from `peer`; if all are taken, it displaces an idle connection.
    ///
    /// A client that opens connections only to hold them must not keep other clients out. So the
    /// displaced connection has no request under way, and comes from the address with the most
    /// connections. Among those, one without any request so far goes first, then the one that has been
    /// idle for longest. Returns None if every connection has a request under way.
    pub(crate) fn acquire(&self, peer: IpAddr) -> Option<SlotGuard> {
        let slot = Arc::new(ConnectionSlot {
            peer,
            has_requested: AtomicBool::new(false),
            active_requests: AtomicUsize::new(0),
            idle_since: Mutex::new(Instant::now()),
            displaced: Signal::default(),
        });
        let mut slots = self.lock();
        if slots.len() >= self.max {
            let Some(index) = to_displace(&slots) else {
                self.metrics.refused.inc();
                return None;
            };
            self.metrics.displaced.inc();
            slots.swap_remove(index).displaced.give();
        }
        slots.push(Arc::clone(&slot));
        drop(slots);
        Some(SlotGuard {
            slot,
            limiter: self.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<ConnectionSlot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn to_displace(slots: &[Arc<ConnectionSlot>]) -> Option<usize> {
    let mut by_peer = BTreeMap::<_, usize>::new();
    for slot in slots {
        *by_peer.entry(slot.peer).or_default() += 1;
    }
    let idle = slots
        .iter()
        .enumerate()
        .filter(|(_, slot)| slot.active_requests.load(Ordering::Relaxed) == 0);
    let chosen = idle.max_by_key(|(_, slot)| {
        let idle_since = *slot.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
        let has_requested = slot.has_requested.load(Ordering::Relaxed);
        (by_peer.get(&slot.peer), !has_requested, Reverse(idle_since))
    });
    chosen.map(|(index, _)| index)
}

/// Holds a connection's slot until it is dropped.
pub(crate) struct SlotGuard {
    slot: Arc<ConnectionSlot>,
    limiter: ConnectionLimiter,
}

impl SlotGuard {
    pub(crate) fn requests(&self) -> ConnectionRequests {
        ConnectionRequests(Arc::clone(&self.slot))
    }

    /// Given when a new connection takes this slot.
    pub(crate) fn displaced(&self) -> Signal {
        self.slot.displaced.clone()
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        self.limiter.lock().retain(|slot| !Arc::ptr_eq(slot, &self.slot));
    }
}

/// Counts the requests of one connection.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionRequests(Arc<ConnectionSlot>);

impl ConnectionRequests {
    /// Counts a request as under way until the guard is dropped.
    pub(crate) fn begin(&self) -> RequestGuard {
        self.0.has_requested.store(true, Ordering::Relaxed);
        self.0.active_requests.fetch_add(1, Ordering::Relaxed);
        RequestGuard(Arc::clone(&self.0))
    }

    pub(crate) fn peer(&self) -> IpAddr {
        self.0.peer
    }

    /// Whether the head of a request has been read on this connection.
    pub(crate) fn has_requested(&self) -> bool {
        self.0.has_requested.load(Ordering::Relaxed)
    }
}

/// Counts one request as under way until it is dropped.
pub(crate) struct RequestGuard(Arc<ConnectionSlot>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        *self.0.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.active_requests.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const CROWD: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const LONER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

    fn displaced(guard: &SlotGuard) -> bool {
        guard.slot.displaced.is_given()
    }

    #[test]
    fn the_busiest_address_loses_a_slot_first_then_who_never_requested_then_who_is_idle_for_longest() {
        let metrics = ConnectionMetrics::default();
        let limiter = ConnectionLimiter::new(5, metrics.clone());
        let acquire = |peer| limiter.acquire(peer).unwrap();
        let loner = acquire(LONER);
        let [requested_first, requested_last, silent_first, silent_last] = [CROWD; 4].map(acquire);
        drop(requested_first.requests().begin());
        drop(requested_last.requests().begin());
        drop(loner.requests().begin());

        let order = [&silent_first, &silent_last, &requested_first, &requested_last];
        let mut acquired = Vec::new();
        for (newcomer, next) in (3..).zip(order) {
            assert!(!displaced(next), "{newcomer}");
            let guard = acquire(Ipv4Addr::new(10, 0, 0, newcomer).into());
            // With a request under way it is not displaced.
            acquired.push((guard.requests().begin(), guard));
            assert!(displaced(next), "{newcomer}");
        }
        assert!(!displaced(&loner));
        assert_eq!(metrics.displaced.get(), 4);

        let busy = loner.requests().begin();
        assert!(limiter.acquire(CROWD).is_none());
        assert_eq!(metrics.refused.get(), 1);
        drop(busy);
        assert!(limiter.acquire(CROWD).is_some());
        assert!(displaced(&loner));
    }

    #[test]
    fn a_slot_is_released_once() {
        let limiter = ConnectionLimiter::new(1, ConnectionMetrics::default());
        let displaced = limiter.acquire(CROWD).unwrap();
        let guard = limiter.acquire(CROWD).unwrap();
        let busy = guard.requests().begin();
        drop(displaced);
        assert!(limiter.acquire(CROWD).is_none());
        drop((busy, guard));
        assert!(limiter.lock().is_empty());
    }
}
