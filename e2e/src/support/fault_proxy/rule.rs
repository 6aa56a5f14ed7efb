//! Which requests a fault is for.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use fastrand::Rng;

use super::{
    fault::Fault,
    request::{Class, ObservedRequest, Verb},
};

/// A fault, and the requests that it is for.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The requests.
    pub when: Matcher,
    /// The fault.
    pub what: Fault,
}

/// Which verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbs {
    /// All.
    Any,
    /// Those of a class.
    Class(Class),
    /// One.
    One(Verb),
}

impl From<Class> for Verbs {
    fn from(class: Class) -> Self {
        Self::Class(class)
    }
}

impl From<Verb> for Verbs {
    fn from(verb: Verb) -> Self {
        Self::One(verb)
    }
}

/// Which of the requests that match, counted from 1 since the rule was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// One of them.
    Nth(u64),
    /// This one, and from there on each that many requests later.
    Every {
        /// The first one.
        first: u64,
        /// How many later is the next one.
        step: u64,
    },
    /// Each with a probability; the same requests in the same order meet the same fate.
    Chance {
        /// Of a hundred.
        percent: u8,
        /// What the dice start from.
        seed: u64,
    },
}

type Predicate = dyn Fn(&ObservedRequest) -> bool + Send + Sync;

/// The requests that a rule is for.
#[derive(Clone)]
pub struct Matcher {
    verbs: Verbs,
    resource: Option<String>,
    only: Option<Arc<Predicate>>,
    which: Which,
}

impl Matcher {
    /// All requests of a verb or a class of verbs.
    #[must_use]
    pub fn on(verbs: impl Into<Verbs>) -> Self {
        Self {
            verbs: verbs.into(),
            resource: None,
            only: None,
            which: Which::All,
        }
    }

    /// Only those of a resource: `clusters`.
    #[must_use]
    pub fn of(mut self, resource: &str) -> Self {
        self.resource = Some(resource.to_owned());
        self
    }

    /// Only those that a test chooses.
    #[must_use]
    pub fn only(mut self, only: impl Fn(&ObservedRequest) -> bool + Send + Sync + 'static) -> Self {
        self.only = Some(Arc::new(only));
        self
    }

    /// Only some of those that match until here.
    #[must_use]
    pub const fn which(mut self, which: Which) -> Self {
        self.which = which;
        self
    }

    fn matches(&self, request: &ObservedRequest) -> bool {
        let verb = match self.verbs {
            Verbs::Any => true,
            Verbs::Class(class) => request.verb.class() == class,
            Verbs::One(verb) => request.verb == verb,
        };
        verb && self.resource.as_ref().is_none_or(|of| *of == request.resource)
            && self.only.as_ref().is_none_or(|only| only(request))
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matcher")
            .field("verbs", &self.verbs)
            .field("resource", &self.resource)
            .field("which", &self.which)
            .finish_non_exhaustive()
    }
}

/// A rule, and how often it was met.
#[derive(Debug)]
struct Armed {
    rule: Rule,
    met: u64,
    dice: Rng,
}

impl Armed {
    fn new(rule: Rule) -> Self {
        let seed = match rule.when.which {
            Which::Chance { seed, .. } => seed,
            Which::All | Which::Nth(_) | Which::Every { .. } => 0,
        };
        Self {
            rule,
            met: 0,
            dice: Rng::with_seed(seed),
        }
    }

    fn strikes(&mut self, request: &ObservedRequest) -> bool {
        if !self.rule.what.suits(request) || !self.rule.when.matches(request) {
            return false;
        }
        self.met += 1;
        match self.rule.when.which {
            Which::All => true,
            Which::Nth(nth) => self.met == nth,
            Which::Every { first, step } => self.met >= first && (self.met - first).is_multiple_of(step),
            Which::Chance { percent, .. } => self.dice.u8(0..100) < percent,
        }
    }
}

/// The rules that are in force.
#[derive(Debug, Default)]
pub(super) struct Rules(Mutex<Vec<Armed>>);

impl Rules {
    pub(super) fn set(&self, rules: impl IntoIterator<Item = Rule>) {
        *self.lock() = rules.into_iter().map(Armed::new).collect();
    }

    pub(super) fn add(&self, rule: Rule) {
        self.lock().push(Armed::new(rule));
    }

    /// The fault for a request: that of the first rule that strikes. Every rule counts it.
    /// `taken` is called before the next request is looked at, so that numbers tell the order.
    pub(super) fn choose<T>(
        &self,
        request: &ObservedRequest,
        taken: impl FnOnce(Option<&Fault>) -> T,
    ) -> (Option<Fault>, T) {
        let mut rules = self.lock();
        let mut chosen = None;
        for armed in rules.iter_mut() {
            if armed.strikes(request) && chosen.is_none() {
                chosen = Some(armed.rule.what.clone());
            }
        }
        let taken = taken(chosen.as_ref());
        (chosen, taken)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Armed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Bytes, http::Request};

    use super::*;

    fn struck(when: Matcher, requests: usize) -> Vec<usize> {
        let rules = Rules::default();
        rules.set([Rule {
            when,
            what: Fault::DropReply,
        }]);
        let parts = Request::get("/api/v1/pods").body(()).unwrap().into_parts().0;
        let request = ObservedRequest::read(&parts, &Bytes::new());
        let struck = (1..=requests).filter(|_| rules.choose(&request, |_| ()).0.is_some());
        struck.collect()
    }

    #[test]
    fn some_of_those_that_match() {
        let pods = |which| Matcher::on(Class::Read).of("pods").which(which);
        assert_eq!(struck(pods(Which::All), 3), [1, 2, 3]);
        assert_eq!(struck(pods(Which::Nth(2)), 4), [2]);
        assert_eq!(struck(pods(Which::Every { first: 1, step: 2 }), 5), [1, 3, 5]);
        assert_eq!(struck(Matcher::on(Class::Write), 3), [0_usize; 0]);
        assert_eq!(struck(Matcher::on(Verb::List).of("nodes"), 3), [0_usize; 0]);
        assert_eq!(struck(Matcher::on(Verb::List).only(|_| false), 3), [0_usize; 0]);
    }

    #[test]
    fn a_chance_is_the_same_each_time() {
        let chance = || Matcher::on(Verbs::Any).which(Which::Chance { percent: 30, seed: 7 });
        let once = struck(chance(), 1000);
        assert_eq!(once, struck(chance(), 1000));
        assert!((200..400).contains(&once.len()), "{}", once.len());
    }
}
