//! How long a Cluster waits after a failure: longer with each, by what failed.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kube::runtime::reflector::ObjectRef;

use crate::{api::Class, views::Cluster};

/// How often each Cluster failed in a row.
#[derive(Debug, Default)]
pub(crate) struct Backoffs {
    failures: Mutex<HashMap<ObjectRef<Cluster>, u32>>,
}

impl Backoffs {
    /// One more failure: how long to wait.
    pub(crate) fn failed(&self, cluster: ObjectRef<Cluster>, class: Class) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(cluster).or_default();
        let delay = delay(class, *count);
        *count = count.saturating_add(1);
        delay
    }

    /// It went well.
    pub(crate) fn succeeded(&self, cluster: &ObjectRef<Cluster>) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.remove(cluster);
    }
}

fn delay(class: Class, count: u32) -> Duration {
    let (first, most) = match class {
        // The cache is a moment behind.
        Class::Conflict => (Duration::from_millis(100), Duration::from_secs(5)),
        // It passes by itself, and an upgrade should go on soon after. What was written although the reply
        // was lost counts as a failure too, and nothing tells of a template that is there already.
        Class::Transient => (Duration::from_secs(1), Duration::from_mins(1)),
        Class::Terminal => (Duration::from_secs(15), Duration::from_mins(5)),
    };
    first.saturating_mul(1 << count.min(16)).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_waits_longer_until_one_success() {
        let backoffs = Backoffs::default();
        let cluster = ObjectRef::new("c").within("n");
        let wait = || backoffs.failed(cluster.clone(), Class::Transient);
        assert_eq!(
            (wait(), wait(), wait()),
            (Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4))
        );
        for _ in 0..40 {
            let _ = wait();
        }
        assert_eq!(wait(), Duration::from_mins(1));
        backoffs.succeeded(&cluster);
        assert_eq!(wait(), Duration::from_secs(1));
    }
}
