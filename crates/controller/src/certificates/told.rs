//! What was said of a pass that didn't end well, so that nothing is said twice.

use std::time::Duration;

use tokio::time::Instant;

/// How long a wait is nothing to speak of. A rollout of the servers is over by then; after it, what is waited for doesn't come
/// by itself, and a CA that may have leaked stays trusted meanwhile.
pub(super) const LONG: Duration = Duration::from_mins(15);

/// What was said.
#[derive(Debug, Default)]
pub(crate) struct Told {
    text: String,
    wait: Option<Wait>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    since: Instant,
    length: Length,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Short,
    Long,
}

/// What is said of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Say {
    Nothing,
    Logged,
    /// Once, by an Event: it has become long.
    Published,
}

impl Told {
    /// Nothing is waited for, and nothing failed.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether an error is another one than that of before.
    pub(super) fn is_news(&mut self, error: &str) -> bool {
        self.wait = None;
        self.replaces(error)
    }

    /// That this is waited for. Which server of several is named may change, so one wait after the other counts as one.
    pub(super) fn waits(&mut self, what: &str, now: Instant) -> Say {
        let wait = self.wait.get_or_insert(Wait {
            since: now,
            length: Length::Short,
        });
        if wait.length == Length::Short && now.duration_since(wait.since) >= LONG {
            wait.length = Length::Long;
            what.clone_into(&mut self.text);
            return Say::Published;
        }
        if self.replaces(what) { Say::Logged } else { Say::Nothing }
    }

    /// Whether the present wait is a long one.
    pub(super) fn waits_long(&self) -> bool {
        self.wait.is_some_and(|wait| wait.length == Length::Long)
    }

    fn replaces(&mut self, text: &str) -> bool {
        let is_news = self.text != text;
        text.clone_into(&mut self.text);
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_wait_is_published_once() {
        let begin = Instant::now();
        let at = |minutes| begin + Duration::from_mins(minutes);
        let mut told = Told::default();
        assert_eq!(told.waits("a", at(0)), Say::Logged);
        assert_eq!(told.waits("a", at(1)), Say::Nothing);
        assert_eq!(told.waits("b", at(14)), Say::Logged);
        assert!(!told.waits_long());
        assert_eq!(told.waits("b", at(15)), Say::Published);
        assert!(told.waits_long());
        assert_eq!(told.waits("b", at(16)), Say::Nothing);
        assert_eq!(told.waits("a", at(99)), Say::Logged);
        told.clear();
        assert_eq!(told.waits("a", at(100)), Say::Logged);
        assert_eq!(told.waits("a", at(114)), Say::Nothing);
        assert!(told.is_news("error") && !told.is_news("error"));
        assert_eq!(told.waits("a", at(120)), Say::Logged);
    }
}
