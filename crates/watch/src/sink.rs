//! Where the events of a watch go.

use kube::runtime::watcher::Event;

use crate::WatchState;

/// What is kept of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The objects.
    pub objects: usize,
    /// Those of them that can't be decoded.
    pub unreadable: usize,
    /// What they take: see [`Index::bytes`](crate::Index::bytes).
    pub bytes: usize,
}

/// Takes in what a watch brings.
pub trait Sink<O>: Send {
    /// Takes an event in. What is wrong with the object is logged here.
    fn apply(&mut self, event: Event<O>);

    /// Gives up the list that comes in.
    fn abandon_list(&mut self);

    /// The state of the watch, when it may have changed. Where it is [`NotServed`](WatchState::NotServed),
    /// there are no objects.
    fn set_state(&mut self, state: WatchState);

    /// What is kept.
    fn counts(&self) -> Counts;
}
