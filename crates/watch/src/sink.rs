//! Where the events of a watch go.

use kube::runtime::watcher::Event;

use crate::WatchState;

/// Takes in what a watch brings.
pub trait Sink<O>: Send {
    /// Takes an event in. What is wrong with the object is logged here.
    fn apply(&mut self, event: Event<O>);

    /// Gives up the list that comes in.
    fn abandon_list(&mut self);

    /// The state of the watch, when it may have changed. Where it is [`NotServed`](WatchState::NotServed),
    /// there are no objects.
    fn set_state(&mut self, state: WatchState);

    /// How many objects there are, and how many of them can't be decoded.
    fn counts(&self) -> (usize, usize);
}
