//! The places for connections on a port, and who loses one when all are taken.

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
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// What became of connections for which there was no place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turned {
    /// Closed at once, since a request was under way on each of the others.
    pub(crate) refused: Counter,
    /// Closed for another one, since no request was under way on it.
    pub(crate) displaced: Counter,
}

/// The places of a port; a clone is the same places.
#[derive(Clone)]
pub(crate) struct Places {
    seats: Arc<Mutex<Vec<Arc<Seat>>>>,
    most: usize,
    turned: Turned,
}

/// One connection's place.
#[derive(Debug)]
struct Seat {
    from: IpAddr,
    /// Whether the head of a request has been read.
    asked: AtomicBool,
    /// How many requests are under way.
    requests: AtomicUsize,
    /// When the last one ended; at first, when the connection began.
    silent_since: Mutex<Instant>,
    lost: CancellationToken,
}

impl Places {
    pub(crate) fn new(most: usize, turned: Turned) -> Self {
        Self {
            seats: Arc::default(),
            most,
            turned,
        }
    }

    /// A place for a connection from an address, if need be that of another one.
    ///
    /// Who opens connections only to hold them must not keep others out. So one goes on which no
    /// request is under way: of the address that has most, one that never asked anything before one
    /// that did, and of those the one that has been silent for longest.
    pub(crate) fn take(&self, from: IpAddr) -> Option<Place> {
        let seat = Arc::new(Seat {
            from,
            asked: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            silent_since: Mutex::new(Instant::now()),
            lost: CancellationToken::new(),
        });
        let mut seats = self.lock();
        if seats.len() >= self.most {
            let Some(index) = dispensable(&seats) else {
                self.turned.refused.inc();
                return None;
            };
            self.turned.displaced.inc();
            seats.swap_remove(index).lost.cancel();
        }
        seats.push(Arc::clone(&seat));
        drop(seats);
        Some(Place {
            seat,
            places: self.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn dispensable(seats: &[Arc<Seat>]) -> Option<usize> {
    let mut of_address = BTreeMap::<_, usize>::new();
    for seat in seats {
        *of_address.entry(seat.from).or_default() += 1;
    }
    let silent = seats
        .iter()
        .enumerate()
        .filter(|(_, seat)| seat.requests.load(Ordering::Relaxed) == 0);
    let dispensable = silent.max_by_key(|(_, seat)| {
        let since = *seat.silent_since.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = seat.asked.load(Ordering::Relaxed);
        (of_address.get(&seat.from), !asked, Reverse(since))
    });
    dispensable.map(|(index, _)| index)
}

/// A connection's place, given back when it is dropped.
pub(crate) struct Place {
    seat: Arc<Seat>,
    places: Places,
}

impl Place {
    /// Whose requests are counted.
    pub(crate) fn asked(&self) -> Asked {
        Asked(Arc::clone(&self.seat))
    }

    /// Waits until another connection gets this place.
    pub(crate) fn lost(&self) -> WaitForCancellationFutureOwned {
        self.seat.lost.clone().cancelled_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().retain(|seat| !Arc::ptr_eq(seat, &self.seat));
    }
}

/// The requests of one connection. Part of every request.
#[derive(Clone, Debug)]
pub(crate) struct Asked(Arc<Seat>);

impl Asked {
    /// A request is under way until what this gives is dropped.
    pub(crate) fn begin(&self) -> UnderWay {
        self.0.asked.store(true, Ordering::Relaxed);
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(&self.0))
    }

    /// Where the connection comes from.
    pub(crate) fn from(&self) -> IpAddr {
        self.0.from
    }

    /// Whether the head of a request has been read.
    pub(crate) fn once(&self) -> bool {
        self.0.asked.load(Ordering::Relaxed)
    }
}

/// A request that is under way.
pub(crate) struct UnderWay(Arc<Seat>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        *self.0.silent_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const CROWD: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const LONER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

    fn lost(place: &Place) -> bool {
        place.seat.lost.is_cancelled()
    }

    #[test]
    fn the_crowd_makes_room_first_then_who_never_asked_then_who_is_silent_for_longest() {
        let turned = Turned::default();
        let places = Places::new(5, turned.clone());
        let take = |from| places.take(from).unwrap();
        let loner = take(LONER);
        let [asked_first, asked_last, mute_first, mute_last] = [CROWD; 4].map(take);
        drop(asked_first.asked().begin());
        drop(asked_last.asked().begin());
        drop(loner.asked().begin());

        let order = [&mute_first, &mute_last, &asked_first, &asked_last];
        let mut taken = Vec::new();
        for (newcomer, next) in (3..).zip(order) {
            assert!(!lost(next), "{newcomer}");
            let place = take(Ipv4Addr::new(10, 0, 0, newcomer).into());
            // A request is under way, so that it stays.
            taken.push((place.asked().begin(), place));
            assert!(lost(next), "{newcomer}");
        }
        assert!(!lost(&loner));
        assert_eq!(turned.displaced.get(), 4);

        let busy = loner.asked().begin();
        assert!(places.take(CROWD).is_none());
        assert_eq!(turned.refused.get(), 1);
        drop(busy);
        assert!(places.take(CROWD).is_some());
        assert!(lost(&loner));
    }

    #[test]
    fn a_place_is_given_back_once() {
        let places = Places::new(1, Turned::default());
        let displaced = places.take(CROWD).unwrap();
        let place = places.take(CROWD).unwrap();
        let busy = place.asked().begin();
        drop(displaced);
        assert!(places.take(CROWD).is_none());
        drop((busy, place));
        assert!(places.lock().is_empty());
    }
}
