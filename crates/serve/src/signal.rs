//! A signal that is given once, to one task.
//!
//! tokio's `CancellationToken` has a tree and a lock for that, which each request and each read of a connection would
//! pay for.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use futures::task::AtomicWaker;

/// A signal. A clone is the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signal(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    given: AtomicBool,
    waiting: AtomicWaker,
}

impl Signal {
    pub(crate) fn give(&self) {
        self.0.given.store(true, Ordering::Release);
        self.0.waiting.wake();
    }

    pub(crate) fn is_given(&self) -> bool {
        self.0.given.load(Ordering::Acquire)
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Ready once it is given. Of several tasks, only the last that has polled is woken.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_given() {
            self.0.waiting.register(cx.waker());
            // It may have been given before this task was registered.
            if !self.is_given() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// Completes once it is given.
    pub(crate) async fn given(&self) {
        poll_fn(|cx| self.poll(cx)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_waits_is_woken_and_one_that_comes_later_does_not_wait() {
        let (signal, other) = (Signal::default(), Signal::default());
        assert!(!signal.is_same(&other));
        let waits = tokio::spawn({
            let signal = signal.clone();
            async move { signal.given().await }
        });
        tokio::task::yield_now().await;
        assert!(!signal.is_given());
        signal.give();
        waits.await.unwrap();
        signal.given().await;
        assert!(!other.is_given());
    }
}
