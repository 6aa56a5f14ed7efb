//! The queue of Clusters: one pass over each at a time, and so many at once.
//!
//! kube's own `applier` begins each pass with an object of a reflector's store. Here a pass is about a name: the
//! Cluster may be gone, or one that can't be decoded, and what is asked of it has to hear that too.

use std::{cell::RefCell, collections::HashSet, pin::pin, time::Duration};

use futures::{
    StreamExt,
    stream::{FuturesUnordered, poll_fn},
};
use instar_watch::Key;
use kube::runtime::scheduler::{ScheduleRequest, scheduler};
use tokio::{
    select,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::Instant,
};
/// When a Cluster is looked at again, if nothing wakes it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// When something about it changes.
    OnChange,
    /// After so long.
    After(Duration),
}

/// Passes over each Cluster that is woken, until nothing can wake one any more. One that is woken while its pass
/// runs is looked at again after it.
pub(crate) async fn work<F: Future<Output = Next>>(
    woken: &mut UnboundedReceiver<Key>,
    at_once: usize,
    pass: impl Fn(Key) -> F,
) {
    let (requests, mut requested) = unbounded_channel();
    let mut scheduled = pin!(scheduler(poll_fn(|task| requested.poll_recv(task))));
    // The receiver is here.
    let schedule = |message, run_at| drop(requests.send(ScheduleRequest { message, run_at }));
    let under_way = RefCell::new(HashSet::<Key>::new());
    let may_begin = |cluster: &Key| {
        let under_way = under_way.borrow();
        under_way.len() < at_once && !under_way.contains(cluster)
    };
    let mut passes = FuturesUnordered::new();
    loop {
        let mut due = scheduled.as_mut().hold_unless(may_begin);
        select! {
            cluster = woken.recv() => match cluster {
                Some(cluster) => schedule(cluster, Instant::now()),
                None => return,
            },
            Some(cluster) = due.next() => {
                under_way.borrow_mut().insert(cluster.clone());
                let pass = pass(cluster.clone());
                passes.push(async { (cluster, pass.await) });
            }
            Some((cluster, next)) = passes.next() => {
                under_way.borrow_mut().remove(&cluster);
                match next {
                    Next::OnChange => {}
                    Next::After(delay) => schedule(cluster, Instant::now() + delay),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, collections::BTreeMap};

    use tokio::time::{sleep, timeout};

    use super::*;

    fn key(name: &str) -> Key {
        Key::new("n", name)
    }

    #[tokio::test(start_paused = true)]
    async fn one_pass_over_each_cluster_at_a_time_and_so_many_at_once() {
        let (wake, mut woken) = unbounded_channel();
        let running = RefCell::new(BTreeMap::<Key, u32>::new());
        let (most, passes) = (Cell::new(0), Cell::new(0));
        let pass = |cluster: Key| {
            let (running, most, passes) = (&running, &most, &passes);
            async move {
                let others = running.borrow_mut().insert(cluster.clone(), 1);
                assert_eq!(others, None, "two passes over {cluster}");
                most.set(most.get().max(running.borrow().len()));
                sleep(Duration::from_secs(1)).await;
                running.borrow_mut().remove(&cluster);
                passes.set(passes.get() + 1);
                Next::OnChange
            }
        };
        for _ in 0..2 {
            for name in ["a", "b", "c"] {
                wake.send(key(name)).unwrap();
            }
        }
        let wakes_again = async {
            sleep(Duration::from_millis(1500)).await;
            wake.send(key("a")).unwrap();
            sleep(Duration::from_mins(1)).await;
        };
        select! {
            () = work(&mut woken, 2, pass) => panic!("the sender is here"),
            () = wakes_again => {}
        }
        assert_eq!(most.get(), 2);
        // Each at least once, and one again that was woken later.
        assert!((4..=7).contains(&passes.get()), "{}", passes.get());
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_comes_again_when_it_is_time_or_when_it_is_woken() {
        let (wake, mut woken) = unbounded_channel();
        let began = Instant::now();
        let times = RefCell::new(Vec::new());
        let pass = |_| {
            times.borrow_mut().push(began.elapsed().as_secs());
            let next = if times.borrow().len() < 3 {
                Next::After(Duration::from_secs(10))
            } else {
                Next::OnChange
            };
            std::future::ready(next)
        };
        wake.send(key("a")).unwrap();
        let wakes = async {
            sleep(Duration::from_secs(13)).await;
            wake.send(key("a")).unwrap();
            sleep(Duration::from_hours(1)).await;
        };
        select! {
            () = work(&mut woken, 2, pass) => panic!("the sender is here"),
            () = wakes => {}
        }
        assert_eq!(*times.borrow(), [0, 10, 13]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_with_what_wakes() {
        let (wake, mut woken) = unbounded_channel();
        drop(wake);
        let ended = timeout(
            Duration::from_secs(1),
            work(&mut woken, 1, |_| std::future::ready(Next::OnChange)),
        );
        assert!(ended.await.is_ok());
    }
}
