//! When the kinds that something refers to have had a first answer.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use instar_serve::{Part, Readiness};

/// A part of readiness: ready once all that may refer to a kind is listed, and every kind that it refers to has
/// had an answer, whatever it is.
#[derive(Debug)]
pub struct FirstAnswers {
    readiness: Readiness,
    part: Part,
    lists: Vec<&'static str>,
    awaited: AtomicUsize,
}

impl FirstAnswers {
    /// `lists` are the parts of those that may refer to a kind.
    #[must_use]
    pub fn new(readiness: &Readiness, part: &'static str, lists: Vec<&'static str>) -> Arc<Self> {
        Arc::new(Self {
            part: readiness.part(part),
            readiness: readiness.clone(),
            lists,
            awaited: AtomicUsize::new(0),
        })
    }

    pub(crate) fn expect(self: &Arc<Self>) -> Expected {
        self.awaited.fetch_add(1, Ordering::Relaxed);
        Expected(Arc::clone(self))
    }

    /// Looks whether all answers are there. To be called when a list is complete.
    pub fn settle(&self) {
        // The server's own port is another matter: it may be awaited for longer than any list.
        let others_are_there = !self.readiness.awaited().iter().any(|name| self.lists.contains(name));
        if others_are_there && self.awaited.load(Ordering::Relaxed) == 0 {
            self.part.ready();
        }
    }
}

/// A kind that has had no answer yet.
#[derive(Debug)]
pub(crate) struct Expected(Arc<FirstAnswers>);

impl Drop for Expected {
    fn drop(&mut self) {
        self.0.awaited.fetch_sub(1, Ordering::Relaxed);
        self.0.settle();
    }
}
