//! So many calls about one kind at once. The API server answers none of them while the conversion webhook of the
//! kind's provider hangs, and a pass waits for each until its deadline: the passes over all Clusters of that provider
//! would leave no room for one over any other.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::api::{CALLS_OF_KIND, Error};

/// How long a pass waits for its turn. Calls that are answered take much less.
const PATIENCE: Duration = Duration::from_secs(1);

/// By group and kind.
#[derive(Default)]
pub(super) struct Limits(Mutex<HashMap<(String, String), Arc<Limit>>>);

struct Limit {
    calls: Semaphore,
    /// No turn came in time, or a call had no answer: nobody waits for a turn before one has an answer again.
    is_silent: AtomicBool,
}

impl Limits {
    /// Makes calls about a kind when it is their turn.
    pub(super) async fn call<T>(
        &self,
        group: &str,
        kind: &str,
        calls: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let limit = {
            let mut limits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(limits.entry((group.to_owned(), kind.to_owned())).or_default())
        };
        let Some(_turn) = limit.turn().await else {
            return Err(Error::NoTurn {
                group: group.to_owned(),
                kind: kind.to_owned(),
            });
        };
        let answer = calls.await;
        let is_silent = matches!(answer, Err(Error::Silence { .. }));
        limit.is_silent.store(is_silent, Ordering::Relaxed);
        answer
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self {
            calls: Semaphore::new(CALLS_OF_KIND),
            is_silent: AtomicBool::new(false),
        }
    }
}

impl Limit {
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        if self.is_silent.load(Ordering::Relaxed) {
            return self.calls.try_acquire().ok();
        }
        let turn = timeout(PATIENCE, self.calls.acquire()).await.ok();
        if turn.is_none() {
            self.is_silent.store(true, Ordering::Relaxed);
        }
        // It is never closed.
        turn.and_then(Result::ok)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        future::pending,
    };

    use instar_watch::Key;
    use tokio::{
        select,
        sync::mpsc::unbounded_channel,
        time::{Instant, sleep},
    };

    use super::*;
    use crate::{
        api::call,
        queue::{Next, work},
    };

    async fn about<T>(
        limits: &Limits,
        kind: &str,
        calls: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Error> {
        limits.call("g", kind, call(|| "reading".to_owned(), calls)).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_has_no_answer_leaves_room_for_the_others() {
        let (wake, mut woken) = unbounded_channel();
        let limits = Limits::default();
        let began = Instant::now();
        let answered = RefCell::new(Vec::new());
        let (held, most) = (Cell::new(0), Cell::new(0));
        let pass = |cluster: Key| {
            let (limits, answered, held, most) = (&limits, &answered, &held, &most);
            async move {
                if cluster.name().starts_with("other") {
                    about(limits, "Other", async { Ok(()) }).await.unwrap();
                    answered.borrow_mut().push(began.elapsed());
                    return Next::OnChange;
                }
                held.set(held.get() + 1);
                let late = began.elapsed() > PATIENCE;
                let turn = Instant::now();
                about(limits, "Hanging", pending::<Result<(), _>>()).await.unwrap_err();
                if late && turn.elapsed() > Duration::ZERO {
                    most.set(most.get().max(held.get()));
                }
                held.set(held.get() - 1);
                Next::After(Duration::from_secs(1))
            }
        };
        for number in 0..200 {
            wake.send(Key::new("n", &format!("hanging-{number}"))).unwrap();
        }
        let others = async {
            for number in 0..100 {
                sleep(Duration::from_secs(3)).await;
                wake.send(Key::new("n", &format!("other-{number}"))).unwrap();
            }
            sleep(PATIENCE).await;
        };
        select! {
            () = work(&mut woken, 16, pass) => panic!("the sender is here"),
            () = others => {}
        }
        let late: Vec<Duration> = (1..)
            .zip(&*answered.borrow())
            .map(|(number, at): (u64, _)| at.saturating_sub(Duration::from_secs(3 * number)))
            .collect();
        assert_eq!(late.len(), 100);
        assert!(late.iter().all(|late| *late <= PATIENCE), "{late:?}");
        assert_eq!(most.get(), CALLS_OF_KIND);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_answered_waits_for_its_turn() {
        let limits = Limits::default();
        let slow = || {
            about(&limits, "Slow", async {
                sleep(Duration::from_millis(100)).await;
                Ok(())
            })
        };
        let all = futures::future::join_all((0..32).map(|_| slow())).await;
        assert!(all.iter().all(Result::is_ok), "{all:?}");

        let silent = about(&limits, "Slow", pending::<Result<(), _>>()).await.unwrap_err();
        assert_eq!(silent.to_string(), "reading: no answer in 15 s");
        // One that is answered makes the others wait again.
        slow().await.unwrap();
        let all = futures::future::join_all((0..8).map(|_| slow())).await;
        assert!(all.iter().all(Result::is_ok), "{all:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_no_turn_is_told_why() {
        let limits = Limits::default();
        let hang = || about(&limits, "Hanging", pending::<Result<(), _>>());
        let mut all = futures::future::join_all((0..=CALLS_OF_KIND).map(|_| hang())).await;
        assert_eq!(
            all.pop().unwrap().unwrap_err().to_string(),
            "4 calls about Hanging.g have no answer yet, so no other one is made: see whether the conversion webhook of \
             its CustomResourceDefinition answers"
        );
    }
}
